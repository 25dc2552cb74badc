"""LLaMA-Factory's `trainer_log.jsonl`: rows as JSON lines with `current_steps` of `total_steps`; a resumed run is appended."""

from __future__ import annotations

from typing import Any

from lossdoctor.facts.canonical import translate
from lossdoctor.model import Log
from lossdoctor.parsing.printed_lines import Row, last_runs, log, runs, which, with_numbers
from lossdoctor.parsing.rows import number
from lossdoctor.parsing.source import Source
from lossdoctor.readers import json_lines

KIND = "llama_factory"
#: Columns that say how far and how fast rather than what was measured.
PACE = frozenset({"current_steps", "total_steps", "percentage", "elapsed_time", "remaining_time", "throughput", "total_tokens"})


def recognise(source: Source) -> bool:
    """The first row has `current_steps` and `total_steps`."""
    return json_lines.layout(source) == KIND


def read(source: Source) -> list[Log]:
    """Every run in it: one that begins at its first step again is another, a later step is a resume.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    lines = json_lines.Lines(source.take())
    several, fewer = last_runs(runs(Row(place, _measured(row)) for place, row in enumerate(lines)))
    found: list[Log] = []
    for place, run in enumerate(several, 1):
        totals = [row.values["total_steps"] for row in run if "total_steps" in row.values]
        known = translate({"max_steps": totals[-1]}, KIND) if totals else {}
        rows = ({name: value for name, value in row.values.items() if name != "total_steps"} for row in run)
        found += log(KIND, rows, known, (*lines.notes(), *fewer), which(place, len(several)))
    return with_numbers(found, source.name)


def _measured(row: dict[str, Any]) -> dict[str, Any]:
    """A row of what was measured, where it belongs, and how many steps there will be."""
    values = {name: value for name, value in row.items() if name not in PACE and value is not None}
    for name, known in (("current_steps", "step"), ("total_steps", "total_steps")):
        if (steps := number(row.get(name))) is not None and 0 <= steps < 2**53:
            values[known] = int(steps)
    return values
