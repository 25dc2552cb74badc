"""Where two curves part for good: from which step on their smoothed difference stays out of its noise."""

from __future__ import annotations

from math import ceil

import numpy as np

from lossdoctor.comparison.alignment import Beside
from lossdoctor.comparison.noise import effective
from lossdoctor.comparison.series import Array
from lossdoctor.comparison.spikes import calmed, rolling_median
from lossdoctor.stats import MAD_TO_SD

#: Curves are looked at in at most so many cells of rows.
CELLS = 400
#: Fewer cells than this show no course.
FEWEST = 8
#: Standard errors, and share, by which curves are apart on the way; and cells that takes.
FAR, WIDE, ENOUGH = 6.0, 0.05, 40
#: Standard errors by which the end stands out of its window, where rows allow it, and beyond which a window is out.
STANDS_OUT, OUT = 7.0, 2.5
#: A window is out only where it shows at least this share of the difference at the end.
OF_END = 0.25
#: Typical deviations that a row counts for when it is asked how much rows tell of their own.
WINSOR = 4.0


def parted(laid: Beside, share: float) -> int | None:
    """The row from which on the curves differ to the end, which is `share` apart; None where no such row stands out."""
    found = _cells(laid)
    if found is None or not share:
        return None
    gap, size, skip = found
    gap, count = gap * np.sign(share), len(gap)
    noise, alone = _noise(gap)
    width = max(3, min(count // 4, ceil((STANDS_OUT * noise / abs(share)) ** 2 * count / alone)))
    smooth = rolling_median(gap, width)
    out = smooth > max(OUT * noise / (width * alone / count) ** 0.5, OF_END * abs(share))
    inside = np.flatnonzero(~out)
    first = int(inside[-1]) + 1 if len(inside) else 0
    if first > count - max(2, width // 3):
        return None
    return 0 if first == 0 else skip + _sharpened(gap, first, width) * size


def widest(laid: Beside) -> tuple[int, float] | None:
    """The row where curves that end alike are furthest apart on the way, and by which share; None where that may be noise."""
    found = _cells(laid)
    if found is None or len(found[0]) < ENOUGH:
        return None
    gap, size, skip = found
    noise, alone = _noise(gap)
    width = max(5, len(gap) // 10)
    # Of rows of two kinds a median is one or the other, and rare hard rows move a mean: what counts shows in both.
    means, medians = np.convolve(gap, np.full(width, 1 / width), mode="same"), rolling_median(gap, width)
    smooth = np.where(means * medians > 0, np.sign(means) * np.minimum(np.abs(means), np.abs(medians)), 0.0)
    most = int(np.argmax(np.abs(smooth)))
    noise = max(noise, float((gap - medians).std()))
    reach = noise / (width * alone / len(gap)) ** 0.5
    if abs(smooth[most]) < max(FAR * reach, WIDE):
        return None
    return skip + most * size, float(smooth[most])


def _cells(laid: Beside) -> tuple[Array, int, int] | None:
    """How far the other is above the first, as a share, in cells of so many rows; the rows before the first cell."""
    size = -(-laid.rows // CELLS)
    count = laid.rows // size if size else 0
    if count < FEWEST:
        return None
    skip = laid.rows - count * size
    one, other = (calmed(values)[skip:].reshape(count, size).mean(axis=1) for values in (laid.one, laid.other))
    levels = rolling_median((one + other) / 2, max(5, count // 20))
    return (other - one) / np.maximum(np.abs(levels), 1e-12), size, skip


def _noise(gap: Array) -> tuple[float, float]:
    """How much the difference scatters around its course, and how many of the cells tell something of their own."""
    width = max(9, len(gap) // 12)
    rest = gap - rolling_median(gap, width)
    noise = MAD_TO_SD * float(np.median(np.abs(rest))) * (1 + 1.5 / width)  # a median goes with the rows it is of
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
