"""Two curves laid beside each other: the rows of the finer one are averaged over each row of the coarser one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.comparison.axes import Axis
from lossdoctor.comparison.series import Array, Series

#: A row is compared where the rows of the other side cover at least this share of it.
COVERED = 0.5


@dataclass(frozen=True)
class Beside:
    """What both curves say of the same stretches: `steps` are those of the first side where each ends, `there` of the second.

    `whole` is True where each stretch is one row of both.
    """

    steps: Array
    there: Array
    one: Array
    other: Array
    epochs: Array
    whole: bool
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]]

    @property
    def rows(self) -> int:
        return len(self.steps)


def beside(first: Series, second: Series, axis: Axis) -> Beside:
    """Both over their common part; empty where they have none."""
    ends = [axis.places(rows, side) for side, rows in enumerate((first, second))]
    low = max(begins[0] for begins, _ in ends)
    high = min(stops[-1] for _, stops in ends)
    inside = [int(((stops > low) & (stops <= high * (1 + 1e-9))).sum()) for _, stops in ends]
    coarse = 0 if inside[0] <= inside[1] else 1
    rows = (first, second)
    begins, stops = ends[coarse]
    chosen = (begins >= low - 0.5 * (stops - begins)) & (stops <= high * (1 + 1e-9))
    begins, stops = begins[chosen], stops[chosen]
    fine, covered, place = _averaged(rows[1 - coarse].values, ends[1 - coarse], (begins, stops))
    kept = covered >= COVERED
    at = np.flatnonzero(chosen)[kept]
    values = [rows[coarse].values[at], fine[kept]]
    steps = [rows[coarse].steps[at], rows[1 - coarse].steps[place[kept]]]
    pairs = [at, place[kept]]
    ends_match = np.allclose(ends[1 - coarse][1][place[kept]], stops[kept], rtol=1e-9)
    if coarse:
        values, steps, pairs = values[::-1], steps[::-1], pairs[::-1]
    whole = bool(ends_match and len(np.unique(place[kept])) == len(place[kept]) and inside[0] == inside[1])
    return Beside(steps[0], steps[1], values[0], values[1], first.epochs[pairs[0]], whole, (pairs[0], pairs[1]))


def _averaged(values: Array, ends: tuple[Array, Array], bins: tuple[Array, Array]) -> tuple[Array, Array, NDArray[np.intp]]:
    """The mean of the rows that end in each bin, weighted by what they cover; the share covered; the last of those rows."""
    begins, stops = ends
    size = len(bins[1])
    if not size:
        return np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.intp)
    tolerance = 1e-9 * abs(bins[1][-1])
    which = np.searchsorted(bins[1], stops - tolerance, side="left")
    weights = np.minimum(stops - begins, np.median(stops - begins) * 50)
    there = which < size
    there[there] &= stops[there] > bins[0][which[there]] + tolerance
    which, values, weights = which[there], values[there], weights[there]
    total = np.bincount(which, weights, size)
    mean = np.bincount(which, weights * values, size) / np.where(total > 0, total, 1)
    last = np.zeros(size, dtype=np.intp)
    last[which] = np.flatnonzero(there)
    return mean, total / (bins[1] - bins[0]), last
