"""Rows as JSON: one object a line, or one array of objects. Rows need not have a step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lossdoctor.facts.canonical import translate
from lossdoctor.model import Log, LossDoctorError, NothingToAnalyse
from lossdoctor.readers.printed_lines import LONGEST, log
from lossdoctor.readers.rows import emptied
from lossdoctor.readers.source import HEAD, Source

KIND = "json_lines"
#: Columns of which a training log has at least one.
TELLING = ("loss", "eval_loss", "train_loss", "grad_norm", "learning_rate", "lr", "reward")
#: Columns by which the rows of other programs are known; each has a reader of its own, which is named for its dialect.
LAYOUTS = {"llama_factory": {"current_steps", "total_steps"}, "mmengine": {"iter", "data_time", "step"}}
#: How far ms-swift is, in one text, "8280/11043"; and what its last line has, which sums up the run.
PROGRESS, SUMMED_UP = "global_step/max_steps", "last_model_checkpoint"
_DECODER = json.JSONDecoder()


def recognise(source: Source) -> bool:
    """The first line is a JSON object with a column of a training log, or the text is an array of such objects."""
    text = source.text.lstrip()
    if text[:1] == "[":
        return text[1:HEAD].lstrip()[:1] == "{" and any(f'"{name}"' in source.head for name in TELLING)
    first = next(_split(text)).strip()
    if not first.startswith("{"):
        return False
    row = _parse(first)
    told = isinstance(row, dict) and any(name == key or key.endswith("_loss") for key in row for name in TELLING)
    return told and not layout(source)


def layout(source: Source) -> str:
    """The dialect of a text whose first line is a row of another program; "" for any other text."""
    if source.head.lstrip()[:1] != "{":
        return ""
    first = source.text[: 2 * LONGEST].lstrip()[:LONGEST].partition("\n")[0]
    row = _parse(first.strip())
    return next((name for name, columns in LAYOUTS.items() if isinstance(row, dict) and columns <= row.keys()), "")


def read(source: Source) -> list[Log]:
    """One run.

    Raises:
        LossDoctorError: the array is broken, or no line is a JSON object.
        NothingToAnalyse: there is not one number in the rows.
    """
    if source.text.lstrip()[:1] == "[":
        array = _array(source)
        count, found = len(array), log(KIND, emptied(array))
    else:
        lines = Lines(source.take())
        found = log(KIND, lines)
        if lines.total:
            found = [replace(one, run=one.run.knowing(translate({"max_steps": lines.total}, KIND))) for one in found]
        count = lines.rows
        found = [replace(one, run=replace(one.run, notes=(*lines.notes(), *one.run.notes))) for one in found]
    if not found:
        raise NothingToAnalyse(f"{source.name} has {count} rows without a number: nothing to analyse")
    return found


def _array(source: Source) -> list[Any]:
    try:
        rows: list[Any] = json.loads(source.take())
    except (ValueError, RecursionError) as error:
        raise LossDoctorError(f"{source.name} is a broken JSON array ({str(error)[:60]}); a list of rows was expected") from None
    return rows


class Lines:
    """The rows of a text, each parsed when it is asked for: by then the one before may be a record."""

    def __init__(self, text: str) -> None:
        self.text = text.rstrip("\n")
        self.rows = self.last = 0
        self.total = 0
        self.broken: list[int] = []

    def __iter__(self) -> Iterator[Any]:
        for place, line in enumerate(map(str.strip, _split(self.text)), 1):
            self.last = place
            if not line:
                continue
            row = _parse(line)
            if isinstance(row, dict):
                self.rows += 1
                if PROGRESS in row:
                    row = self._placed(row)
                if SUMMED_UP not in row:
                    yield row
            else:
                self.broken.append(place)

    def _placed(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row of ms-swift with its step."""
        done, _, total = str(row[PROGRESS]).partition("/")
        if not (done.isdecimal() and total.isdecimal() and len(done) < 16 and len(total) < 16):
            return row
        self.total = int(total)
        return {**row, "step": int(done)}

    def notes(self) -> list[str]:
        """What was left out, known once all rows were taken."""
        if not self.broken:
            return []
        if self.broken == [self.last]:
            return ["the last line is cut off and was left out"]
        first = ", ".join(map(str, self.broken[:3])) + (" …" if len(self.broken) > 3 else "")
        return [f"{len(self.broken)} line(s) are not JSON objects and were left out: {first}"]


def _split(text: str) -> Iterator[str]:
    """`text.split("\\n")`, but never all lines of a huge text at once."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _parse(line: str) -> Any:
    """The one JSON value in a line without blanks around it; None where there is none, or something after it."""
    try:
        value, end = _DECODER.raw_decode(line)
    except (ValueError, RecursionError):
        return None
    return value if end == len(line) else None
