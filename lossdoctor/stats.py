"""Small statistics over a running series: O(log window) per value, no array library, bounded memory."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Sequence

#: Makes the median absolute deviation of normal noise equal its standard deviation (1 / Φ⁻¹(¾)).
MAD_TO_SD = 1.4826


def median(values: Iterable[float]) -> float:
    """The middle value, or the mean of the two middle ones (the standard module takes 4 ms to load).

    Raises:
        IndexError: there is no value.
    """
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def usual_range(ordered: Sequence[float]) -> tuple[float, float]:
    """The 2nd and the 98th percentile of sorted values: what one outlier does not move.

    Raises:
        IndexError: there is no value.
    """
    last = len(ordered) - 1
    return ordered[int(0.02 * last)], ordered[math.ceil(0.98 * last)]


def noise_of_bends(bend: float) -> float:
    """Standard deviation of white noise, from the median of its second differences (a − 2b + c has six times its variance)."""
    return MAD_TO_SD * bend / 6**0.5


def rising(values: Sequence[float]) -> float:
    """How surely a sequence rises, in standard deviations of what chance does: the test of Mann and Kendall.

    It counts pairs of which the later is the higher; no scale, no straight line and no single value plays a part
    (https://doi.org/10.2307/1907187). 0.0 for fewer than four values.
    """
    n = len(values)
    if n < 4:
        return 0.0
    pairs = sum((b > a) - (b < a) for place, a in enumerate(values) for b in values[place + 1 :])
    return pairs / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)


class RunningMedian:
    """The median of the last `window` values pushed; NaN must not be pushed.

    The values are kept in order from one push to the next only while somebody asks for the median every time.
    """

    __slots__ = ("_asked", "_order", "_sorted", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self._order: deque[float] = deque(maxlen=window)
        self._sorted: list[float] | None = None
        self._asked = False

    def __len__(self) -> int:
        return len(self._order)

    def values(self) -> tuple[float, ...]:
        """The values that the median is of, in the order they came."""
        return tuple(self._order)

    def push(self, value: float) -> None:
        if self._asked:
            ordered = self._sorted
            if len(self._order) == self.window:
                del ordered[bisect_left(ordered, self._order[0])]  # type: ignore[arg-type, union-attr]
            insort(ordered, value)  # type: ignore[arg-type]
            self._asked = False
        else:
            self._sorted = None
        self._order.append(value)

    def extend(self, values: Iterable[float]) -> None:
        """Takes many values."""
        self._order.extend(values)
        self._sorted, self._asked = None, False

    @property
    def median(self) -> float:
        """The middle value, or the mean of the two middle ones; 0.0 while nothing was pushed."""
        self._asked = True
        if self._sorted is None:
            self._sorted = sorted(self._order)
        n = len(self._sorted)
        if not n:
            return 0.0
        half = n // 2
        return self._sorted[half] if n % 2 else (self._sorted[half - 1] + self._sorted[half]) / 2


def decimals(value: float) -> int:
    """How many digits follow the decimal point in the shortest text of `value` (scientific notation resolved)."""
    mantissa, _, exponent = repr(value).partition("e")
    digits = len(mantissa.partition(".")[2].rstrip("0"))
    return max(0, digits - int(exponent or 0))


def significant_digits(value: float) -> int:
    """How many significant decimal digits the shortest text of `value` has."""
    mantissa = repr(abs(value)).partition("e")[0].replace(".", "").strip("0")
    return max(1, len(mantissa))


def filtered_share(good: int, window: int, accumulation: int = 1) -> float:
    """What the Trainer logs for a window in which the loss turned NaN for ever, as a share of the level before.

    The filter (`logging_nan_inf_filter`) adds `sum / (1 + j)` for every NaN micro-batch, `j` being the steps of the window
    already finished. After `good` finite steps, `accumulation` micro-batches in each of the others multiply the sum by
    `((j + 2) / (j + 1)) ** accumulation`; the product telescopes. Without accumulation the row is depressed, with it the
    row is inflated, which looks like an explosion and is none.

    Source: the loop of `transformers.Trainer` (read and checked with 5.23), summed in closed form.
    """
    return math.exp(min(700.0, _log_share(good, window, accumulation)))


def _log_share(good: int, window: int, accumulation: int) -> float:
    return math.log(good / window) + accumulation * math.log((window + 1) / (good + 1))


def good_steps_before_nan(
    row: float, level: float, window: int, accumulation: int = 1, noise: float = 0.0
) -> tuple[int, int, int]:
    """How many steps of a logging window were finite before the loss turned NaN for ever: best guess, least and most.

    `row` is the last non-zero logged loss, `level` and `noise` (one standard deviation) are those of the rows before.
    Solves `filtered_share` for its first argument; every count within two standard deviations is possible. Windows of more
    than a thousand steps are solved to a thousandth.
    """
    if level <= 0 or row <= 0:
        return 0, 0, 0
    seen = math.log(row / level)
    spread = math.log1p(2 * noise / level)
    gaps = [(abs(_log_share(n, window, accumulation) - seen), n) for n in range(1, window + 1, max(1, window // 1000))]
    best = min(gaps)[1]
    near = [n for gap, n in gaps if gap <= spread]
    return best, min([best, *near]), max([best, *near])
