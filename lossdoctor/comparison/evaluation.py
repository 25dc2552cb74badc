"""How two evaluation losses differ: few numbers of one set of examples, without noise of rows, of which seeds are unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from lossdoctor.comparison.axes import Axis
from lossdoctor.comparison.beginning import IN_32_BITS
from lossdoctor.comparison.ends import SEED_SPREAD, judged, scale_of
from lossdoctor.comparison.nouns import EndDifference, Side
from lossdoctor.comparison.series import Array, Series
from lossdoctor.stats import MAD_TO_SD

#: The least difference that is called one.
WORTH = 0.02
#: Evaluations lie at the same place where they are so near, as a share of the gap between two.
NEAR = 0.02


@dataclass(frozen=True)
class Evaluations:
    """What both say of the same places: `steps` of the first side, the values of each, and whether they were both evaluated
    there (or one of them was interpolated)."""

    steps: Array
    one: Array
    other: Array
    met: bool


def meeting(first: Series, second: Series, axis: Axis) -> Evaluations:
    """Both where both were evaluated; where they never were at the same place, at the places of the one with fewer."""
    places = [axis.places(rows, side)[1] for side, rows in enumerate((first, second))]
    gap = max(float(np.median(np.diff(place))) if len(place) > 1 else place[0] for place in places) or 1.0
    nearest = np.abs(places[0][:, None] - places[1][None, :]) if len(places[0]) * len(places[1]) < 10**6 else None
    if nearest is not None:
        match = nearest.argmin(axis=1)
        met = nearest[np.arange(len(match)), match] <= NEAR * gap
        if met.any():
            return Evaluations(first.steps[met], first.values[met], second.values[match[met]], True)
    low, high = max(p[0] for p in places), min(p[-1] for p in places)
    few = 0 if len(places[0]) <= len(places[1]) else 1
    chosen = (places[few] >= low) & (places[few] <= high)
    values = [np.interp(places[few][chosen], places[side], rows.values) for side, rows in enumerate((first, second))]
    steps = np.interp(places[few][chosen], places[0], first.steps)
    return Evaluations(steps, values[0], values[1], False)


def last_of(both: Evaluations, starts: tuple[float, float]) -> EndDifference | None:
    """The last evaluation that both have."""
    if not len(both.steps) or not both.one[-1]:
        return None
    return _between(float(both.one[-1]), float(both.other[-1]), both, starts, int(both.steps[-1]))


def best_of(first: Series, second: Series, both: Evaluations, starts: tuple[float, float]) -> EndDifference | None:
    """The lowest evaluation of each, wherever it was."""
    best = int(first.values.argmin())
    if not first.values[best]:
        return None
    return _between(float(first.values[best]), float(second.values.min()), both, starts, int(first.steps[best]))


def own_last(first: Series, second: Series, both: Evaluations, starts: tuple[float, float]) -> EndDifference | None:
    """The last evaluation of each, wherever it was."""
    if not first.values[-1]:
        return None
    return _between(float(first.values[-1]), float(second.values[-1]), both, starts, int(first.steps[-1]))


def _between(one: float, other: float, both: Evaluations, starts: tuple[float, float], since: int) -> EndDifference:
    share = (other - one) / abs(one)
    gaps = (both.other - both.one) / np.abs(both.one)
    late = np.diff(gaps[len(gaps) // 2 :])
    wobble = MAD_TO_SD * float(np.median(np.abs(late))) / 2**0.5 if len(late) > 1 else 0.0
    start = float(np.median(starts))
    low, high, ending = judged(share, wobble, max(2.0, len(late)), scale_of(start, one, other), SEED_SPREAD, WORTH)
    effect = share / wobble if wobble else 0.0
    return EndDifference(one, other, share, low, high, effect, len(both.steps), 1, ending, since)


def same_values(both: Evaluations, first: Series, second: Series) -> bool:
    """Whether all that both have are the same numbers, as far as both were printed."""
    digits = min(first.digits, second.digits)
    size = np.maximum(np.abs(both.one), np.abs(both.other))
    unit = np.maximum(
        10.0 ** (np.floor(np.log10(np.maximum(size, 1e-12))) + 1 - digits), 10.0 ** -min(first.decimals, second.decimals)
    )
    return bool((np.abs(both.one - both.other) <= 0.525 * unit + IN_32_BITS * size).all())


def parted(both: Evaluations, end: EndDifference | None) -> int | None:
    """The first evaluation from which on both differ as they do at the end."""
    if end is None or end.ending not in ("better", "worse"):
        return None
    reach = (end.high - end.low) / 2
    inside = np.flatnonzero((both.other - both.one) / np.abs(both.one) * np.sign(end.share) <= reach)
    return int(both.steps[int(inside[-1]) + 1 if len(inside) else 0])


def lost(side: Side, name: str) -> int | None:
    """The step of the last evaluation, where that was no number."""
    rows = [r for r in side.log.records if r.kind == "eval" and name in r.values] if side.log else []
    return rows[-1].step if rows and not isfinite(rows[-1].values[name]) else None


def unjudged(end: EndDifference | None) -> EndDifference | None:
    """The same numbers without a judgement: one of the runs broke, and how it would have ended nobody knows."""
    return None if end is None else replace(end, ending="unknown")
