"""Where the numbers of a run broke: from there on its loss measures nothing, however low it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from lossdoctor.comparison.nouns import Side
from lossdoctor.model import Symptom, surely_expected

#: Symptoms after which the loss is no number, or none that was measured.
NUMBERS = ("loss-not-finite", "loss-collapse-to-zero", "weights-not-finite", "hidden-nan-steps", "labels-all-masked")
#: What is seen before the loss shows it.
BEFORE = ("gradient-not-finite", "tensor-not-finite")
#: Rows at the end that hold no number, from which on a log without a report has broken.
ROWS = 3


@dataclass(frozen=True)
class Break:
    """The first step that a fault touches, what it is called, and whether the numbers themselves are lost."""

    step: int
    slug: str
    numbers: bool
    last_good: int | None = None


def broke(side: Side) -> Break | None:
    """Where the numbers of a side were lost for good; None where they were not."""
    found = fault(side)
    return found if found is not None and found.numbers else None


def fault(side: Side) -> Break | None:
    """The first critical fault that stands at the end of a side, of numbers or of the loss; None where there is none."""
    report = side.report
    if report is None:
        return _without_report(side)
    normal = surely_expected(report.diagnoses)
    standing = [s for s in report.symptoms if s.severity == "critical" and s.open and s.identity not in normal]
    lost = [s for s in standing if s.slug in NUMBERS]
    first = min(lost or standing, key=_place, default=None)
    if first is None:
        return None
    onset = min(s.onset for s in standing if s is first or (lost and s.slug in BEFORE))
    return Break(onset, first.slug, bool(lost), report.last_good_step)


def _place(symptom: Symptom) -> tuple[int, bool, str]:
    """The earliest first; of those that begin in one row, what is seen in the loss."""
    return symptom.onset, not symptom.series.startswith("loss"), symptom.slug


def _without_report(side: Side) -> Break | None:
    rows = [r for r in side.log.records if r.kind == "train" and "loss" in r.values] if side.log else []
    lost: list[int] = []
    for row in reversed(rows):
        loss = row.values["loss"]
        if isfinite(loss) and loss != 0:
            break
        lost.append(row.step)
    if len(lost) < min(ROWS, len(rows)) or not lost:
        return None
    good = max((row.step for row in rows if row.step < lost[-1]), default=None)
    zero = rows[-1].values["loss"] == 0
    return Break(lost[-1], "loss-collapse-to-zero" if zero else "loss-not-finite", True, good)
