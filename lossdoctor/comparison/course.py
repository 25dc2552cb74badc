"""The learning rate over a run as far as a comparison needs it: also where nobody knows how many steps the run has."""

from __future__ import annotations

from dataclasses import replace
from math import isclose

from lossdoctor.comparison.defaults import is_configuration
from lossdoctor.plan import Plan
from lossdoctor.planned_rates import PlannedRate, planned

#: Steps to draw a schedule over where their number is unknown and does not change its shape.
NOMINAL = 1000
#: Examples of the data for which steps are told where their number is unknown.
PER_EXAMPLES = 1000
#: Points at which two schedules are held against each other.
_POINTS = 200


def course(plan: Plan) -> PlannedRate | None:
    """The rates of a run; over a nominal number of steps where it is unknown. None where the shape itself is unknown."""
    rates = plan.rates or (planned(plan.run, NOMINAL) if _keeps_its_shape(plan) else None)
    if rates is None or (rates.assumed and not is_configuration(plan.run)):
        return None
    return replace(rates, warmup=0) if rates.name == "constant" else rates  # plain `constant` ignores the warm-up


def _keeps_its_shape(plan: Plan) -> bool:
    """Whether nothing in the schedule is counted in steps."""
    steps, more = plan.get("warmup_steps"), plan.get("lr_scheduler_kwargs")
    counted = isinstance(more, dict) and any("steps" in name or name == "timescale" for name in more)
    scaled = plan.get("lr_scheduler_type") == "inverse_sqrt"
    return not counted and not scaled and (not isinstance(steps, (int, float)) or steps < 1)


def mean_share(rates: PlannedRate) -> float:
    """The mean rate as a share of the peak."""
    return rates.mean() / rates.peak


def same_shape(one: PlannedRate, other: PlannedRate) -> bool:
    """Whether both rates are the same share of their peaks at every share of their steps, to one per cent."""
    places = [(place + 0.5) / _POINTS for place in range(_POINTS)]
    return all(abs(one.at(one.total * p) / one.peak - other.at(other.total * p) / other.peak) < 0.01 for p in places)


def travels(one: Plan, other: Plan) -> tuple[float, float] | None:
    """The sums of the learning rates: of all steps, or for so many examples of the same data where those are unknown."""
    first, second = course(one), course(other)
    if first is None or second is None:
        return None
    if one.total_steps and other.total_steps:
        return first.mean() * one.total_steps.value, second.mean() * other.total_steps.value
    if one.steps_per_example and other.steps_per_example:
        return first.mean() * one.steps_per_example * PER_EXAMPLES, second.mean() * other.steps_per_example * PER_EXAMPLES
    return None


def steps(one: Plan, other: Plan) -> tuple[float, float] | None:
    """The optimizer steps of both: in total, or for so many examples of the same data."""
    if one.total_steps and other.total_steps:
        return one.total_steps.value, other.total_steps.value
    if one.steps_per_example and other.steps_per_example:
        return one.steps_per_example * PER_EXAMPLES, other.steps_per_example * PER_EXAMPLES
    return None


def alike(one: float, other: float, share: float = 0.01) -> bool:
    """Whether two numbers are the same for all that matters here."""
    return isclose(one, other, rel_tol=share, abs_tol=1e-15)
