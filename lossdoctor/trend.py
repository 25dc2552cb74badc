"""What a whole curve did: how far it fell, how surely, and what its last part does.

Plain Python on purpose: a log of 500 rows takes 3 ms here, and numpy takes 60 ms to load. It is loaded for the rare question
where a curve bends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import exp, inf, isfinite, log, nan, sqrt

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


@dataclass(frozen=True)
class Trend:
    """Changes are shares of the level at the start of what they cover; negative values are losses that fell.

    `drop` is the largest fall over the run that any descent fitted to it gives, `drop_most` the most it can be (95 %).
    `late_change` is the change over the last 40 % of the rows, between `late_low` and `late_high` (90 %).
    `second_half` is the share of the whole descent that came in the second half of the optimizer's way (the sum of its
    learning rates), `second_half_drop` the fall in it, `second_half_sure` how many standard errors that is.
    """

    rows: int
    start: float
    level: float
    noise: float
    drop: float
    drop_most: float
    late_change: float
    late_low: float
    late_high: float
    second_half: float
    second_half_drop: float
    second_half_sure: float
    rate_left: float


def trend_of(history: History) -> Trend | None:
    """The trend of a run, or None with fewer than ten rows."""
    columns = history.columns()
    loss = columns["loss"]
    n = len(loss)
    if n < 10:
        return None
    calm = winsorised(loss)
    x, y = _binned([place / (n - 1) for place in range(n)]), _binned(calm)
    falls = [_fall(y, [exp(-v / c) if c < 4 else 1 - v for v in x]) for c in TIME_CONSTANTS]
    late_x, late_y = zip(*[(a, b) for a, b in zip(x, y, strict=True) if a >= 1 - LATE], strict=True)
    slope, error = _line(late_x, late_y)
    tail = median(loss[-max(3, n // 5) :])
    start = median(calm[: max(3, n // 20)])
    scale = max(abs(start), abs(tail), 1e-12)
    late_scale = max(abs(median(late_y)), 0.02 * scale)
    half, half_drop, half_sure = _second_half(columns["step"], columns["rate"], calm)
    rates = [rate for rate in columns["rate"] if isfinite(rate)]
    return Trend(
        rows=n * history.every,
        start=start,
        level=tail,
        noise=_noise(loss) / scale,
        drop=max(fall for fall, _ in falls) / scale,
        drop_most=max(fall + SURE * error for fall, error in falls) / scale,
        late_change=slope * LATE / late_scale,
        late_low=(slope - SURE * error) * LATE / late_scale,
        late_high=(slope + SURE * error) * LATE / late_scale,
        second_half=half,
        second_half_drop=half_drop,
        second_half_sure=half_sure,
        rate_left=rates[-1] / max(rates) if rates and max(rates) > 0 else 1.0,
    )


def winsorised(loss: Sequence[float]) -> list[float]:
    """The curve with single rows pulled back to four standard deviations around the median of their neighbours."""
    width = 4 * max(_noise(loss), 1e-12)
    calm = [min(max(value, level - width), level + width) for value, level in zip(loss, smooth(loss, 9), strict=True)]
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


def smooth(loss: Sequence[float], window: int) -> list[float]:
    """Centred running median of `window` rows (odd); the ends are mirrored."""
    loss = list(loss)
    half = min(window, len(loss)) // 2
    padded = loss[half:0:-1] + loss + loss[-2 : -half - 2 : -1]
    width = 2 * half + 1
    return [sorted(padded[place : place + width])[half] for place in range(len(loss))]


def _noise(loss: Sequence[float]) -> float:
    return MAD_TO_SD * median([abs(b - a) for a, b in pairwise(loss)]) / sqrt(2)


def _binned(values: list[float]) -> list[float]:
    """Means of neighbours, so that at most `BINS` values are left."""
    n = len(values)
    if n <= BINS:
        return values
    edges = [n * place // BINS for place in range(BINS + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]


def _fall(y: Sequence[float], shape: Sequence[float]) -> tuple[float, float]:
    """How far a descent of this shape fell from first to last row, and its standard error."""
    slope, error = _line(shape, y)
    span = shape[0] - shape[-1]
    return slope * span, error * span


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope of the straight line and its standard error, widened for the correlation between neighbours."""
    n = len(x)
    if n < 4:
        return 0.0, inf
    mean_x, mean_y = sum(x) / n, sum(y) / n
    centred = [v - mean_x for v in x]
    spread = sum([v * v for v in centred])
    if spread <= 0:
        return 0.0, inf
    slope = sum([c * v for c, v in zip(centred, y, strict=True)]) / spread
    rest = [v - mean_y - slope * c for c, v in zip(centred, y, strict=True)]
    squares = sum([v * v for v in rest])
    correlation = sum([a * b for a, b in pairwise(rest)]) / max(squares, 1e-300)
    correlation = min(0.9, max(0.0, correlation))
    return slope, sqrt(squares / (n - 2) / spread * (1 + correlation) / (1 - correlation))


def _second_half(steps: Sequence[float], rates: Sequence[float], loss: Sequence[float]) -> tuple[float, float, float]:
    """How much of the descent lies in the second half of the optimizer's way, and how surely."""
    known = all(isfinite(rate) for rate in rates) and max(rates) > 0
    taken = [steps[1] - steps[0], *(b - a for a, b in pairwise(steps))]
    way = list(accumulate(rate * step for rate, step in zip(rates, taken, strict=True))) if known else list(steps)
    width = max(2, len(loss) // 10)
    middle = bisect_left(way, (way[-1] if known else way[0] + way[-1]) / 2)
    around = loss[max(0, middle - width // 2) : middle + width // 2 + 1]
    a, b, c = median(loss[: max(3, width // 2)]), median(around), median(loss[-width:])
    error = 1.25 * _noise(loss) * sqrt(1 / len(around) + 1 / width)
    share = (b - c) / (a - c) if a > c else 0.0
    return share, (b - c) / max(abs(b), 1e-12), (b - c) / max(error, 1e-12)
