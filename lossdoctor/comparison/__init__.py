"""What differs between runs or configurations, what of it matters, and whether the curves differ beyond their noise."""

from __future__ import annotations

from collections.abc import Sequence

from lossdoctor.comparison.curves import compare_curves
from lossdoctor.comparison.differences import differences
from lossdoctor.comparison.explained import explain
from lossdoctor.comparison.nouns import Comparison, Pair, Side
from lossdoctor.comparison.pairing import shared
from lossdoctor.comparison.tries import tell


def of(sides: Sequence[Side]) -> Comparison:
    """Every side after the first against the first, and what shows in all of them together."""
    one, *others = sides
    pairs = tuple(_against(one, other) for other in others)
    return Comparison(tuple(sides), pairs, shared([side.plan for side in sides]), tell(sides))


def _against(one: Side, other: Side) -> Pair:
    differing = differences(one.plan, other.plan)
    curves = compare_curves(one, other)
    return Pair(one, other, differing, curves, explain(one, other, curves, differing))
