"""The shape of the learning rate over the steps, and its warm-up."""

from __future__ import annotations

from lossdoctor.comparison import course
from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, percent, shown
from lossdoctor.plan import Plan
from lossdoctor.planned_rates import DECAYING, STANDING, PlannedRate


def shape(name: str, one: Plan, other: Plan) -> Rating:
    """By the mean share of the peak, and by whether the rate ends at nearly nothing."""
    first, second = course.course(one), course.course(other)
    if first is None or second is None:
        return _by_name(name, one, other)
    if course.same_shape(first, second):
        return Rating("none", f"{first.name} and {second.name} are the same curve here")
    shares = course.mean_share(first), course.mean_share(second)
    words = f"{_told(first, shares[0])}, {_told(second, shares[1])}"
    settles = (first.last / first.peak < 0.1) != (second.last / second.peak < 0.1)
    if settles:
        words += (
            ". A rate that falls to nearly nothing lets the loss settle; one that stays lets it scatter to the end, so the last "
        )
        words += "rows are not alike even where both have learned the same"
    far = max(shares) / max(min(shares), 1e-9) >= 1.4
    return Rating(
        "medium" if far or settles else "low", words, (sources.QLORA,) if "constant" in (first.name, second.name) else ()
    )


def _by_name(name: str, one: Plan, other: Plan) -> Rating:
    """What can be said where the steps are not known, which warm-up and decay are counted in."""
    kinds = [str(plan.get("lr_scheduler_type") or "").lower() for plan in (one, other)]
    if any(kind in STANDING for kind in kinds) and any(kind in DECAYING for kind in kinds):
        words = (
            f"{kinds[0]} and {kinds[1]}: one keeps its peak to the end, the other falls, most of them to nearly nothing, with a "
        )
        words += "mean of about half its peak, so the last rows are not alike even where both have learned the same"
        return Rating("medium", words, (sources.QLORA,))
    words = f"{shown(name, one, other)}: the schedule of one side is not known in full"
    return Rating("low" if all(kind in DECAYING for kind in kinds) else "medium", words)


def _told(rates: PlannedRate, share: float) -> str:
    return f"{rates.name} has a mean of {share:.2f} of its peak and ends at {rates.last / rates.peak:.2f}"


def warm_up(name: str, one: Plan, other: Plan) -> Rating:
    """A warm-up makes a high rate bearable; its length hardly matters once there is one."""
    first, second = course.course(one), course.course(other)
    if first is None or second is None:
        return Rating("low", f"{shown(name, one, other)}: a warm-up mainly makes high rates bearable", (sources.WARM_UP,))
    shares = [rates.warmup / max(1, rates.total) for rates in (first, second)]
    words = f"the warm-up takes {percent(shares[0])} and {percent(shares[1])} of the steps"
    if max(shares) >= 0.5:
        return Rating("high", f"{words}: where it takes half of them or more, the peak is hardly used", (sources.WARM_UP,))
    if min(shares) == 0 and max(shares) > 0:
        return Rating("medium", f"{words}; without one a high rate is harder to bear in the first steps", (sources.WARM_UP,))
    if max(shares) - min(shares) < 0.005:
        return Rating("none", f"{words}, which is the same")
    return Rating("low", f"{words}; once there is one, its length matters little", (sources.WARM_UP, sources.GUIDE))


RATERS: dict[str, Rater] = {
    "lr_scheduler_type": shape,
    "lr_scheduler_kwargs": shape,
    "scheduler_steps": shape,
    "learning-rate schedule": shape,
    "warmup_steps": warm_up,
    "warmup_ratio": warm_up,
    "warm-up": warm_up,
}
