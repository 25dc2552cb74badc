"""Every check of data and model finds its sick fixture, leaves the healthy one alone, and says exactly what is written down.

`UPDATE_CASES=1 pytest tests/test_data_checks.py` writes the texts anew; the difference is for a reviewer to read.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
from data_cases import CASES, Case

from lossdoctor.explain import pages
from lossdoctor.facts.canonical import translate
from lossdoctor.measured import Example, Measured, Recipe, Vocabulary, Weights, percent
from lossdoctor.model import LossDoctorError, Rule, Run
from lossdoctor.probes.data import Examined, examine
from lossdoctor.registry import all_data_checks
from lossdoctor.settings import ARGUMENTS, OBJECTS, owner

pytest.importorskip("transformers")
pytest.importorskip("torch")

TEXTS = Path(__file__).parent / "data_cases"
HEADINGS = ["What it looks at", "Why it matters", "What it misses"]
KINDS = [
    pytest.param(slug, kind, marks=[pytest.mark.slow] if case.slow else [], id=f"{slug}/{kind}")
    for slug, kinds in CASES.items()
    for kind, case in kinds.items()
]


def run_of(**facts: Any) -> Run:
    return Run(facts=translate(facts, "config.yaml"))


def examined(case: Case, folder: Path) -> Examined:
    model, data = case.make(folder)
    return examine(model, data, run_of(**case.facts))


def written(found: Examined) -> str:
    """Everything that a user would read, one thing on a line."""
    lines = []
    for finding in found.findings:
        lines += [f"{finding.severity}  {finding.slug}", f"  {finding.message}"]
        lines += [f"    because: {line}" for line in finding.because]
        for remedy in finding.remedies:
            lines.append(f"    {'or: ' if remedy.alternative else 'do: '}{remedy.do} ({remedy.why}; cost: {remedy.cost})")
            lines += [f"        {name}: {value}" for name, value in remedy.settings.items()]
            lines += [f"        {source}" for source in remedy.sources]
    lines += [f"{name} = {fact.value}  # {fact.source}" for name, fact in sorted(found.facts.items())]
    lines += [f"not judged: {what.what}: {what.why}" for what in found.not_judged]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("slug", "kind"), KINDS)
def test_a_sick_fixture_is_found_and_a_healthy_one_is_left_alone(slug: str, kind: str, tmp_path: Path) -> None:
    """A check finds what it is for, says it to the letter, and a healthy data set has nothing worse than a note."""
    found = examined(CASES[slug][kind], tmp_path)
    if kind.startswith("sick"):
        assert slug in {finding.slug for finding in found.findings}
    else:
        assert slug not in {finding.slug for finding in found.findings}
        assert not [finding for finding in found.findings if finding.severity != "info"]
    if CASES[slug][kind].slow:
        return  # the numbers of a trained model differ in their last digits from machine to machine
    file = TEXTS / slug / f"{kind}.txt"
    if os.environ.get("UPDATE_CASES"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(written(found), encoding="utf-8")
    assert file.read_text(encoding="utf-8") == written(found)


@pytest.mark.parametrize("slug", all_data_checks())
def test_every_check_of_the_data_has_a_sick_and_a_healthy_fixture_and_a_page(slug: str) -> None:
    """One file for each, a page with the usual headings, thresholds that are numbers, and no name that a page has already."""
    check = all_data_checks()[slug]
    assert {"sick", "healthy"} <= CASES[slug].keys()
    assert re.findall(r"^## (.*)$", inspect.getdoc(check) or "", re.M) == HEADINGS
    assert check.title and pages()[slug] is check
    assert check().look(Measured()) is None, "nothing measured, nothing found"


def test_every_remedy_names_settings_that_exist_and_sources_that_can_be_read(tmp_path: Path) -> None:
    """A setting belongs to an object that is known, and a value is either pasted as it stands or a rule in words."""
    known = {name for names in OBJECTS.values() for name in names}
    for slug, kinds in CASES.items():
        for kind, case in kinds.items():
            if case.slow:
                continue
            for finding in examined(case, tmp_path / slug / kind).findings:
                assert finding.because, f"{finding.slug} says nothing of its evidence"
                for remedy in finding.remedies:
                    assert remedy.sources and all(source.startswith("https://") for source in remedy.sources)
                    for name, value in remedy.settings.items():
                        assert name in known or owner(name) == ARGUMENTS
                        assert isinstance(value, (Rule, bool, int, str, list))
                        json.dumps(str(value))


def test_nobody_is_asked_over_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data and model are looked at without a connection, and afterwards the process may use the network as before."""
    import huggingface_hub.constants as constants

    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    before = constants.HF_HUB_OFFLINE
    monkeypatch.setattr(socket.socket, "connect", refuse)
    found = examined(CASES["examples-all-masked"]["healthy"], tmp_path)
    assert found.facts["supervised_share"].value > 0
    assert constants.HF_HUB_OFFLINE is before
    assert "HF_HUB_OFFLINE" not in os.environ


