"""What the readers of printed text share: lines of any length, rows that are split into runs, and the logs made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from lossdoctor.language import say
from lossdoctor.model import Fact, Log, NothingToAnalyse, Run
from lossdoctor.parsing import stated
from lossdoctor.parsing.rows import emptied, number, records

#: A longer line is no row of a log: somebody printed a tensor, or a whole data set.
LONGEST = 20_000
#: More runs are not read of one source: each is a report of its own.
MOST_RUNS = 1_000
#: Ends a line on a terminal; a bar that is drawn anew returns to its start.
_END = re.compile(r"[\r\n]")
COLOURS = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
#: A number as programs print it, not part of a date, a time, a version or a word; "13ms" and "3/10" are none.
NUMBER = (
    r"[-+]?(?:(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][-+]?\d{1,5})?|[Nn][Aa][Nn]|[Ii][Nn][Ff](?:inity)?)"
    r"(?!\w|[:/.-]\w)"
)
#: `loss: 2.5`, `loss=2.5`, `rewards/chosen:0.1`: a name of one word and its number.
PAIR = re.compile(rf"(?<![\w./-])([A-Za-z_][\w./@-]{{0,80}})(?:[:=]|: )[ \t]{{0,8}}({NUMBER})")

Run_ = TypeVar("Run_")


class Line(NamedTuple):
    """A line without its end and without colours, and where it begins in the text."""

    start: int
    text: str


class Row(NamedTuple):
    """A row of a log as it was printed: its columns under the Trainer's names, and where it begins in the text."""

    start: int
    values: Mapping[str, Any]


def lines(text: str) -> Iterator[Line]:
    """The lines that are not blank, one at a time: never all lines of a huge text at once."""
    start = 0
    while start < len(text):
        end = end_of_line(text, start)
        if start < end <= start + LONGEST:
            line = text[start:end]
            yield Line(start, COLOURS.sub("", line) if "\x1b" in line else line)
        start = end + 1


def end_of_line(text: str, start: int) -> int:
    """Where the line ends that goes on here."""
    match = _END.search(text, start)
    return match.start() if match else len(text)


def followed(pattern: re.Pattern[str], text: str) -> Iterator[tuple[re.Match[str], int]]:
    """Whatever matches, each with where the next one begins: of many on one line, each has its own part of it."""
    before: re.Match[str] | None = None
    for match in pattern.finditer(text):
        if before is not None:
            yield before, match.start()
        before = match
    if before is not None:
        yield before, len(text)


def rest(text: str, start: int, until: int | None = None) -> str:
    """What is left of the line from here on, or up to there, without colours; nothing of a line that is no row of a log."""
    until = len(text) if until is None else until
    match = _END.search(text, start, min(until, start + LONGEST + 1))
    end = match.start() if match else until
    if end > start + LONGEST:
        return ""
    return COLOURS.sub("", text[start:end]) if text.find("\x1b", start, end) >= 0 else text[start:end]


def changed(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows with what was evaluated only where it is new: beside a bar, and in some rows, it stays until the next time."""
    before: dict[str, Any] = {}
    for row in rows:
        evaluated = {name: value for name, value in row.values.items() if name.startswith("eval_")}
        stale = "loss" in row.values and {
            name for name, value in evaluated.items() if name in before and str(before[name]) == str(value)
        }
        before |= evaluated
        yield Row(row.start, {name: value for name, value in row.values.items() if name not in stale}) if stale else row


def logs(
    kind: str,
    name: str,
    text: str,
    rows: Iterable[Row],
    known: Mapping[str, Fact] | None = None,
    notes: Sequence[str] = (),
) -> list[Log]:
    """One log for each run among the rows, with the settings that stand in the text before it.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    found: list[Log] = []
    several, fewer = last_runs(runs(rows))
    said = stated.of_runs(text, [(run[0].start, run[-1].start) for run in several])
    for place, (run, settings) in enumerate(zip(several, said, strict=True), 1):
        facts = {**settings, **(known or {})}
        values = (row.values for row in emptied(run))
        found += log(kind, values, facts, (*notes, *fewer), which(place, len(several)))
    return with_numbers(found, name)


def with_numbers(found: list[Log], name: str) -> list[Log]:
    """The logs that were found in a source of that name.

    Raises:
        NothingToAnalyse: there is none, since no row had a number.
    """
    if not found:
        raise NothingToAnalyse(f"{name} has rows without a number: nothing to analyse")
    return found


def log(
    kind: str,
    rows: Iterable[Mapping[str, Any]],
    facts: Mapping[str, Fact] | None = None,
    notes: Sequence[str] = (),
    title: str = "",
) -> list[Log]:
    """The log of one run; nothing where no row has a number. `title` tells it from the others of the same source."""
    made = records(rows)
    if not made.records:
        return []
    run = Run(
        kind=kind,
        name=title,
        facts=facts or {},
        notes=(*notes, *made.notes),
        resumed_at=made.resumed_at,
        numbered=made.numbered,
    )
    return [Log(run, tuple(made.records))]


def which(place: int, several: int) -> str:
    """What tells a run from the others of its source, the first of which has place 1; nothing where it is alone."""
    return f"run {place} of {several}" if several > 1 else ""


def last_runs(several: list[Run_]) -> tuple[list[Run_], list[str]]:
    """The runs, of very many the last ones, and a note that says so: what begins anew on every line is hardly a training."""
    if len(several) <= MOST_RUNS:
        return several, []
    return several[-MOST_RUNS:], [
        say(
            "steps begin anew {number_of_several:,} times: only the last {most_runs:,} runs were read",
            number_of_several=len(several) - 1,
            most_runs=MOST_RUNS,
        )
    ]


def runs(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each run: where training is back at the first step, it has begun anew. A later step is a resume."""
    found: list[list[Row]] = []
    first = last = None
    for row in rows:
        step = number(row.values.get("step")) if "loss" in row.values else None
        if not found or (step is not None and first is not None and last is not None and step <= first and step < last):
            found.append([])
            first = last = None
        if step is not None:
            first, last = step if first is None else first, step
        found[-1].append(row)
    return found
