"""The shape of the learning rate over the steps, and its warm-up."""

from __future__ import annotations

from lossdoctor.comparison import course
from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, percent, shown
from lossdoctor.language import say
from lossdoctor.plan import Plan
from lossdoctor.planned_rates import DECAYING, STANDING, PlannedRate


def shape(name: str, one: Plan, other: Plan) -> Rating:
    """By the mean share of the peak, and by whether the rate ends at nearly nothing."""
    first, second = course.course(one), course.course(other)
    if first is None or second is None:
        return _by_name(name, one, other)
    if course.same_shape(first, second):
        return Rating(
            "none", say("{first_name} and {second_name} are the same curve here", first_name=first.name, second_name=second.name)
        )
    shares = course.mean_share(first), course.mean_share(second)
    words = f"{_told(first, shares[0])}, {_told(second, shares[1])}"
    settles = (first.last / first.peak < 0.1) != (second.last / second.peak < 0.1)
    if settles:
        words += say(
            ". A rate that falls to nearly nothing lets the loss settle; one that stays lets it scatter to "
            "the end, so the last rows are not alike even where both have learned the same"
        )
    far = max(shares) / max(min(shares), 1e-9) >= 1.4
    return Rating(
        "medium" if far or settles else "low", words, (sources.QLORA,) if "constant" in (first.name, second.name) else ()
    )


def _by_name(name: str, one: Plan, other: Plan) -> Rating:
    """What can be said where the steps are not known, which warm-up and decay are counted in."""
    kinds = [str(plan.get("lr_scheduler_type") or "").lower() for plan in (one, other)]
    if any(kind in STANDING for kind in kinds) and any(kind in DECAYING for kind in kinds):
        words = say(
            "{first_kinds} and {second_kinds}: one keeps its peak to the end, the other falls, most of them "
            "to nearly nothing, with a mean of about half its peak, so the last rows are not alike even "
            "where both have learned the same",
            first_kinds=kinds[0],
            second_kinds=kinds[1],
        )
        return Rating("medium", words, (sources.QLORA,))
    words = say("{name}: the schedule of one side is not known in full", name=shown(name, one, other))
    return Rating("low" if all(kind in DECAYING for kind in kinds) else "medium", words)


def _told(rates: PlannedRate, share: float) -> str:
    return say(
        "{rates_name} has a mean of {share:.2f} of its peak and ends at {last:.2f}",
        rates_name=rates.name,
        share=share,
        last=rates.last / rates.peak,
    )


def warm_up(name: str, one: Plan, other: Plan) -> Rating:
    """A warm-up makes a high rate bearable; its length hardly matters once there is one."""
    first, second = course.course(one), course.course(other)
    if first is None or second is None:
        return Rating(
            "low", say("{name}: a warm-up mainly makes high rates bearable", name=shown(name, one, other)), (sources.WARM_UP,)
        )
    shares = [rates.warmup / max(1, rates.total) for rates in (first, second)]
    words = say(
        "the warm-up takes {first_shares} and {second_shares} of the steps",
        first_shares=percent(shares[0]),
        second_shares=percent(shares[1]),
    )
    if max(shares) >= 0.5:
        return Rating(
            "high", say("{words}: where it takes half of them or more, the peak is hardly used", words=words), (sources.WARM_UP,)
        )
    if min(shares) == 0 and max(shares) > 0:
        return Rating(
            "medium",
            say("{words}; without one a high rate is harder to bear in the first steps", words=words),
            (sources.WARM_UP,),
        )
    if max(shares) - min(shares) < 0.005:
        return Rating("none", say("{words}, which is the same", words=words))
    return Rating(
        "low", say("{words}; once there is one, its length matters little", words=words), (sources.WARM_UP, sources.GUIDE)
    )


RATERS: dict[str, Rater] = {
    "lr_scheduler_type": shape,
    "lr_scheduler_kwargs": shape,
    "scheduler_steps": shape,
    "learning-rate schedule": shape,
    "warmup_steps": warm_up,
    "warmup_ratio": warm_up,
    "warm-up": warm_up,
}