def test_a_tokenizer_with_code_of_its_own_is_not_run(tmp_path: Path) -> None:
    """What a folder names as its own code stays where it is: the tokenizer is said not to load."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    auto = {"AutoTokenizer": ["evil.Evil", None]}
    settings = {"tokenizer_class": "Evil", "auto_map": auto}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    auto = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": auto}), encoding="utf-8")
    found = examine(folder, tiny.lines(tmp_path / "data.jsonl", [tiny.pair(1)]), run_of())
    assert any("does not load" in what.why for what in found.not_judged)
    assert not (tmp_path / "ran").exists()


def test_llama_factory_keeps_some_of_every_answer_where_trl_keeps_none(tmp_path: Path) -> None:
    """The same examples at the same length: each trainer cuts in its own way, and the labels that are left differ."""
    folder, data = (
        tiny.tokenizer(tmp_path / "model"),
        tiny.lines(tmp_path / "d.jsonl", (tiny.pair(seed, asked=60) for seed in range(20))),
    )
    shares = {
        tool: examine(folder, data, run_of(framework=tool, trainer="sft", max_length=48)).measured.supervised_share
        for tool in ("trl", "LLaMA-Factory")
    }
    assert shares["trl"] == 0.0
    assert shares["LLaMA-Factory"] and shares["LLaMA-Factory"] > 0.05


def test_labels_are_those_that_trl_makes(tmp_path: Path) -> None:
    """Prompt and completion, and a marked chat: ids and labels are what the SFTTrainer of this machine prepares."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset
    from transformers import AutoTokenizer

    from lossdoctor.probes.data.folder import offline, opened, vocabulary_of
    from lossdoctor.probes.data.recipe import recipe_of
    from lossdoctor.probes.data.shapes import content_of, shape_of
    from lossdoctor.probes.data.tokens import Tokeniser, shortened

    folder = tiny.tokenizer(tmp_path / "model", template=tiny.MARKED, end="<|im_end|>")
    model = tiny.model(folder)
    for rows, stated in (
        ([tiny.pair(seed, asked=5 + seed) for seed in range(6)], {"max_length": 40}),
        ([tiny.chat(seed, asked=5 + seed) for seed in range(6)], {"max_length": 60, "assistant_only_loss": True}),
        ([{"text": tiny.text(seed, 9 + seed)} for seed in range(6)], {"max_length": 40}),
        ([{"prompt": chat[:1], "completion": chat[1:]} for chat in (tiny.chat(seed)["messages"] for seed in range(6))], {}),
    ):
        arguments = trl.SFTConfig(output_dir=str(tmp_path / "out"), report_to=[], use_cpu=True, **stated)
        trainer = trl.SFTTrainer(
            model=str(model),
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(folder),
        )
        theirs = [(row["input_ids"], [label != -100 for label in row["labels"]]) for row in trainer.train_dataset]
        with offline():
            lying = opened(folder)
            shape = shape_of(rows)
            assert shape is not None
            recipe = recipe_of(run_of(trainer="SFTConfig", **stated), shape)
            made = Tokeniser(lying.tokenizer, vocabulary_of(lying, None, None) or Vocabulary(0), recipe)
            contents = [content_of(row, shape, False) for row in rows]
            ours = [shortened(made.tokens(content)[0], recipe) for content in contents if content is not None]
        assert [(tokens.ids, tokens.labelled) for tokens in ours if any(tokens.labelled)] == theirs


