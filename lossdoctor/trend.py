"""What a whole curve did: how far it fell, how surely, and what its last part does. Works on arrays, once per report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossdoctor.history import History

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    import numpy as np

    columns = history.arrays()
    loss = columns["loss"]
    if len(loss) < 10:
        return None
    calm = winsorised(loss)
    x, y = _binned(np.arange(len(calm), dtype=float) / (len(calm) - 1), calm)
    falls = [_fall(y, np.exp(-x / constant) if constant < 4 else 1 - x) for constant in TIME_CONSTANTS]
    late = x >= 1 - LATE
    slope, error = _line(x[late], y[late]) if late.sum() >= 4 else (0.0, float("inf"))
    tail = float(np.median(loss[-max(3, len(loss) // 5) :]))
    start = float(np.median(calm[: max(3, len(calm) // 20)]))
    scale = max(abs(start), abs(tail), 1e-12)
    late_scale = max(abs(float(np.median(y[late]))) if late.any() else scale, 0.02 * scale)
    half, half_drop, half_sure = _second_half(columns, calm)
    rates = columns["rate"][np.isfinite(columns["rate"])]
    return Trend(
        rows=len(loss) * history.every,
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
        rate_left=float(rates[-1] / rates.max()) if len(rates) and rates.max() > 0 else 1.0,
    )


def winsorised(loss: NDArray[Any]) -> NDArray[Any]:
    """The curve with single rows pulled back to four standard deviations around the median of their neighbours."""
    import numpy as np

    level, width = smooth(loss, 9), 4 * max(_noise(loss), 1e-12)
    calm: NDArray[Any] = np.clip(loss, level - width, level + width)
    calm[:2] = loss[:2]
    return calm


def bend_step(history: History, column: str = "loss", *, up: bool = True) -> int:
    """The step of the row where a column (gradient norms in logarithms) starts to climb, or to fall, in the last 512 rows."""
    import numpy as np

    columns = history.arrays()
    values = columns[column]
    if column == "norm":
        values = np.log(np.where(values > 0, values, np.nan))
    there = np.isfinite(values)
    values, steps = values[there][-512:], columns["step"][there][-512:]
    if len(values) < 5:
        return int(steps[-1]) if len(steps) else 0
    return int(steps[bend(values if up else -values)])


def bend(loss: NDArray[Any]) -> int:
    """The place where a curve starts to climb: level and then a straight line up, or a descent and then such a line."""
    import numpy as np

    calm = winsorised(loss)
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
    return skipped + place


def smooth(loss: NDArray[Any], window: int) -> NDArray[Any]:
    """Centred running median of `window` rows (odd); the ends are mirrored."""
    import numpy as np

    half = min(window, len(loss)) // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(loss, half, mode="reflect"), 2 * half + 1)
    medians: NDArray[Any] = np.median(windows, axis=1)
    return medians


def _noise(loss: NDArray[Any]) -> float:
    import numpy as np

    return float(1.4826 * np.median(np.abs(np.diff(loss))) / 2**0.5)


def _binned(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    import numpy as np

    if len(y) <= BINS:
        return x, y
    edges = np.linspace(0, len(y), BINS + 1).astype(int)[:-1]
    counts = np.diff(np.append(edges, len(y)))
    return np.add.reduceat(x, edges) / counts, np.add.reduceat(y, edges) / counts


def _fall(y: NDArray[Any], shape: NDArray[Any]) -> tuple[float, float]:
    """How far a descent of this shape fell from first to last row, and its standard error."""
    slope, error = _line(shape, y)
    span = float(shape[0] - shape[-1])
    return slope * span, error * span


def _line(x: NDArray[Any], y: NDArray[Any]) -> tuple[float, float]:
    """Slope of the straight line and its standard error, widened for the correlation between neighbours."""
    import numpy as np

    centred = x - x.mean()
    spread = float((centred**2).sum())
    if spread <= 0 or len(x) < 4:
        return 0.0, float("inf")
    slope = float((centred * y).sum()) / spread
    rest = y - y.mean() - slope * centred
    variance = float((rest**2).sum()) / (len(x) - 2)
    correlation = float((rest[1:] * rest[:-1]).sum() / max((rest**2).sum(), 1e-300))
    correlation = min(0.9, max(0.0, correlation))
    return slope, float(np.sqrt(variance / spread * (1 + correlation) / (1 - correlation)))


def _second_half(columns: dict[str, NDArray[Any]], loss: NDArray[Any]) -> tuple[float, float, float]:
    """How much of the descent lies in the second half of the optimizer's way, and how surely."""
    import numpy as np

    steps, rates = columns["step"], columns["rate"]
    taken = np.diff(steps, prepend=2 * steps[0] - steps[1] if len(steps) > 1 else 0)
    way = np.cumsum(np.where(np.isfinite(rates), rates, 0.0) * taken) if np.isfinite(rates).all() else steps - steps[0]
    if way[-1] <= 0:
        way = steps - steps[0]
    width = max(2, len(loss) // 10)
    middle = int(np.searchsorted(way, way[-1] / 2))
    first, last = loss[: max(3, width // 2)], loss[-width:]
    around = loss[max(0, middle - width // 2) : middle + width // 2 + 1]
    a, b, c = float(np.median(first)), float(np.median(around)), float(np.median(last))
    error = 1.25 * _noise(loss) * (1 / len(around) + 1 / len(last)) ** 0.5
    share = (b - c) / (a - c) if a > c else 0.0
    return share, (b - c) / max(abs(b), 1e-12), (b - c) / max(error, 1e-12)
