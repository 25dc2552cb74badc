"""Rows as JSON: one object a line, or one array of objects. Rows need not have a step."""

from __future__ import annotations

import json
from typing import Any

from lossdoctor.model import Log, LossDoctorError, NothingToAnalyse, Run
from lossdoctor.readers.rows import records
from lossdoctor.readers.source import Source

KIND = "json_lines"
#: Columns of which a training log has at least one.
TELLING = ("loss", "eval_loss", "train_loss", "grad_norm", "learning_rate", "lr", "reward")


def recognise(source: Source) -> bool:
    """The first line is a JSON object with a column of a training log, or the text is an array of such objects."""
    text = source.text.lstrip()
    if text[:1] == "[":
        return any(f'"{name}"' in source.head for name in TELLING)
    first = text.partition("\n")[0].strip()
    if not first.startswith("{"):
        return False
    row = _parse(first)
    return isinstance(row, dict) and any(name == key or key.endswith("_loss") for key in row for name in TELLING)


def read(source: Source) -> list[Log]:
    """One run.

    Raises:
        LossDoctorError: the array is broken, or no line is a JSON object.
        NothingToAnalyse: there is not one number in the rows.
    """
    rows, notes = _array(source) if source.text.lstrip()[:1] == "[" else _lines(source.text)
    found, more = records(rows)
    if not found:
        raise NothingToAnalyse(f"{source.name} has {len(rows)} rows without a number: nothing to analyse")
    return [Log(Run(kind=KIND, notes=(*notes, *more)), tuple(found))]


def _array(source: Source) -> tuple[list[Any], list[str]]:
    try:
        rows = json.loads(source.text)
    except (ValueError, RecursionError) as error:
        raise LossDoctorError(f"{source.name} is a broken JSON array ({str(error)[:60]}); a list of rows was expected") from None
    return rows, []


def _lines(text: str) -> tuple[list[Any], list[str]]:
    rows: list[Any] = []
    broken: list[int] = []
    lines = text.rstrip("\n").split("\n")
    for place, line in enumerate(lines, 1):
        line = line.strip()
        if not line:
            continue
        row = _parse(line)
        if isinstance(row, dict):
            rows.append(row)
        else:
            broken.append(place)
    if not broken:
        return rows, []
    if broken == [len(lines)]:
        return rows, ["the last line is cut off and was left out"]
    first = ", ".join(map(str, broken[:3])) + (" …" if len(broken) > 3 else "")
    return rows, [f"{len(broken)} line(s) are not JSON objects and were left out: {first}"]


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
