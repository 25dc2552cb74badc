"""A curve without its spikes: single rows far from their neighbours say little of where the curve is."""

from __future__ import annotations

import numpy as np

from lossdoctor.comparison.series import Array
from lossdoctor.stats import MAD_TO_SD

#: Neighbours that a row is held against, and typical deviations from them that it may show.
NEIGHBOURS, MOST = 11, 6.0
#: Where more rows than this share, or than so many of a few, stand out, they are how this loss scatters, and no spikes.
FEW, ROWS = 0.05, 3


def calmed(values: Array) -> Array:
    """The same rows, those that stand out brought back to the border of what is usual; all as they were where many do."""
    if len(values) < NEIGHBOURS:
        return values
    course = rolling_median(values, NEIGHBOURS)
    rest = (values - course) / np.maximum(np.abs(course), 1e-12)
    usual = MOST * MAD_TO_SD * float(np.median(np.abs(rest)))
    if usual == 0 or (np.abs(rest) > usual).sum() > max(ROWS, FEW * len(values)):
        return values
    return np.asarray(course + np.clip(rest, -usual, usual) * np.maximum(np.abs(course), 1e-12))


def rolling_median(values: Array, width: int) -> Array:
    """The median of the window around each value; at both ends the values are mirrored."""
    half = min(width // 2, len(values) - 1)
    padded = np.pad(values, half, mode="reflect")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1))
