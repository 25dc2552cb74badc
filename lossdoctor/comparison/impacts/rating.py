"""What the files of impacts share: a rating, and how factors are graded and said."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, NamedTuple

from lossdoctor import slips
from lossdoctor.agreement import number
from lossdoctor.comparison.nouns import WEIGHT, Impact
from lossdoctor.language import say
from lossdoctor.plan import Plan


class Rating(NamedTuple):
    """How much of a difference matters, why, which rows of the evidence say so, and whether it could be judged at all."""

    impact: Impact
    reason: str
    sources: tuple[str, ...] = ()
    judged: bool = True


Rater = Callable[[str, Plan, Plan], Rating]


def factor(one: float, other: float) -> float:
    """How many times the larger is the smaller; infinite where one is 0 or the signs differ."""
    if one == other:
        return 1.0
    return max(one / other, other / one) if one * other > 0 else float("inf")


def graded(times: float, low: float, medium: float, high: float) -> Impact:
    """The impact of a factor, from which on it is low, medium and high."""
    return "high" if times >= high else "medium" if times >= medium else "low" if times >= low else "none"


def numbers(name: str, one: Plan, other: Plan) -> tuple[float, float] | None:
    """The values of a setting on both sides where both are numbers."""
    first, second = number(one.get(name)), number(other.get(name))
    return None if first is None or second is None else (first, second)


def both(one: Any, other: Any) -> str:
    """Two values as they are written: `2e-5 and 1e-5`."""
    return say("{one} and {other}", one=slips.short(one), other=slips.short(other))


def shown(name: str, one: Plan, other: Plan) -> str:
    """The values of a setting on both sides, in words."""
    return say(" and ").join(said(plan.get(name)) for plan in (one, other))


def said(value: Any) -> str:
    """A value in a sentence."""
    if value is None:
        return say("unstated")
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {said(inner)}" for name, inner in value.items())
    return slips.short(value)


def percent(share: float) -> str:
    """A share of one in words: 0.3 %, 12 %."""
    return f"{100 * share:.3g} %" if isfinite(share) else say("all")


def least(impact: Impact, other: Impact) -> Impact:
    """The smaller of two impacts."""
    return min(impact, other, key=lambda name: WEIGHT[name])
