"""Where two logs end, whether that is the end of the runs, and what broke before it."""

from __future__ import annotations

from lossdoctor.comparison import telling
from lossdoctor.comparison.axes import Axis
from lossdoctor.comparison.broken import Break, broke, fault
from lossdoctor.comparison.nouns import Side
from lossdoctor.comparison.series import Series

#: The ends of two logs are at different places from this share on.
FURTHER = 0.03


def further(one: Side, other: Side, first: Series, second: Series, axis: Axis) -> bool:
    """Whether both have come to their end, and at different places."""
    if any(map(telling.unfinished, (one, other))) or broke(one) or broke(other):
        return False
    last = [axis.places(rows, side)[1][-1] for side, rows in enumerate((first, second))]
    return bool(abs(last[0] - last[1]) > FURTHER * max(last))


def own(one: Side, other: Side) -> str:
    """Where each ends, in words."""
    steps = [telling.last_step(side) for side in (one, other)]
    return f"each at its own end, step {steps[0]:,} of {one.name} and {steps[1]:,} of {other.name}"


def breaks(one: Side, other: Side) -> list[str]:
    """A sentence on each side that broke."""
    faults: list[tuple[Side, Break | None]] = [(side, fault(side)) for side in (one, other)]
    return [telling.broke_at(side, found) for side, found in faults if found]
