"""A series as one line of block characters, with a mark under the step where the trouble begins."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from lossdoctor.stats import median, usual_range

BLOCKS = "▁▂▃▄▅▆▇█"
NOT_FINITE = "×"


def sparkline(points: Sequence[tuple[int, float]], width: int) -> tuple[str, list[int]]:
    """`points` (step, value) in at most `width` characters, and the last step that each character stands for.

    Each character is the median of its points; a group without a finite value is drawn as ×. Heights are scaled between
    the 2nd and the 98th percentile, so that one outlier does not flatten the rest.
    """
    count = min(width, len(points))
    if not count:
        return "", []
    groups = [points[i * len(points) // count : (i + 1) * len(points) // count] for i in range(count)]
    finite = sorted(v for _, v in points if isfinite(v))
    low, high = usual_range(finite) if finite else (0.0, 0.0)
    return "".join(_block([v for _, v in g], low, high) for g in groups), [g[-1][0] for g in groups]


def _block(values: list[float], low: float, high: float) -> str:
    finite = [v for v in values if isfinite(v)]
    if not finite:
        return NOT_FINITE
    if high <= low:
        return BLOCKS[0]
    share = (median(finite) - low) / (high - low)
    return BLOCKS[round(min(1.0, max(0.0, share)) * (len(BLOCKS) - 1))]
