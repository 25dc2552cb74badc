"""What a whole curve did: how far it fell, how surely, and what its last part does.

Plain Python on purpose: a log of 500 rows takes 3 ms here, and numpy takes 60 ms to load. It is loaded for the rare question
where a curve bends.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from math import exp, inf, isfinite, log, nan, sqrt
from operator import mul, sub
from typing import NamedTuple

from lossdoctor.history import History
from lossdoctor.stats import MAD_TO_SD, median

#: Bins that a long curve is reduced to before it is fitted: beyond it the answers no longer change.
BINS = 200
#: Time constants of the descents that are tried, as shares of the run; 4 is nearly a straight line.
TIME_CONSTANTS = (0.03, 0.1, 0.3, 1.0, 4.0)
#: The last part of the run, whose slope tells whether it still falls.
LATE = 0.4
#: One-sided 95 % of the normal distribution.
SURE = 1.645


class Trend:
    """Changes are shares of the level at the start of what they cover; negative values are losses that fell.

    `drop` is the largest fall over the run that any descent fitted to it gives, `drop_most` the most it can be (95 %).
    `late_change` is the change over the last 40 % of the rows, between `late_low` and `late_high` (90 %).
    `second_half` is the share of the whole descent that came in the second half of the optimizer's way (the sum of its
    learning rates), `second_half_drop` the fall in it, `second_half_sure` how many standard errors that is.

    Each part is worked out when it is asked for: most questions need one of them.
    """

    def __init__(self, history: History) -> None:
        self._columns = history.columns()
        self._loss = loss = self._columns["loss"]
        self._scatter = _noise(loss)
        self._calm = calm = winsorised(loss, self._scatter)
        self._binned = _binned(calm)
        n = len(loss)
        self.rows = n * history.every
        self.start = median(calm[: max(3, n // 20)])
        self.level = median(loss[-max(3, n // 5) :])
        self._scale = max(abs(self.start), abs(self.level), 1e-12)

    @property
    def noise(self) -> float:
        return self._scatter / self._scale

    @cached_property
    def _falls(self) -> list[tuple[float, float]]:
        return [_fall(self._binned, shape) for shape in _shapes(len(self._loss))]

    @property
    def drop(self) -> float:
        return max(fall for fall, _ in self._falls) / self._scale

    @property
    def drop_most(self) -> float:
        return max(fall + SURE * error for fall, error in self._falls) / self._scale

    @cached_property
    def _late(self) -> tuple[float, float, float]:
        places = _places(len(self._loss))
        first = bisect_left(places, 1 - LATE)
        x, y = places[first:], self._binned[first:]
        slope, error = _slope(_Shape.of(x), y)
        scale = max(abs(median(y)), 0.02 * self._scale)
        return slope * LATE / scale, (slope - SURE * error) * LATE / scale, (slope + SURE * error) * LATE / scale

    @property
    def late_change(self) -> float:
        return self._late[0]

    @property
    def late_low(self) -> float:
        return self._late[1]

    @property
    def late_high(self) -> float:
        return self._late[2]

    @cached_property
    def _half(self) -> tuple[float, float, float]:
        return _second_half(self._columns["step"], self._columns["rate"], self._calm)

    @property
    def second_half(self) -> float:
        return self._half[0]

    @property
    def second_half_drop(self) -> float:
        return self._half[1]

    @property
    def second_half_sure(self) -> float:
        return self._half[2]

    @cached_property
    def rate_left(self) -> float:
        rates = [rate for rate in self._columns["rate"] if isfinite(rate)]
        return rates[-1] / max(rates) if rates and max(rates) > 0 else 1.0


def trend_of(history: History) -> Trend | None:
    """The trend of a run, or None with fewer than ten rows."""
    return Trend(history) if len(history.columns()["loss"]) >= 10 else None


class _Shape(NamedTuple):
    """A descent that is fitted to a curve: its values around their mean, the sum of their squares, first minus last value."""

    centred: list[float]
    spread: float
    span: float

    @classmethod
    def of(cls, x: Sequence[float]) -> _Shape:
        mean = sum(x) / len(x)
        centred = [v - mean for v in x]
        return cls(centred, sum([v * v for v in centred]), x[0] - x[-1])


@lru_cache(maxsize=64)
def _places(n: int) -> list[float]:
    """Where each bin of a curve of `n` rows lies between its first row, 0, and its last, 1."""
    return _binned([place / (n - 1) for place in range(n)])


@lru_cache(maxsize=64)
def _shapes(n: int) -> list[_Shape]:
    """The descents that are tried on a curve of `n` rows; many runs of one length share them."""
    return [_Shape.of([exp(-v / c) if c < 4 else 1 - v for v in _places(n)]) for c in TIME_CONSTANTS]


def winsorised(loss: Sequence[float], noise: float | None = None) -> list[float]:
    """The curve with single rows pulled back to four standard deviations around the median of their neighbours."""
    width = 4 * max(_noise(loss) if noise is None else noise, 1e-12)
    calm = [
        value if -width <= value - level <= width else level + width if value > level else level - width
        for value, level in zip(loss, smooth(loss, 9), strict=True)
    ]
    return [*loss[:2], *calm[2:]]


def bend_step(history: History, column: str = "loss", *, up: bool = True, after: int = 0) -> int:
    """The step of the row where a column (gradient norms in logarithms) starts to climb, or to fall, in the last 512 rows."""
    columns = history.columns()
    values = columns[column]
    if column == "norm":
        values = [log(value) if value > 0 else nan for value in values]
    there = [(value if up else -value, step) for value, step in zip(values, columns["step"], strict=True) if isfinite(value)]
    there = [row for row in there if row[1] > after]
    there = there[-512:]
    place = bend([value for value, _ in there]) if len(there) >= 5 else len(there) - 1
    return int(there[place][1]) if there else 0


def bend(loss: Sequence[float]) -> int:
    """The place where a curve starts to climb: level and then a straight line up, or a descent and then such a line."""
    import numpy as np

    calm = np.array(winsorised(loss))
    lowest = int(np.argmin(smooth(loss, max(5, len(loss) // 15 | 1))))
    skipped = max(0, lowest - max(10, len(calm) - lowest))  # as many rows before the turn as after it
    calm = calm[skipped:]
    n = len(calm)
    t = np.arange(n, dtype=float)
    best, place = float("inf"), n - 1
    for k in range(max(1, n // 20), n - 2, max(1, n // 200)):
        design = np.stack([np.ones(n), np.minimum(t - k, 0.0), np.maximum(t - k, 0.0)], axis=1)
        slopes, *_ = np.linalg.lstsq(design, calm, rcond=None)
        error = float(((calm - design @ slopes) ** 2).sum())
        if error < best and slopes[2] > max(0.0, slopes[1]):
            best, place = error, k
        design[:, 2] = t >= k  # or a jump in one row
        jump, *_ = np.linalg.lstsq(design, calm, rcond=None)
        error = float(((calm - design @ jump) ** 2).sum())
        if error < best and jump[2] > 0:
            best, place = error, k
    return skipped + place


class Detour(NamedTuple):
    """A climb from an early low level: the first step of it, the step of the first row back (0 where none is), levels by name."""

    onset: int
    back: int
    evidence: dict[str, float]


def detour(history: History, share: float, deviations: float) -> Detour | None:
    """The climb from which a curve was not back for more than half of its rows, and which began in the first quarter.

    It is `share` of the low level at least (or of a fifth of the descent to it), and so many standard deviations of a median of
    five. None where there is none, and with fewer than 24 rows.
    """
    columns = history.columns()
    loss, steps = columns["loss"], columns["step"]
    n = len(loss)
    if n < 24:
        return None
    level, noise = smooth(loss, 5), _noise(loss)
    lowest = list(accumulate(level, min))
    peak = max(range(n), key=lambda place: level[place] - lowest[place])
    low = level.index(lowest[peak])
    risen, scale = level[peak] - level[low], max(abs(level[low]), 0.2 * (median(loss[:3]) - level[low]))
    if risen <= max(share * scale, deviations * 0.56 * noise):
        return None
    bar = level[low] + max(noise, 0.25 * risen)
    left = next((place for place in range(peak, low, -1) if level[place] <= bar), low)
    back = next((place for place in range(peak, n) if level[place] <= bar), n)
    if left >= n / 4 or back - left <= n / 2:
        return None
    evidence = {"best": level[low], "best_step": steps[low], "start": level[low], "peak": level[peak], "now": level[-1]}
    return Detour(int(steps[left]) + 1, int(steps[back]) if back < n else 0, evidence)


def smooth(loss: Sequence[float], window: int) -> list[float]:
    """Centred running median of `window` rows (odd); the ends are mirrored."""
    loss = list(loss)
    half = min(window, len(loss)) // 2
    padded = loss[half:0:-1] + loss + loss[-2 : -half - 2 : -1]
    width = 2 * half + 1
    ordered = sorted(padded[:width])
    level = [ordered[half]]
    for gone, come in zip(padded, padded[width:], strict=False):
        del ordered[bisect_left(ordered, gone)]
        insort(ordered, come)
        level.append(ordered[half])
    return level


def _noise(loss: Sequence[float]) -> float:
    return MAD_TO_SD * median(map(abs, map(sub, loss[1:], loss))) / sqrt(2)


def _binned(values: list[float]) -> list[float]:
    """Means of neighbours, so that at most `BINS` values are left."""
    n = len(values)
    if n <= BINS:
        return values
    edges = [n * place // BINS for place in range(BINS + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]


def _fall(y: Sequence[float], shape: _Shape) -> tuple[float, float]:
    """How far a descent of this shape fell from first to last row, and its standard error."""
    slope, error = _slope(shape, y)
    return slope * shape.span, error * shape.span


def _slope(shape: _Shape, y: Sequence[float]) -> tuple[float, float]:
    """Slope along a shape and its standard error, widened for the correlation between neighbours."""
    n = len(y)
    if n < 4:
        return 0.0, inf
    centred, spread, _ = shape
    if spread <= 0:
        return 0.0, inf
    mean = sum(y) / n
    slope = sum(map(mul, centred, y)) / spread
    rest = [v - mean - slope * c for c, v in zip(centred, y, strict=True)]
    squares = sum(map(mul, rest, rest))
    correlation = sum(map(mul, rest, rest[1:])) / max(squares, 1e-300)
    correlation = min(0.9, max(0.0, correlation))
    return slope, sqrt(squares / (n - 2) / spread * (1 + correlation) / (1 - correlation))


def _second_half(steps: Sequence[float], rates: Sequence[float], loss: Sequence[float]) -> tuple[float, float, float]:
    """How much of the descent lies in the second half of the optimizer's way, and how surely."""
    known = all(map(isfinite, rates)) and max(rates) > 0
    taken = [steps[1] - steps[0], *map(sub, steps[1:], steps)]
    way = list(accumulate(map(mul, rates, taken))) if known else list(steps)
    width = max(2, len(loss) // 10)
    middle = bisect_left(way, (way[-1] if known else way[0] + way[-1]) / 2)
    around = loss[max(0, middle - width // 2) : middle + width // 2 + 1]
    a, b, c = median(loss[: max(3, width // 2)]), median(around), median(loss[-width:])
    error = 1.25 * _noise(loss) * sqrt(1 / len(around) + 1 / width)
    share = (b - c) / (a - c) if a > c else 0.0
    return share, (b - c) / max(abs(b), 1e-12), (b - c) / max(error, 1e-12)
