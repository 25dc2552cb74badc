"""Settings that stand in the same text as the rows of a log: a dump of the arguments, a command line, a block of YAML or JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lossdoctor.facts import arguments_dump, command_line, config_file
from lossdoctor.facts.canonical import canonical, translate
from lossdoctor.facts.files import parsed
from lossdoctor.model import Fact, LossDoctorError

SOURCE = "the same text"
#: So many characters are looked at where a part of a text begins, and where it ends: a dump of all arguments has ten thousand.
LONGEST = 60_000
#: A block with fewer settings that are known may speak of anything.
ENOUGH = 3
#: Lines of YAML that belong together, each `name:` with or without a value, `- item`, or deeper.
_BLOCK = re.compile(
    r"(?:^[ \t]{0,20}(?:- |-?[ \t]{0,4}['\"]?[A-Za-z_][\w.-]{0,60}['\"]?:(?:[ \t]|$))[^\n]{0,400}\n?){3,400}", re.M
)
#: A JSON object over several lines.
_OBJECT = re.compile(r"^[^\n{]{0,120}(\{[ \t]*\n)", re.M)
MOST_BLOCKS = 40
#: A setting as Megatron and DeepSpeed print it, whatever stands before it on the line: `  micro_batch_size ............ 4`.
_DOTTED = re.compile(r"(?:^|[\] ])([A-Za-z_]\w{1,60}) \.{2,80} ([^\s][^\n]{0,200})$", re.M)
#: What the Trainer, Unsloth and PEFT say of a training when it begins, and the names of these settings.
_SAID = {
    "num examples": "dataset_size",
    "num epochs": "num_train_epochs",
    "instantaneous batch size per device": "per_device_train_batch_size",
    "batch size per device": "per_device_train_batch_size",
    "gradient accumulation steps": "gradient_accumulation_steps",
    "total optimization steps": "max_steps",
    "total steps": "max_steps",
    "number of trainable parameters": "trainable_parameters",
    "trainable parameters": "trainable_parameters",
    "trainable params": "trainable_parameters",
}
_SENTENCE = re.compile(rf"\b({'|'.join(_SAID)})(?: ?= ?|: )(\d[\d,]{{0,20}})(?![\d.])", re.I)
#: Their names for what the Trainer calls otherwise.
_DOTTED_NAMES = {
    "train_iters": "max_steps",
    "clip_grad": "max_grad_norm",
    "seq_length": "max_length",
    "lr_warmup_iters": "warmup_steps",
    "lr_decay_style": "lr_scheduler_type",
    "train_micro_batch_size_per_gpu": "per_device_train_batch_size",
    "train_batch_size": "total_train_batch_size",
    "fp16_enabled": "fp16",
    "bfloat16_enabled": "bf16",
    "zero_optimization_stage": "zero_stage",
}


def of_runs(text: str, places: Sequence[tuple[int, int]]) -> Iterator[dict[str, Fact]]:
    """The settings of each run, by the places of its first and its last row: those before it, back to the run before.

    What stands behind the rows is of the only run of a text: people paste their settings below the log as well.
    """
    begin = 0
    for first, last in places:
        after = facts(text, last, len(text)) if len(places) == 1 else {}
        yield {**after, **facts(text, begin, first)}
        begin = last


def facts(text: str, begin: int = 0, end: int | None = None) -> dict[str, Fact]:
    """The settings in a part of a text; the later of two statements counts.

    What the Trainer says of its arguments wins over a file that was printed, and that over the command line.
    """
    end = len(text) if end is None else end
    near = text[begin:end] if end - begin <= 2 * LONGEST else f"{text[begin : begin + LONGEST]}\n{text[end - LONGEST : end]}"
    part = near.replace("\r\n", "\n")
    found = translate({_SAID[name.lower()]: value.replace(",", "") for name, value in _SENTENCE.findall(part)}, SOURCE)
    if command_line.recognise(part):
        found |= config_file.of_mapping(command_line.values(part), SOURCE)
    if " .." in part:
        found |= translate(_dotted(part), SOURCE)
    for values in _blocks(part):
        found |= config_file.of_mapping(values, SOURCE)
    if arguments_dump.recognise(part):
        found |= config_file.of_mapping(arguments_dump.values(part), SOURCE)
    return found


def _dotted(text: str) -> dict[str, Any]:
    """The settings with dots before their values, where there are enough of them that are known."""
    found = {_DOTTED_NAMES.get(line[1], line[1]): line[2].strip() for line in _DOTTED.finditer(text)}
    told = {name: value for name, value in found.items() if value != "None"}
    return told if sum(canonical(name) is not None for name in told) >= ENOUGH else {}


def _blocks(text: str) -> Iterator[dict[str, Any]]:
    """Mappings with enough names that are settings."""
    candidates = [match[0] for match, _ in zip(_BLOCK.finditer(text), range(MOST_BLOCKS), strict=False)]
    candidates += [
        object_
        for match, _ in zip(_OBJECT.finditer(text), range(MOST_BLOCKS), strict=False)
        if (object_ := _object(text, match.start(1)))
    ]
    for block in candidates:
        try:
            values = parsed(Path("block"), block)
        except LossDoctorError:
            continue
        if isinstance(values, dict) and sum(canonical(str(name)) is not None for name in values) >= ENOUGH:
            yield values


def _object(text: str, start: int) -> str:
    """The lines up to the bracket that closes the first one, by the indentation that printers of JSON keep."""
    margin = re.match(r"[ \t]*", text[text.rfind("\n", 0, start) + 1 :])
    close = text.find(f"\n{margin[0] if margin else ''}}}", start)
    return text[start : close + 1] + "}" if close >= 0 else ""
