"""What shows only in several tries of one run together: one order of the data, rates that differ, and which of them broke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossdoctor.comparison.alignment import beside
from lossdoctor.comparison.axes import Axis
from lossdoctor.comparison.beginning import agreeing_digits, same_rows
from lossdoctor.comparison.fluctuations import together
from lossdoctor.comparison.nouns import Side
from lossdoctor.comparison.outcomes import outcomes
from lossdoctor.comparison.rates import Rates, rates_of
from lossdoctor.comparison.series import series
from lossdoctor.comparison.telling import last_step, listed, percent
from lossdoctor.language import later, say
from lossdoctor.learning_rates import short

#: Rates are told at this share of what all have in common.
LATE = 0.8
#: Curves further apart than this at the median do not lie on each other, however they go up and down together.
CLOSE = 0.05
#: Rates that differ less are one rate.
ALIKE = 0.05


@dataclass(frozen=True)
class Tie:
    """How one try goes with the longest: the last step in common, their correlation, the same beginning, how far apart."""

    side: Side
    last: int
    correlation: float | None
    same_until: int | None
    digits: int
    apart: float
    whole: bool


def tell(sides: Sequence[Side]) -> tuple[str, ...]:
    """What tries of one run say together, in sentences; nothing where no two of the sides are tries of one run."""
    runs = [side for side in sides if side.log is not None and not side.log.run.numbered and series(side, "loss")]
    if len(runs) < 2:
        return ()
    longest = max(runs, key=last_step)
    ties = [tie for side in runs if side is not longest and (tie := _tie(longest, side))]
    if not ties:
        return ()
    if len(runs) == 2 and all(tie.whole and last_step(tie.side) == last_step(longest) for tie in ties):
        return ()  # one run twice, which is said of the two
    tied = [longest, *(tie.side for tie in ties)]
    tries = [side for side in runs if any(side is one for one in tied)]
    return (*_coincidence(tries, ties), *_rates(tries), *outcomes(tries))


def _tie(longest: Side, side: Side) -> Tie | None:
    """How a side goes with the longest; None where it did not see the same examples in the same order."""
    first, second = series(longest, "loss"), series(side, "loss")
    assert first is not None and second is not None
    laid = beside(first, second, Axis("step"))
    same, ups = same_rows(first, second, laid), together(laid.one, laid.other)
    if not same and not (ups and ups.shared):
        return None
    apart = float(np.median(np.abs(laid.other / laid.one - 1)))
    until = int(laid.steps[same - 1]) if same else None
    return Tie(
        side,
        int(laid.steps[-1]),
        ups.correlation if ups else None,
        until,
        agreeing_digits(first, second),
        apart,
        bool(same) and same == laid.rows,
    )


def _coincidence(tries: Sequence[Side], ties: Sequence[Tie]) -> list[str]:
    """That the curves coincide, by which figures, and why."""
    known = [tie.correlation for tie in ties if tie.correlation is not None]
    figures = [say("rank correlation of their ups and downs {known}", known=_span(known))] if known else []
    same = [tie.same_until for tie in ties if tie.same_until is not None]
    if len(same) == len(ties):
        figures.append(say("the same to {min} digits up to step {same:,}", min=min(tie.digits for tie in ties), same=min(same)))
    figures.append(say("{max} apart at the median", max=percent(max(tie.apart for tie in ties))))
    last = min(tie.last for tie in ties)
    names = listed([side.name for side in tries])
    close = later("The curves of {names} coincide up to step {last:,} ({figures})")
    words = say(
        close
        if max(tie.apart for tie in ties) <= CLOSE
        else later("The curves of {names} coincide in their ups and downs, row for row, up to step {last:,} ({figures})"),
        names=names,
        last=last,
        figures="; ".join(figures),
    )
    return [say("{words}: the same examples came in the same order. {tries}", words=words, tries=_seeds(tries))]


def _seeds(tries: Sequence[Side]) -> str:
    seeds = {side.plan.get("seed") for side in tries}
    if seeds == {None}:
        return say("No seed is stated; the rows show that it is the same, or that the data are not shuffled.")
    if None in seeds:
        return say("Not all state their seed; the rows show that it is the same, or that the data are not shuffled.")
    if len(seeds) == 1:
        return say("All state seed {pop}.", pop=seeds.pop())
    return say(
        "They state different seeds ({seeds}), so that the order does not come from the seed.",
        seeds=listed(sorted(map(str, seeds))),
    )


def _rates(tries: Sequence[Side]) -> list[str]:
    """How the rates differ at one step, and what stretches them."""
    found = [(side, rates) for side in tries if (rates := rates_of(side))]
    if len(found) < 2:
        return [say("The learning rates of fewer than two of them are known.")]
    step = max(1, round(LATE * min(last_step(side) for side, _ in found)))
    at = [(rates.at(step), side) for side, rates in found]
    high, low = max(rate for rate, _ in at), min(rate for rate, _ in at)
    where = say("at step {step:,}", step=step)
    if high - low <= ALIKE * high:
        return [
            say("The learning rates are the same {where}, {high} in all of them.", where=where, high=short(high) if high else "0")
        ]
    told = listed(
        [
            say("{rate} in {side}{steps}", rate=short(rate) if rate else "0", side=side.name, steps=_steps(side))
            for rate, side in at
        ]
    )
    planned = "" if all(rates.logged for _, rates in found) else say(", as far as planned")
    return [
        say(
            "The learning rates differ: {where} {told}{planned}{found}.",
            where=where,
            told=told,
            planned=planned,
            found=_stretched(found, step),
        )
    ]


def _stretched(found: Sequence[tuple[Side, Rates]], step: int) -> str:
    """That the decay is stretched over the steps, where the rates are higher the longer a try is and begin alike."""
    totals = [side.plan.total_steps for side, _ in found]
    if not all(totals) or len({total.whole for total in totals if total}) < 2:
        return ""
    ordered = sorted(
        zip((total.whole for total in totals if total), (rates for _, rates in found), strict=True), key=lambda p: p[0]
    )
    peaks = [float(rates.rates.max()) for _, rates in ordered]
    late = [rates.at(step) for _, rates in ordered]
    if max(peaks) - min(peaks) > ALIKE * max(peaks) or late != sorted(late):
        return ""
    names = {str(side.plan.get("lr_scheduler_type") or "") for side, _ in found}
    decay = say("the {pop} decay", pop=names.pop()) if len(names) == 1 and names != {""} else say("the decay")
    return say(
        "; the peak is the same, and {decay} is stretched over max_steps, so that a longer try has the higher rate", decay=decay
    )


def _steps(side: Side) -> str:
    total = side.plan.total_steps
    return say(" ({total_whole:,} steps)", total_whole=total.whole) if total else ""


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else say("{low} to {high}", low=low, high=high)
