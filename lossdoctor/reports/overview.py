"""What a report on many runs shows: the worst first, a table of a length that somebody reads, and a few runs in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from lossdoctor.language import say
from lossdoctor.model import Report
from lossdoctor.reports import words

ORDER = ("critical", "warning", "insufficient", "healthy")
#: Runs in the table, and runs told in full, by format. A page has room for curves that a terminal has not.
IN_TABLE = {"text": 40, "markdown": 200, "html": 5_000}
IN_FULL = {"text": 10, "markdown": 20, "html": 50}
#: Of more runs than a terminal tells in full, so many are told all the same if no others are ill.
A_FEW = 5


class Overview(NamedTuple):
    """`table` and `full` are the worst ones first; `counts` says in words how many there are, where the table has not all."""

    table: list[Report]
    full: list[Report]
    counts: str


def overview(reports: Sequence[Report], kind: str) -> Overview:
    """How a format shows these runs."""
    ordered = worst_first(reports)
    ill = [report for report in ordered if report.verdict in ("critical", "warning")]
    if len(ordered) <= IN_FULL[kind]:
        full = ordered if kind == "html" or len(ordered) == 1 else ill
    else:
        full = ill[: IN_FULL[kind]] if kind != "text" else ill if len(ill) <= A_FEW else []
    if len(ordered) <= IN_TABLE[kind]:
        return Overview(ordered, full, "")
    table = (ill or ordered)[: IN_TABLE[kind]]
    return Overview(
        table,
        full,
        say(
            "{number_of_ordered:,} runs: {ordered}. The table has the worst {number_of_table:,}.",
            number_of_ordered=len(ordered),
            ordered=tally(ordered),
            number_of_table=len(table),
        ),
    )


def worst_first(reports: Sequence[Report]) -> list[Report]:
    """Critical runs, warnings, those with too few rows, healthy ones; each by its path."""
    return sorted(reports, key=lambda report: (ORDER.index(report.verdict), words.name(report)))


def tally(reports: Sequence[Report]) -> str:
    """How many there are of each verdict: `2 critical, 1 warning, 40 healthy`."""
    counts = Counter[str](report.verdict for report in reports)
    return ", ".join(say("{count:,} {level}", count=counts[verdict], level=say(verdict)) for verdict in ORDER if counts[verdict])
