"""Every remedy that any cause can give: settings that exist, values that are accepted, sources that can be read."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import re
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import CASES, rows_of

from lossdoctor.engine import Engine
from lossdoctor.facts.canonical import translate
from lossdoctor.model import Chart, Checkpoint, Fact, Remedy, Rule, Run
from lossdoctor.parsing.rows import records
from lossdoctor.registry import all_causes
from lossdoctor.settings import ARGUMENTS, OBJECTS, SUCCESSORS, owner

#: Facts that remedies ask for; each set is laid over those of every log, alone and with a GPU.
GPUS: tuple[dict[str, Any], ...] = ({}, {"gpu": "V100"}, {"gpu": "H100"}, {"gpu": "GTX 1660"})
FACTS: tuple[dict[str, Any], ...] = (
    {},
    {"fp16": True, "bf16": False},
    {"bf16": True, "fp16": False},
    {"fp16": False, "bf16": False},
    {"torch_dtype": "float16", "quantization": "8bit"},
    {"fp16": True, "quantization": "4bit", "use_lora": True, "lora_r": 4, "lora_target_modules": ["q_proj"]},
    {"deepspeed": True, "zero_stage": 2, "overlap_comm": True, "world_size": 4},
    {"model_name_or_path": "google/gemma-2-9b", "attn_implementation": "sdpa", "packing": True, "padding_free": True},
    {"model_name_or_path": "Qwen/Qwen2-7B", "attn_implementation": "eager"},
    {"max_length": 512, "framework": "trl sft", "dataset_size": 500, "num_train_epochs": 12, "per_device_train_batch_size": 2},
    {"max_length": "auto", "save_steps": 2, "learning_rate": 1e-3, "max_grad_norm": 0.0, "warmup_steps": 0},
    {"use_lora": True, "learning_rate": 2e-5, "gradient_checkpointing": True, "lora_r": 64, "lora_alpha": 16},
    {"use_lora": False, "learning_rate": 5e-7, "max_steps": 1000, "lr_scheduler_type": "cosine"},
    {"trainer": "GRPOTrainer", "num_generations": 4, "temperature": 0.1, "beta": 0.0},
    {"trainer": "DPOTrainer", "beta": 0.5, "ref_model": "other", "loss_type": "simpo"},
    {"trainable_parameters": 0, "transformers_version": "4.46.0", "gradient_accumulation_steps": 8, "multi_gpu": True},
    {"group_by_length": True, "eval_strategy": "no", "resume_from_checkpoint": True, "ignore_data_skip": True},
    {"eval_strategy": "steps", "eval_steps": 10, "load_best_model_at_end": False, "tokens_added": 3, "seed": 1},
)


@cache
def remedies() -> dict[str, dict[str, Remedy]]:
    """By the slug of its cause, and once: every remedy of every cause that has anything to say of any log of tests/cases."""
    found: dict[str, dict[str, Remedy]] = {slug: {} for slug in all_causes()}
    causes = [cause() for cause in all_causes().values()]  # type: ignore[abstract]
    saved = (Checkpoint(1, "out/checkpoint-1"), Checkpoint(200, "out/checkpoint-200"))
    for log in sorted(CASES.glob("*/*.jsonl")):
        stated = log.with_suffix(".json")
        known = translate(json.loads(stated.read_text()), "test") if stated.is_file() else {}
        engine = Engine(Run(facts=known), strict=True)
        for record in records(rows_of(log))[0]:
            engine.observe(record)
        report, outline = engine.report(), engine.vitals.outline()
        for facts, (gpu, checkpoints) in itertools.product(FACTS, zip(GPUS, ((), saved, saved, ()), strict=True)):
            more = {name: Fact(value, "test") for name, value in {**facts, **gpu}.items()}
            run = dataclasses.replace(report.run.knowing(more, first=True), checkpoints=checkpoints)
            chart = Chart(run, report.symptoms, outline)
            for cause in causes:
                opinion = cause.weigh(chart)
                if opinion is not None and opinion.points > 0:
                    found[cause.slug] |= {repr(remedy): remedy for remedy in cause.remedies(chart)}
    return found


def of(slug: str) -> list[Remedy]:
    return list(remedies()[slug].values())


def concrete() -> dict[tuple[str, str], Any]:
    """Every value that can be pasted, by the name of its setting and its text."""
    every = [item for slug in remedies() for remedy in of(slug) for item in remedy.settings.items()]
    return {(name, repr(value)): value for name, value in every if not isinstance(value, Rule)}


every_cause = pytest.mark.parametrize("slug", all_causes())


@every_cause
def test_every_cause_has_a_remedy(slug: str) -> None:
    """Only what is expected needs none."""
    assert of(slug) or all_causes()[slug].normal


@every_cause
def test_a_remedy_says_what_and_why(slug: str) -> None:
    """`do` is a phrase without a full stop, that of an alternative goes on after "or"; neither `do` nor `why` is too long."""
    for remedy in of(slug):
        assert remedy.do and not remedy.do.endswith(".") and (remedy.alternative or remedy.do[:1].isupper()), remedy
        assert remedy.why and not remedy.why.endswith("."), remedy
        assert len(remedy.do) <= 160 and len(remedy.why) <= 400, remedy
        assert remedy.cost in ("none", "low", "medium", "high")


@every_cause
def test_a_remedy_cites_its_evidence(slug: str) -> None:
    """Each has the address of a source; only a change to what is logged needs none."""
    for remedy in of(slug):
        assert all(re.match(r"https?://[^\s/]+/\S+$", source) for source in remedy.sources), remedy
        logging = remedy.cost == "none" and remedy.settings and all(name.startswith("logging_") for name in remedy.settings)
        assert remedy.sources or logging, f"{slug}: {remedy.do} has no source"


@every_cause
def test_the_page_names_the_sources_of_a_remedy(slug: str) -> None:
    """What a page says of remedies has an address to read on, if it names a remedy at all."""
    page = inspect.getdoc(all_causes()[slug]) or ""
    section = page.partition("## Remedies and their sources")[2]
    assert "https://" in section or not of(slug)


@every_cause
def test_the_first_remedy_stands_alone(slug: str) -> None:
    """An alternative is taken instead of something: it is never the only one."""
    assert not of(slug) or any(not remedy.alternative for remedy in of(slug))


def test_a_setting_is_a_field_or_belongs_to_an_object() -> None:
    """A name is a field of the real TrainingArguments, or listed under the object that takes it."""
    fields = set(pytest.importorskip("transformers").TrainingArguments.__dataclass_fields__)
    names = {name for slug in remedies() for remedy in of(slug) for name in remedy.settings}
    unknown = {name for name in names if owner(name) == ARGUMENTS} - fields
    assert not {SUCCESSORS.get(name, (name,))[0] for name in unknown} - fields
    assert not {name for name in names if owner(name) != ARGUMENTS} & fields


def test_a_value_can_be_pasted() -> None:
    """A value is true, false, a number, None, one word, a path, a list or a mapping; anything else is a Rule in words."""
    for (name, _), value in concrete().items():
        plain = value is None or isinstance(value, (bool, int, float, list, dict))
        assert plain or (isinstance(value, str) and re.fullmatch(r"[\w./@-]+", value)), f"{name}: {value!r} should be a Rule"


def test_training_arguments_take_every_value(tmp_path: Path) -> None:
    """Every value that can be pasted is one that the class accepts."""
    arguments = pytest.importorskip("transformers").TrainingArguments
    refused = {}
    for (name, _), value in concrete().items():
        if owner(name) == ARGUMENTS:
            if name not in arguments.__dataclass_fields__:
                name, values = SUCCESSORS[name]
                value = values.get(value, value)
            needed = {"eval_strategy": "steps", "save_strategy": "steps"} if name == "load_best_model_at_end" else {}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                try:
                    arguments(output_dir=str(tmp_path), use_cpu=True, **{**needed, name: value})
                except Exception as error:
                    refused[name, value] = error
    assert not refused


HOMES = {
    "LoraConfig": "peft",
    "BitsAndBytesConfig": "transformers",
    "SFTConfig": "trl",
    "DPOConfig": "trl",
    "GRPOConfig": "trl",
    "KTOConfig": "trl",
}


@pytest.mark.parametrize("name", HOMES)
def test_the_object_has_the_fields_that_are_listed_for_it(name: str) -> None:
    """What settings.py says of an object is what its constructor takes."""
    module = pytest.importorskip(HOMES[name])
    assert set(OBJECTS[name]) <= set(inspect.signature(getattr(module, name)).parameters)


@pytest.mark.parametrize("name", HOMES)
def test_the_object_takes_every_value(name: str, tmp_path: Path) -> None:
    """Values for other objects than TrainingArguments are accepted as well."""
    made: Any = getattr(pytest.importorskip(HOMES[name]), name)
    place: dict[str, Any] = {"output_dir": str(tmp_path), "use_cpu": True} if HOMES[name] == "trl" else {}
    for (setting, _), value in concrete().items():
        if setting == "num_generations" and name == "GRPOConfig":
            place["per_device_train_batch_size"] = value  # a batch holds whole groups
        if setting in OBJECTS[name]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made(**place, **{setting: value})


def test_the_functions_have_the_arguments_that_are_listed_for_them() -> None:
    """`is_trainable` and `mean_resizing` are where settings.py says they are."""
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    taken = {
        "PeftModel.from_pretrained": peft.PeftModel.from_pretrained,
        "resize_token_embeddings": transformers.PreTrainedModel.resize_token_embeddings,
        "get_scheduler": transformers.get_scheduler,
        "DPOTrainer": pytest.importorskip("trl").DPOTrainer,
    }
    for name, function in taken.items():
        assert set(OBJECTS[name]) <= set(inspect.signature(function).parameters)