@pytest.mark.slow
def test_another_tokenizer_makes_the_opening_loss_worse_than_guessing(tmp_path: Path) -> None:
    """A trained model whose tokenizer was mixed up is sure of the wrong tokens."""
    folder = tiny.model(tiny.tokenizer(tmp_path / "model"), steps=40)
    file = folder / "tokenizer.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    words = [word for word, token in values["model"]["vocab"].items() if token >= 6]
    for word, other in zip(words, reversed(words), strict=True):
        if word < other:
            table = values["model"]["vocab"]
            table[word], table[other] = table[other], table[word]
    file.write_text(json.dumps(values), encoding="utf-8")
    data = tiny.lines(tmp_path / "d.jsonl", (tiny.pair(seed) for seed in range(20)))
    found = examine(folder, data, run_of(framework="trl", trainer="SFTConfig"))
    (finding,) = [finding for finding in found.findings if finding.slug == "opening-loss-at-chance"]
    assert "the tokenizer is not this model's" in finding.message
    assert found.measured.weights is not None and found.measured.weights.loss is not None
    assert found.measured.weights.loss > math.log(400)


@pytest.mark.slow
def test_weights_that_are_missing_or_nan_are_critical(tmp_path: Path) -> None:
    """A folder without the output layer starts at chance, and says which weights it lacks; NaN weights are told as such."""
    from safetensors.torch import load_file, save_file

    folder = tiny.model(tiny.tokenizer(tmp_path / "model"), steps=40)
    data = tiny.lines(tmp_path / "d.jsonl", (tiny.pair(seed) for seed in range(20)))
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if name != "lm_head.weight"},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    (first,) = examine(folder, data, run_of(framework="trl")).findings
    assert first.severity == "critical" and "lm_head.weight" in first.because[-1]
    weights["model.norm.weight"][0] = math.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (first,) = examine(folder, data, run_of(framework="trl")).findings
    assert first.severity == "critical" and "not finite" in first.message


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"architectures": ["BertForMaskedLM"]}, "does not predict the next token"),
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "does not predict the next token"),
        ({}, "no weights"),
    ],
)
def test_a_loss_that_cannot_be_computed_is_said(tmp_path: Path, weights: dict[str, Any], why: str) -> None:
    """Without weights, with quantised ones, or with another kind of model the loss of a batch is not judged, with the reason."""
    folder = tiny.config(tiny.tokenizer(tmp_path / "model"), **weights)
    if "quantization_config" in weights:
        (folder / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    data = tiny.lines(tmp_path / "d.jsonl", (tiny.pair(seed) for seed in range(5)))
    found = examine(folder, data, run_of(framework="trl"))
    assert [what.why for what in found.not_judged if what.what == "the loss of one batch" and why in what.why]


def test_a_model_that_is_too_large_is_not_loaded(tmp_path: Path) -> None:
    """The size stands in the headers of the weights: nothing is loaded to learn that it does not fit."""
    folder = tiny.config(tiny.tokenizer(tmp_path / "model"))
    header = json.dumps(
        {"model.embed_tokens.weight": {"dtype": "BF16", "shape": [128256, 16384], "data_offsets": [0, 0]}}
    ).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    data = tiny.lines(tmp_path / "d.jsonl", (tiny.pair(seed) for seed in range(5)))
    found = examine(folder, data, run_of(framework="trl"))
    assert [what.why for what in found.not_judged] == ["the model has 2.1 billion parameters, too many for one batch on a CPU"]
    assert found.measured.weights is not None and found.measured.weights.rows == 128256


@pytest.mark.parametrize(
    ("path", "words"),
    [("missing", "no such folder"), ("a.jsonl", "no folder"), ("empty", "neither a tokenizer nor a config.json")],
)
def test_a_model_path_that_is_none_is_one_line(tmp_path: Path, path: str, words: str) -> None:
    """A name from the Hub, a file or an empty folder: one line that says what was expected."""
    (tmp_path / "empty").mkdir()
    tiny.lines(tmp_path / "a.jsonl", [tiny.pair(1)])
    with pytest.raises(LossDoctorError, match=words) as caught:
        examine(tmp_path / path, None, run_of())
    assert "\n" not in str(caught.value)


def test_percentages_never_round_to_all_or_nothing() -> None:
    """Some is not none, and nearly all is not all."""
    assert [percent(share) for share in (0.0, 0.0001, 0.012, 0.5, 0.998, 0.9999, 1.0)] == [
        "0%", "<0.1%", "1.2%", "50%", "99.8%", "99.9%", "100%",
    ]  # fmt: skip


def test_a_usual_excess_of_rows_is_no_finding() -> None:
    """Embeddings are padded: a tokenizer with fewer tokens than the model has rows is as it should be."""
    measured = Measured(vocabulary=Vocabulary(151_665, padding=151_643), weights=Weights(vocabulary=151_936))
    assert all_data_checks()["token-ids-beyond-vocabulary"]().look(measured) is None


def test_blocks_of_a_stream_need_no_end() -> None:
    """Examples in tokens of one and the same length were cut from a stream, as pretraining does."""
    examples = tuple(Example(row, 512, 512, 512, 512) for row in range(20))
    measured = Measured(shape="tokens", vocabulary=Vocabulary(100, ends=frozenset({2})), examples=examples, recipe=Recipe())
    assert all_data_checks()["end-token-missing"]().look(measured) is None


def test_the_hub_is_off_while_a_folder_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside, every library that asks is told to stay offline; afterwards all is as it was."""
    import huggingface_hub

    from lossdoctor.probes.data.folder import offline

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    before = huggingface_hub.is_offline_mode()
    with offline():
        assert os.environ["HF_HUB_OFFLINE"] == "1" and huggingface_hub.is_offline_mode()
    assert "HF_HUB_OFFLINE" not in os.environ and huggingface_hub.is_offline_mode() is before


def test_every_answer_of_a_chat_has_labels_to_its_end_and_nothing_else_has(tmp_path: Path) -> None:
    """Of two questions with two answers under axolotl the labels are both answers, each with its end token and no header."""
    from lossdoctor.probes.data.folder import offline, opened, vocabulary_of
    from lossdoctor.probes.data.recipe import recipe_of
    from lossdoctor.probes.data.shapes import content_of, shape_of
    from lossdoctor.probes.data.tokens import Tokeniser

    said = [*tiny.chat(1)["messages"], *tiny.chat(2)["messages"]]
    row = {"conversations": [{"from": "human" if m["role"] == "user" else "gpt", "value": m["content"]} for m in said]}
    shape = shape_of([row])
    assert shape is not None
    with offline():
        folder = opened(tiny.tokenizer(tmp_path / "model"))
        recipe = recipe_of(run_of(framework="axolotl"), shape)
        made = Tokeniser(folder.tokenizer, vocabulary_of(folder, None, None) or Vocabulary(0), recipe)
        content = content_of(row, shape, True)
        assert content is not None
        (tokens,) = made.tokens(content)
        labelled = folder.tokenizer.decode([token for token, has in zip(tokens.ids, tokens.labelled, strict=True) if has])
    assert labelled == f"{said[1]['content']}<|im_end|>\n{said[3]['content']}<|im_end|>\n"


@pytest.mark.parametrize(
    ("prompt", "answer", "left"), [(20, 3, (7, 3)), (3, 20, (3, 7)), (20, 20, (5, 5)), (30, 10, (8, 2)), (4, 4, (4, 4))]
)
def test_llama_factory_cuts_prompt_and_answer_by_their_lengths(prompt: int, answer: int, left: tuple[int, int]) -> None:
    """What is shorter than half of the ten tokens stays whole; otherwise both give in proportion to their lengths."""
    from lossdoctor.probes.data.tokens import Tokens, shortened

    tokens = Tokens(list(range(prompt + answer)), [False] * prompt + [True] * answer)
    kept = shortened(tokens, Recipe(max_length=10, too_long="cut both"))
    assert (kept.labelled.count(False), kept.labelled.count(True)) == left
    assert kept.ids == [*range(left[0]), *range(prompt, prompt + left[1])]
