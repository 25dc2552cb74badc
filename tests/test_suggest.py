"""What to change, as data: suggestions of a report, TrainingArguments with them, and the YAML file."""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, diagnose, write_state

from lossdoctor.model import Diagnosis, LossDoctorError, Remedy, Report, Rule
from lossdoctor.reports.json import render as as_json
from lossdoctor.reports.text import render as as_text
from lossdoctor.settings import ARGUMENTS, OBJECTS, owner
from lossdoctor.suggest import MARK, render, value

ROWS = [{"loss": 2.0 - s / 100, "step": s} for s in range(1, 9)]
BROKEN = [{"loss": 2.0, "grad_norm": 1.0, "step": s} for s in range(1, 6)] + [
    {"loss": 0.0, "grad_norm": math.nan, "learning_rate": 1e-4, "step": s} for s in range(6, 12)
]


def advised(*remedies: Remedy, confidence: str = "high", normal: bool = False, **facts: Any) -> Report:
    """A report with one diagnosis that has these remedies."""
    report = diagnose(ROWS, **facts)
    cause = Diagnosis("some-cause", "Some cause", confidence, (), "because", remedies=remedies, normal=normal)  # type: ignore[arg-type]
    return replace(report, diagnoses=(cause,))


def settings(**values: Any) -> Remedy:
    return Remedy("Do it", "it helps", values)


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`lossdoctor analyze` in a process of its own."""
    line = [sys.executable, "-m", "lossdoctor", "analyze", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80"})


# What is suggested


def test_the_first_remedy_that_names_a_setting_wins() -> None:
    """Remedies are meant together, the best first."""
    report = advised(settings(learning_rate=1e-5), settings(learning_rate=2e-5, max_grad_norm=1.0), learning_rate=1e-3)
    assert {n: (s.value, s.was) for n, s in report.suggestions.items()} == {
        "learning_rate": (1e-5, 1e-3),
        "max_grad_norm": (1.0, None),
    }
    first = report.suggestions["learning_rate"]
    assert (first.do, first.because, first.slug) == ("Do it", "it helps", "some-cause")


def test_an_alternative_and_a_rule_are_not_suggested() -> None:
    """What is taken instead, and what somebody has to choose, is not pasted for them."""
    other = Remedy("Or this", "why", {"seed": 2}, alternative=True)
    report = advised(settings(bf16=Rule("true on Ampere"), fp16=False), other)
    assert list(report.suggestions) == ["fp16"]


def test_what_is_so_already_is_not_suggested() -> None:
    """A setting that the facts give the same value is left alone; 1 is not True."""
    report = advised(settings(fp16=False, bf16=True, logging_steps=1), fp16=False, bf16=False, logging_steps=1.0)
    assert list(report.suggestions) == ["bf16"]


@pytest.mark.parametrize("kind", [{"confidence": "low"}, {"normal": True}])
def test_a_guess_and_what_is_expected_suggest_nothing(kind: dict[str, Any]) -> None:
    """Nobody is told to change settings on a weak suspicion, or for what is normal."""
    assert advised(settings(seed=1), **kind).suggestions == {}


def test_what_was_is_found_under_the_name_of_the_fact() -> None:
    """The rank of LoRA is `r` in LoraConfig and `lora_r` among the facts."""
    report = advised(settings(r=16, **{"zero_optimization.stage": 3}), lora_r=8, zero_stage=2)
    assert [s.was for s in report.suggestions.values()] == [8, 2]


# Put into arguments that are there


@pytest.fixture
def arguments(tmp_path: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, learning_rate=1e-3, report_to=[], seed=7)


def test_suggestions_go_into_new_arguments(arguments: Any) -> None:
    """A new object of the same class has them; the old one is untouched, to the last field."""
    before = copy.deepcopy(vars(arguments))
    report = advised(settings(learning_rate=1e-5, lr_scheduler_type="cosine", r=8, max_grad_norm=0.3))
    after = report.suggested_arguments(arguments)
    assert type(after) is type(arguments) and after is not arguments
    assert (after.learning_rate, after.lr_scheduler_type, after.max_grad_norm) == (1e-5, "cosine", 0.3)
    assert (after.seed, after.use_cpu, after.output_dir) == (7, True, arguments.output_dir)
    assert not hasattr(after, "r") and vars(arguments).keys() == before.keys()
    assert arguments.to_dict() == type(arguments)(**_asked(arguments)).to_dict() and arguments.learning_rate == 1e-3


def _asked(arguments: Any) -> dict[str, Any]:
    return {"output_dir": arguments.output_dir, "use_cpu": True, "learning_rate": 1e-3, "report_to": [], "seed": 7}


def test_without_suggestions_the_arguments_are_equal_and_new(arguments: Any) -> None:
    """A report that suggests nothing gives an equal object."""
    after = advised().suggested_arguments(arguments)
    assert after is not arguments and after.to_dict() == arguments.to_dict()


@pytest.mark.parametrize("before", [None, False, True])
def test_a_field_that_was_renamed_is_changed_all_the_same(tmp_path: Path, before: bool | None) -> None:
    """`gradient_checkpointing` is an old name of `activation_checkpointing`, which would win over it in silence."""
    transformers = pytest.importorskip("transformers")
    given = {} if before is None else {"gradient_checkpointing": before}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        args = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **given)
        for wanted in (True, False):
            after = advised(settings(gradient_checkpointing=wanted)).suggested_arguments(args)
            assert after.gradient_checkpointing is wanted
            assert getattr(after, "activation_checkpointing", wanted) is wanted


def test_a_mapping_adds_to_the_one_that_is_there(tmp_path: Path) -> None:
    """Other keyword arguments of gradient checkpointing stay, and the old mapping does not change."""
    transformers = pytest.importorskip("transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        args = transformers.TrainingArguments(
            output_dir=str(tmp_path), use_cpu=True, gradient_checkpointing_kwargs={"determinism_check": "none"}
        )
        after = advised(settings(gradient_checkpointing_kwargs={"use_reentrant": False})).suggested_arguments(args)
    assert after.gradient_checkpointing_kwargs == {"determinism_check": "none", "use_reentrant": False}
    assert args.gradient_checkpointing_kwargs == {"determinism_check": "none"}


VARIED = [
    {"fsdp_config": None, "eval_strategy": "steps", "eval_steps": 5, "load_best_model_at_end": True, "save_steps": 10},
    {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 1e-6}, "warmup_steps": 0.1},
    {"accelerator_config": {"split_batches": True}, "report_to": "all", "debug": "underflow_overflow", "optim": "sgd"},
    {"gradient_accumulation_steps": 4, "metric_for_best_model": "accuracy", "bf16": True, "max_steps": 10},
]


@pytest.mark.parametrize("given", VARIED)
@pytest.mark.parametrize("name", ["SFTConfig", "DPOConfig", "GRPOConfig", "KTOConfig", "RewardConfig", "TrainingArguments"])
def test_every_kind_of_arguments_can_be_changed(tmp_path: Path, name: str, given: dict[str, Any]) -> None:
    """The configurations of TRL fill in fields by themselves, which must not come back as if somebody had asked for them."""
    home = pytest.importorskip("transformers" if name == "TrainingArguments" else "trl")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = getattr(home, name)(output_dir=str(tmp_path), use_cpu=True, **given)
        before = copy.deepcopy(args.to_dict())
        after = advised(settings(learning_rate=1.5e-6, max_length=777)).suggested_arguments(args)
    changed = {"learning_rate": 1.5e-6} | ({"max_length": 777} if hasattr(args, "max_length") else {})
    assert args.to_dict() == before
    assert after.to_dict() == {**before, **changed}


def test_what_follows_from_another_field_follows_it(tmp_path: Path) -> None:
    """GRPOConfig derives the generation batch from the accumulation steps; what the user asked for stays."""
    trl = pytest.importorskip("trl")
    args = trl.GRPOConfig(output_dir=str(tmp_path), use_cpu=True, gradient_accumulation_steps=2, num_generations=8)
    after = advised(settings(gradient_accumulation_steps=4)).suggested_arguments(args)
    assert (args.steps_per_generation, after.steps_per_generation) == (2, 4)
    args = trl.GRPOConfig(output_dir=str(tmp_path), use_cpu=True, steps_per_generation=8)
    after = advised(settings(learning_rate=1e-6)).suggested_arguments(args)
    assert (after.steps_per_generation, after.generation_batch_size) == (8, args.generation_batch_size)


def test_what_the_class_refuses_is_one_line(arguments: Any) -> None:
    """A value that TrainingArguments does not take is named together with its reason, without a traceback of theirs."""
    with pytest.raises(LossDoctorError) as caught:
        advised(settings(lr_scheduler_type="no such")).suggested_arguments(arguments)
    message = str(caught.value)
    assert "\n" not in message and "TrainingArguments refuses lr_scheduler_type='no such': " in message


@pytest.mark.parametrize("args", [{"learning_rate": 1.0}, None, Report])
def test_anything_else_is_refused(args: Any) -> None:
    """Suggestions go into an object with fields, not into a mapping or a class."""
    with pytest.raises(LossDoctorError, match="a TrainingArguments object is needed, found"):
        advised(settings(seed=1)).suggested_arguments(args)


def test_any_dataclass_will_do_and_a_new_name_replaces_an_old_one() -> None:
    """No training library is needed; where `warmup_ratio` is gone, `warmup_steps` takes a share."""

    @dataclass
    class Modern:
        warmup_steps: float = 0
        learning_rate: float = 1.0
        train_sampling_strategy: str = ""

    @dataclass
    class Older(Modern):
        warmup_ratio: float = 0.0
        group_by_length: bool = False

    report = advised(settings(warmup_ratio=0.1, group_by_length=False))
    assert report.suggested_arguments(Modern(learning_rate=2.0)) == Modern(0.1, 2.0, "random")
    assert report.suggested_arguments(Older()) == Older(0, 1.0, "", 0.1)


# As a file


def test_every_setting_belongs_to_one_object() -> None:
    """A name that no object claims is one of TrainingArguments; the task decides between equals."""
    assert owner("learning_rate") == ARGUMENTS and owner("r") == "LoraConfig" and owner("is_trainable").startswith("PeftModel")
    assert owner("zero_optimization.stage") == "deepspeed" and owner("fp16") == ARGUMENTS
    assert owner("beta", "reinforcement learning") == "GRPOConfig" and owner("beta", "preference tuning") == "DPOConfig"
    assert owner("max_length", "supervised") == "SFTConfig"
    assert all(len(names) == len(set(names)) for names in OBJECTS.values())


@pytest.mark.parametrize(
    "anything",
    [True, False, None, 0, 3, 6e-05, 1e-10, 1.0, 2e16, 0.1, "cosine", "yes", "null", "1e-5", "a: b # c", "", "é\n"],
)
def test_a_value_is_read_back_as_it_was(anything: Any) -> None:
    """YAML 1.1 takes `6e-05` for text and `yes` for true: what we write, PyYAML reads as the same value of the same type."""
    text = value(anything)
    assert "\n" not in text and yaml.safe_load(text) == anything and type(yaml.safe_load(text)) is type(anything)


def test_a_rule_is_its_words_in_every_format() -> None:
    """In text and in JSON a value that somebody has to choose is written as its text."""
    report = advised(settings(bf16=Rule("true on Ampere or newer, else false")))
    assert "bf16: true on Ampere or newer, else false" in as_text([report], color=False, width=80)
    (diagnosis,) = json.loads(as_json([report]))["reports"][0]["diagnoses"]
    assert diagnosis["remedies"][0]["settings"] == {"bf16": "true on Ampere or newer, else false"}


def test_lists_and_mappings_stay_on_their_line() -> None:
    """A list of modules and keyword arguments are written in one line each."""
    assert value(["q_proj", "v_proj"]) == "[q_proj, v_proj]"
    assert value({"use_reentrant": False}) == "{use_reentrant: false}"
    assert yaml.safe_load(value((1, Path("x")))) == [1, "x"]


def test_the_file_says_what_was_and_why() -> None:
    """TrainingArguments stand at the top level, the rest under the object that takes it; every setting has its reason."""
    remedy = Remedy("Lower it", "it is too high", {"learning_rate": 6e-05, "warmup_steps": 10, "r": 8}, "none")
    more = settings(**{"zero_optimization.overlap_comm": False, "zero_optimization.stage": 3, "is_trainable": True})
    text = render(advised(remedy, more, settings(bf16=Rule("true on Ampere")), learning_rate=0.0002, overlap_comm=True))
    assert yaml.safe_load(text) == {
        "learning_rate": 6e-05,
        "warmup_steps": 10,
        "LoraConfig": {"r": 8},
        "deepspeed": {"zero_optimization": {"overlap_comm": False, "stage": 3}},
        "PeftModel.from_pretrained": {"is_trainable": True},
    }
    assert text.startswith(f"{MARK}\n# run: not known (8 rows)\n# verdict: healthy\n# cause: Some cause (some-cause), high")
    assert "# Lower it\n# was 0.0002: because it is too high\nlearning_rate: 6.0e-05\n\n# for the same reason\nwarmup" in text
    assert "# For you to choose:\n# bf16: true on Ampere\n" in text


@pytest.mark.parametrize("words", ["a\nkey: value", "x" * 300, "# - {"])
def test_no_reason_can_break_the_file(words: str) -> None:
    """Whatever a reason or a path holds, it stays within the comments."""
    report = advised(Remedy(words, words, {"seed": 1}))
    text = render(replace(report, run=replace(report.run, path=words)))
    assert yaml.safe_load(text) == {"seed": 1}


def test_the_command_writes_a_file_that_can_be_merged(tmp_path: Path) -> None:
    """`--suggest` writes what the report says, writes it anew the next time, and leaves report and exit code alone."""
    write_state(tmp_path, BROKEN)
    plain = command(tmp_path, "trainer_state.json", "--set", "fp16=true", "--set", "gpu=RTX 3090")
    for _ in range(2):
        done = command(tmp_path, "trainer_state.json", "--set", "fp16=true", "--set", "gpu=RTX 3090", "--suggest", "change.yaml")
        assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, "")
    found = yaml.safe_load((tmp_path / "change.yaml").read_text(encoding="utf-8"))
    assert found["bf16"] is True and found["fp16"] is False


def test_nothing_to_suggest_is_said_and_writes_nothing(tmp_path: Path) -> None:
    """A healthy run gives one line on stderr, no file, and exit code 0."""
    write_state(tmp_path, [{"loss": 2.0 - s / 20, "grad_norm": 1.0, "step": s} for s in range(1, 20)])
    done = command(tmp_path, "trainer_state.json", "--suggest", "change.yaml")
    assert done.returncode == 0 and not (tmp_path / "change.yaml").exists()
    assert len(done.stderr.splitlines()) == 1 and "no setting to suggest" in done.stderr


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    """A configuration that is there stays as it is; the report is printed all the same."""
    write_state(tmp_path, BROKEN)
    (tmp_path / "train.yaml").write_text("learning_rate: 1\n")
    done = command(tmp_path, "trainer_state.json", "--set", "fp16=true", "--set", "gpu=A100", "--suggest", "train.yaml")
    assert done.returncode == 2 and "CRITICAL" in done.stdout
    assert done.stderr == "lossdoctor: train.yaml is there and was not written by --suggest; choose another name\n"
    assert (tmp_path / "train.yaml").read_text() == "learning_rate: 1\n"


def test_a_file_in_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """What the system says about the file is passed on."""
    write_state(tmp_path, BROKEN)
    done = command(tmp_path, "trainer_state.json", "--set", "fp16=true", "--set", "gpu=A100", "--suggest", "no/such.yaml")
    assert done.returncode == 2 and done.stderr == "lossdoctor: cannot write no/such.yaml: no such file or directory\n"


def test_one_file_takes_one_run(tmp_path: Path) -> None:
    """The suggestions of two runs cannot stand in one file."""
    for name in ("a", "b"):
        write_state(tmp_path / name, BROKEN)
    done = command(tmp_path, "a", "b", "--suggest", "change.yaml")
    assert done.returncode == 2 and not (tmp_path / "change.yaml").exists()
    assert done.stderr == "lossdoctor: --suggest takes one run, found 2: analyse them one at a time\n"


def test_the_demo_suggests_what_it_prints(tmp_path: Path) -> None:
    """The bundled run, on the GPU that the README names."""
    done = command(tmp_path, str(ROOT / "lossdoctor" / "demo"), "--set", "gpu=RTX 3090", "--suggest", "change.yaml")
    found = yaml.safe_load((tmp_path / "change.yaml").read_text(encoding="utf-8"))
    assert done.returncode == 1 and found["bf16"] is True and found["fp16"] is False
