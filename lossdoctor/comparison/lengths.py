"""Where two logs end, whether that is the end of the runs, and what broke before it."""

from __future__ import annotations

from lossdoctor.comparison import telling
from lossdoctor.comparison.axes import Axis
from lossdoctor.comparison.broken import Break, broke, fault
from lossdoctor.comparison.nouns import Side
from lossdoctor.comparison.series import Series
from lossdoctor.language import say

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
    return say(
        "each at its own end, step {first_steps:,} of {one_name} and {second_steps:,} of {other_name}",
        first_steps=steps[0],
        one_name=one.name,
        second_steps=steps[1],
        other_name=other.name,
    )


def breaks(one: Side, other: Side) -> list[str]:
    """A sentence on each side that broke."""
    faults: list[tuple[Side, Break | None]] = [(side, fault(side)) for side in (one, other)]
    return [telling.broke_at(side, found) for side, found in faults if found]
