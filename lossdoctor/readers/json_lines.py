"""Rows as JSON: one object a line, also at the end of lines of text, or one array of them. Rows need not have a step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from lossdoctor.facts.canonical import translate
from lossdoctor.language import say
from lossdoctor.model import Log, LossDoctorError, NothingToAnalyse
from lossdoctor.parsing import charts
from lossdoctor.parsing.column_names import PREFIXES, column
from lossdoctor.parsing.printed_lines import LONGEST, log
from lossdoctor.parsing.rows import emptied
from lossdoctor.parsing.source import HEAD, Source

KIND = "json_lines"
#: Columns of which a training log has at least one.
TELLING = ("loss", "eval_loss", "train_loss", "grad_norm", "learning_rate", "lr", "reward")
#: Columns by which the rows of other programs are known; each has a reader of its own, which is named for its dialect.
LAYOUTS = {"llama_factory": {"current_steps", "total_steps"}, "mmengine": {"iter", "data_time", "step"}}
#: How far ms-swift is, in one text, "8280/11043"; and what its last line has, which sums up the run.
PROGRESS, SUMMED_UP = "global_step/max_steps", "last_model_checkpoint"
#: How other programs count: fairseq its updates, W&B the calls to its log.
OTHERS = {
    **dict.fromkeys(("num_updates", "train_num_updates", "valid_num_updates", "_step"), "step"),
    "train_lr": "learning_rate",
    "train_gnorm": "grad_norm",
}
#: What stands before an object on its line is shorter; and so many rows are a log, if so many lines are looked at.
BEFORE, ENOUGH, MOST_TRIED = 200, 3, 10_000
_DECODER = json.JSONDecoder()


def recognise(source: Source) -> bool:
    """The first line is a JSON object with a column of a training log, several lines end in one, or the text is an array."""
    text = source.text.lstrip() if source.text[:1].isspace() else source.text
    if text[:1] == "[" and text[1:HEAD].lstrip()[:1] in "{[":
        return charts.recognise(text) or any(f'"{name}"' in source.head for name in TELLING)
    first = next(_split(text)).strip()
    if first.startswith("{") and _told(_named(_parse(first))):
        return not layout(source)
    return _among(text) and not layout(source)


def _told(row: Any) -> bool:
    return isinstance(row, Mapping) and any(name in TELLING or name.endswith("_loss") for name in row)


def _placed(row: Any) -> bool:
    """Whether an object among other lines is a row: a configuration has a learning rate as well."""
    return _told(row) and ("loss" in row or any(name in row for name in ("step", "epoch")))


def _among(text: str) -> bool:
    """Whether several lines end in an object that is a row."""
    start, found = text.find('{"'), 0
    for _ in range(MOST_TRIED):
        if start < 0 or found >= ENOUGH:
            break
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        near = start <= BEFORE or text.rfind("\n", start - BEFORE - 1, start) >= 0
        if near and end - start <= LONGEST:
            found += _placed(_named(_parse(text[start:end].strip())))
        start = text.find('{"', end)
    return found >= ENOUGH


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
        rows, notes = charts.rows(array, source.name) or (map(_named, emptied(array)), [])
        count, found = len(array), log(KIND, rows, notes=notes)
    else:
        text = source.take()
        first = _parse(next(_split(text.lstrip())).strip())
        lines = Lines(text, among=not _told(_named(first)))
        del text
        found = log(KIND, map(_named, lines))
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

    def __init__(self, text: str, *, among: bool = False) -> None:
        self.text = text.rstrip("\n")
        self.among = among  # other lines
        self.rows = self.last = 0
        self.total = 0
        self.broken: list[int] = []

    def __iter__(self) -> Iterator[Any]:
        for place, line in enumerate(map(str.strip, _split(self.text)), 1):
            self.last = place
            if self.among:
                start = line.find('{"')
                line = line[start:] if start >= 0 and _placed(_named(_parse(line[start:]))) else ""
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
            return [say("the last line is cut off and was left out")]
        first = ", ".join(map(str, self.broken[:3])) + (" …" if len(self.broken) > 3 else "")
        return [
            say(
                "{number_of_broken} line(s) are not JSON objects and were left out: {first}",
                number_of_broken=len(self.broken),
                first=first,
            )
        ]


def _named(row: Any) -> Any:
    """A row under the Trainer's names; what is grouped, as in `{"train": {"loss": 2.1}}`, is taken out of its groups."""
    if not isinstance(row, dict):
        return row
    if any(value.__class__ is dict for value in row.values()):
        flat: dict[str, Any] = {}
        for name, value in row.items():
            grouped = isinstance(value, dict) and f"{name}/" in PREFIXES
            flat |= {f"{name}/{inner}": one for inner, one in value.items()} if grouped else {name: value}
        row = flat
    names = _columns(tuple(row))
    return row if names is None else dict(zip(names, row.values(), strict=True))


@lru_cache(maxsize=256)
def _columns(names: tuple[str, ...]) -> tuple[str, ...] | None:
    """What the columns are called; None where they have these names already. A name that is taken is given to none besides."""
    found: list[str] = []
    for name in names:
        known = OTHERS.get(name) or column(name)
        found.append(name if known in names or known in found else known)
    return None if tuple(found) == names else tuple(found)


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
