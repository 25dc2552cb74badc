"""DeepSpeed's own lines, where no Trainer prints its rows beside them: steps, rates, losses of a pipeline, skipped steps."""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.language import say
from lossdoctor.model import Fact, Log
from lossdoctor.parsing.deepspeed_lines import (
    EXHAUSTED,
    EXHAUSTED_NOTE,
    OVERFLOW,
    PIPELINE,
    REDUCED,
    STEP,
    Overflow,
    columns,
    overflows,
)
from lossdoctor.parsing.printed_lines import PAIR, Row, followed, logs, rest
from lossdoctor.parsing.source import Source
from lossdoctor.readers import key_value, megatron, progress_bar, trainer_stdout

KIND = "deepspeed"
#: What stands in each kind of line: to look for it costs next to nothing in a text without it.
TELLING = ((", skipped=", STEP), (" iter time (s): ", PIPELINE), ("Attempted loss scale", OVERFLOW), ("loss scale from", REDUCED))
#: Of a row of the pipeline, what measures the machine.
PACE = frozenset({"step", "steps", "samples/sec"})


def recognise(source: Source) -> bool:
    """A line of DeepSpeed is in the text, and no rows of another program: these tell more, and their readers read both."""
    text = source.text
    told = any(word in text and line.search(text) for word, line in TELLING)
    return told and not any(other.recognise(source) for other in (trainer_stdout, megatron, progress_bar, key_value))


def read(source: Source) -> list[Log]:
    """Every run in the text.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    text = source.take()
    told = overflows(text)
    known = {"deepspeed": Fact(True, KIND)}
    if told:
        known["fp16"] = Fact(True, KIND)
    notes = [say(EXHAUSTED_NOTE)] if EXHAUSTED in text else []
    return logs(KIND, source.name, text, _rows(text, told), known, notes)


def _rows(text: str, told: list[Overflow]) -> Iterator[Row]:
    """The rows with their skipped steps: counted where each is told, else by the sum that stands in the line of a step."""
    steps = _steps(text)
    if not steps:  # a step was thrown away each time, and nothing else is known
        yield from (Row(one.start, columns([one])) for one in told)
        return
    place, total = 0, 0.0
    for row in steps:
        since = place
        while place < len(told) and told[place].start < row.start:
            place += 1
        values = dict(row.values)
        so_far = values.pop("skipped", None)
        if told:
            values |= columns(told[since:place])
        elif so_far is not None:
            values["skipped_steps"] = max(0.0, so_far - total) if so_far >= total else so_far
        total = total if so_far is None else so_far
        yield Row(row.start, values)
    if place < len(told):  # the end of the text, after the last step that is named
        late = told[place:]
        last = int(steps[-1].values["step"])
        yield from (Row(one.start, {"step": last + number, **columns([one])}) for number, one in enumerate(late, 1))


def _steps(text: str) -> list[Row]:
    """One row for each step that is named: its rate and its loss may stand in two lines."""
    found: list[Row] = []
    for line in STEP.finditer(text):
        values = {"step": int(line[1]), "skipped": float(line[2])}
        found.append(Row(line.start(), values | ({"learning_rate": float(line[3])} if line[3] else {})))
    for line, until in followed(PIPELINE, text):
        pairs = {name: float(value) for name, value in PAIR.findall(rest(text, line.start(), until)) if name not in PACE}
        found.append(Row(line.start(), {"step": int(line[1]), **pairs}))
    found.sort(key=lambda row: row.start)
    merged: list[Row] = []
    for row in found:
        before = merged[-1] if merged else None
        if before and before.values["step"] == row.values["step"] and not (before.values.keys() & row.values.keys()) - {"step"}:
            merged[-1] = Row(before.start, {**before.values, **row.values})
        else:
            merged.append(row)
    return merged
