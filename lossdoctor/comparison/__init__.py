"""What differs between runs or configurations, what of it matters, and whether the curves differ beyond their noise."""

from __future__ import annotations

from collections.abc import Sequence

from lossdoctor.comparison.curves import compare_curves
from lossdoctor.comparison.differences import differences
from lossdoctor.comparison.explained import explain
from lossdoctor.comparison.nouns import Comparison, Pair, Side
from lossdoctor.comparison.pairing import shared
from lossdoctor.comparison.tries import tell
from lossdoctor.plan import Plan


def of(sides: Sequence[Side]) -> Comparison:
    """Every side after the first against the first, and what shows in all of them together."""
    plans = shared([side.plan for side in sides])
    pairs = tuple(_against(sides[0], other, plans[0], plan) for other, plan in zip(sides[1:], plans[1:], strict=True))
    return Comparison(tuple(sides), pairs, plans, tell(sides))


def _against(one: Side, other: Side, first: Plan, second: Plan) -> Pair:
    """By their plans with what all share, so that every pair takes the same for granted."""
    differing = differences(first, second)
    curves = compare_curves(one, other)
    return Pair(one, other, differing, curves, explain(one, other, curves, differing))
