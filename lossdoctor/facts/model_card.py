"""The README.md of a model on the Hub: its front matter, the hyper-parameters that the Trainer lists, and tables of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lossdoctor.facts.canonical import canonical

LONGEST, LONGEST_LINE = 1_000_000, 2_000
_FRONT = re.compile(r"\A\s*---[ \t]*\n(.{0,50000}?)\n---[ \t]*(?:\n|\Z)", re.S)
_HEADING = re.compile(r"#{1,6}\s+(.{1,200})")
_LISTED = re.compile(r"\s{0,8}[-*+]\s+[*_`]{0,3}([A-Za-z][\w .-]{0,60}?)[*_`]{0,3}\s*[:=]\s*[*_`]{0,3}\s*(\S.{0,400})")
_LIBRARY = re.compile(r"\s*[-*+]\s+[*_`]*(Transformers|Py[Tt]orch|PEFT|TRL|DeepSpeed)[*_`]*\s*:?\s*v?(\d[\w.+]*)", re.I)
#: Under these headings a list tells of the training; elsewhere it tells of anything.
_OF_TRAINING = re.compile(r"hyper.?param|training|fine.?tun|config|quantization|framework versions|lora|setting", re.I)
_HUB_KEYS = ("base_model", "library_name", "model-index", "pipeline_tag", "license", "tags")
#: In a table made by hand nobody knows whether this is per device or in all; others are too short for a card.
_UNCLEAR = (
    "batch_size",
    "batch",
    "stage",
    "filter",
    "warmup",
    "model",
    "dataset",
    "scheduler",
    "attention",
    "trainer",
    "framework",
)
_LIBRARIES = {"pytorch": "torch_version"}


def recognise(text: str) -> bool:
    """By front matter as the Hub has it, or by the heading under which the Trainer lists its hyper-parameters."""
    if re.search(r"^#{2,4} Training hyperparameters\s*$", text, re.M):
        return True
    front = _FRONT.match(text)
    return front is not None and any(re.search(rf"^{key}\s*:", front[1], re.M) for key in _HUB_KEYS)


def values(text: str) -> dict[str, Any]:
    """The hyper-parameters, versions and base model that the card states."""
    found: dict[str, Any] = {}
    text = text[:LONGEST]
    front = _FRONT.match(text)
    body = text[front.end() :] if front else text
    for name, value in (*_lists(body), *_tables(body)):
        if name == "optimizer":
            found |= {key: inner for key, inner in _optimizer(value).items() if key not in found}
        elif name == "mixed_precision_training":
            found |= _mixed(value)
        elif name not in found:
            found[name] = value
    if front:
        found |= {name: value for name, value in _front(front[1]).items() if name not in found}
    return found


def _lists(body: str) -> Iterator[tuple[str, str]]:
    heading = ""
    for line in body.splitlines():
        if len(line) > LONGEST_LINE:
            continue
        if title := _HEADING.match(line):
            heading = title[1]
        elif library := _LIBRARY.match(line):
            name = library[1].lower()
            yield _LIBRARIES.get(name, f"{name}_version"), library[2]
        elif _OF_TRAINING.search(heading) and (listed := _LISTED.match(line)):
            yield _plain(listed[1]), listed[2].strip().strip("*`_ ")


def _tables(body: str) -> Iterator[tuple[str, str]]:
    """Rows `| name | value |`, whatever follows in further columns."""
    for line in body.splitlines():
        if line.lstrip().startswith("|") and len(line) <= LONGEST_LINE:
            cells = [cell.strip().strip("*`_ ") for cell in line.strip().strip("|").split("|")]
            name = _plain(cells[0])
            if len(cells) >= 2 and cells[1] and name not in _UNCLEAR and canonical(name):
                yield name, cells[1]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _optimizer(value: str) -> dict[str, Any]:
    """Its name where the card has it in the form of `optim`: older ones say "Adam" of every kind of AdamW."""
    found: dict[str, Any] = {}
    if name := re.match(r"Use (?:OptimizerNames\.)?(\w+)|([a-z]\w*_\w+|adafactor|lion|sgd)\b", value):
        found["optim"] = (name[1] or name[2]).lower()
    if betas := re.search(r"betas\s*=\s*\(\s*([\d.]+)\s*,\s*([\d.]+)\s*\)", value):
        found["adam_beta1"], found["adam_beta2"] = betas[1], betas[2]
    if epsilon := re.search(r"epsilon\s*=\s*([\d.]+(?:e-?\d+)?)", value):
        found["adam_epsilon"] = epsilon[1]
    return found


def _mixed(value: str) -> dict[str, Any]:
    """ "Native AMP" is fp16 or bf16, nobody knows which; Apex knows fp16 alone."""
    level = re.search(r"apex.*?\b(o[12])\b", value.lower())
    return {"fp16": f"apex {level[1]}"} if level else {}


def _front(text: str) -> dict[str, Any]:
    """The base model and the data set: one name, or the first in a list."""
    found: dict[str, Any] = {}
    for key, name in (("base_model", "model_name_or_path"), ("datasets", "dataset")):
        pattern = rf"^{key}:[ \t]*(?:\n[ \t]*-)?[ \t]*['\"]?([^\s'\"#\[\]{{}}&*!|>]{{1,200}})['\"]?[ \t]*$"
        if match := re.search(pattern, text, re.M):
            found[name] = match[1]
    return found
