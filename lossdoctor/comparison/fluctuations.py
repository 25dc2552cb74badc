"""Whether two losses go up and down together from row to row: then the same examples came in the same order."""

from __future__ import annotations

from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np
from numpy.typing import NDArray

from lossdoctor.comparison.series import Array

#: Rows that a parabola is laid through to take the trend away, fewer rows than which tell nothing, and rows looked at.
WINDOW, LEAST, MOST = 9, 24, 20_000
#: Standard errors (99.9 %) by which the correlation has to exceed what unrelated runs have in common, and that.
SURE, UNRELATED = 3.3, 0.25
#: Lags up to which rows may be like each other.
LAGS = 8


@dataclass(frozen=True)
class Together:
    """The rank correlation of the fluctuations of `rows` rows, between `low` and `high` (95 %); `shared` if surely the same."""

    correlation: float
    low: float
    high: float
    rows: int
    shared: bool


def together(one: Array, other: Array) -> Together | None:
    """How the fluctuations of two losses go together; None where there are too few rows, or nothing fluctuates."""
    if not len(one):
        return None
    fresh = np.append(True, (np.diff(one) != 0) & (np.diff(other) != 0))  # a table repeats a loss until it is logged again
    one, other = one[fresh][-MOST:], other[fresh][-MOST:]
    if len(one) < LEAST:
        return None
    rests = [_fluctuation(values) for values in (one, other)]
    if any(np.ptp(rest) <= 1e-12 * max(1.0, float(np.abs(rest).max())) or (rest == 0).mean() > 0.5 for rest in rests):
        return None
    ranks = [_ranks(rest) for rest in rests]
    r = float(ranks[0] @ ranks[1] / sqrt(float(ranks[0] @ ranks[0]) * float(ranks[1] @ ranks[1])))
    error = 1 / sqrt(max(2.0, _effective(*ranks) - 3))
    z = atanh(min(0.999999, max(-0.999999, r)))
    return Together(r, tanh(z - 1.96 * error), tanh(z + 1.96 * error), len(rests[0]), tanh(z - SURE * error) > UNRELATED)


def _fluctuation(values: Array) -> Array:
    """What is left of each row beside a parabola through its neighbours."""
    values = np.log(values) if (values > 0).all() else values
    half = WINDOW // 2
    place = np.arange(-half, half + 1.0)
    basis = np.vander(place, 3)
    weights = np.linalg.pinv(basis)[2]  # what the parabola says at the middle
    return np.asarray(values[half:-half] - np.convolve(values, weights[::-1], mode="valid"))


def _ranks(values: Array) -> Array:
    """Ranks around 0; equal values share theirs."""
    from scipy.stats import rankdata

    ranks: NDArray[np.float64] = rankdata(values)
    return np.asarray(ranks - ranks.mean())


def _effective(one: Array, other: Array) -> float:
    """As many independent rows (Bartlett), since neighbours are alike in both."""
    total = 1.0
    for lag in range(1, LAGS + 1):
        both = [float(r[lag:] @ r[:-lag]) / float(r @ r) for r in (one, other)]
        total += 2 * both[0] * both[1]
    return len(one) / max(1.0, total)
