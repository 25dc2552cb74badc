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
    figures = [f"rank correlation of their ups and downs {_span(known)}"] if known else []
    same = [tie.same_until for tie in ties if tie.same_until is not None]
    if len(same) == len(ties):
        figures.append(f"the same to {min(tie.digits for tie in ties)} digits up to step {min(same):,}")
    figures.append(f"{percent(max(tie.apart for tie in ties))} apart at the median")
    last = min(tie.last for tie in ties)
    names = listed([side.name for side in tries])
    together = "coincide" if max(tie.apart for tie in ties) <= CLOSE else "coincide in their ups and downs, row for row,"
    words = f"The curves of {names} {together} up to step {last:,} ({'; '.join(figures)})"
    return [f"{words}: the same examples came in the same order. {_seeds(tries)}"]


def _seeds(tries: Sequence[Side]) -> str:
    seeds = {side.plan.get("seed") for side in tries}
    if seeds == {None}:
        return "No seed is stated; the rows show that it is the same, or that the data are not shuffled."
    if None in seeds:
        return "Not all state their seed; the rows show that it is the same, or that the data are not shuffled."
    if len(seeds) == 1:
        return f"All state seed {seeds.pop()}."
    return f"They state different seeds ({listed(sorted(map(str, seeds)))}), so that the order does not come from the seed."


def _rates(tries: Sequence[Side]) -> list[str]:
    """How the rates differ at one step, and what stretches them."""
    found = [(side, rates) for side in tries if (rates := rates_of(side))]
    if len(found) < 2:
        return ["The learning rates of fewer than two of them are known."]
    step = max(1, round(LATE * min(last_step(side) for side, _ in found)))
    at = [(rates.at(step), side) for side, rates in found]
    high, low = max(rate for rate, _ in at), min(rate for rate, _ in at)
    where = f"at step {step:,}"
    if high - low <= ALIKE * high:
        return [f"The learning rates are the same {where}, {short(high) if high else '0'} in all of them."]
    told = listed([f"{short(rate) if rate else '0'} in {side.name}{_steps(side)}" for rate, side in at])
    planned = "" if all(rates.logged for _, rates in found) else ", as far as planned"
    return [f"The learning rates differ: {where} {told}{planned}{_stretched(found, step)}."]


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
    decay = f"the {names.pop()} decay" if len(names) == 1 and names != {""} else "the decay"
    return f"; the peak is the same, and {decay} is stretched over max_steps, so that a longer try has the higher rate"


def _steps(side: Side) -> str:
    total = side.plan.total_steps
    return f" ({total.whole:,} steps)" if total else ""


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"
