"""Where two curves part for good: from which step on their smoothed difference stays out of its noise."""

from __future__ import annotations

from math import ceil

import numpy as np

from lossdoctor.comparison.alignment import Beside
from lossdoctor.comparison.noise import effective
from lossdoctor.comparison.series import Array
from lossdoctor.comparison.spikes import calmed, rolling_median

#: Curves are looked at in at most so many cells of rows.
CELLS = 400
#: Standard errors by which the end stands out of its window, where rows allow it, and beyond which a window is out.
STANDS_OUT, OUT = 7.0, 2.5
#: A window is out only where it shows at least this share of the difference at the end.
OF_END = 0.25
#: Typical deviations that a row counts for when it is asked how much rows tell of their own.
WINSOR = 4.0


def parted(laid: Beside, share: float) -> int | None:
    """The row from which on the curves differ to the end, which is `share` apart; None where no such row stands out."""
    size = -(-laid.rows // CELLS)
    count = laid.rows // size
    if count < 8 or not share:
        return None
    skip = laid.rows - count * size
    one, other = (values[skip:].reshape(count, size).mean(axis=1) for values in (calmed(laid.one), calmed(laid.other)))
    levels = rolling_median((one + other) / 2, max(5, count // 20))
    gap = (other - one) / np.abs(levels) * np.sign(share)
    noise, alone = _noise(gap)
    width = max(3, min(count // 4, ceil((STANDS_OUT * noise / abs(share)) ** 2 * count / alone)))
    smooth = rolling_median(gap, width)
    out = smooth > max(OUT * noise / (width * alone / count) ** 0.5, OF_END * abs(share))
    inside = np.flatnonzero(~out)
    first = int(inside[-1]) + 1 if len(inside) else 0
    if first > count - max(2, width // 3):
        return None
    return 0 if first == 0 else skip + _sharpened(gap, first, width) * size


def _noise(gap: Array) -> tuple[float, float]:
    """How much the difference scatters around its course, and how many of the cells tell something of their own."""
    rest = gap - rolling_median(gap, max(5, len(gap) // 12))
    noise = 1.4826 * float(np.median(np.abs(rest)))
    return max(noise, 1e-9), effective(np.clip(rest, -WINSOR * noise, WINSOR * noise) if noise > 0 else rest)


def _sharpened(gap: Array, first: int, width: int) -> int:
    """Where around that cell two levels describe the difference best: a window sees a jump later or earlier than it is."""
    low, high = max(0, first - width), min(len(gap), first + width + 1)
    part = gap[low:high]
    sums, squares = np.cumsum(part), float(part @ part)
    before = np.arange(1, len(part))
    after = len(part) - before
    explained = sums[:-1] ** 2 / before + (sums[-1] - sums[:-1]) ** 2 / after
    best = int(np.argmax(explained))
    whole = squares - sums[-1] ** 2 / len(part)
    sharp = whole > 0 and (explained[best] - sums[-1] ** 2 / len(part)) > 0.5 * whole
    return low + best + 1 if sharp else first
