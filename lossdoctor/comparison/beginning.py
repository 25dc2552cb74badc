"""Whether two logs begin with the same numbers: the same weights, seed and order of the data, up to a step."""

from __future__ import annotations

import numpy as np

from lossdoctor.comparison.alignment import Beside
from lossdoctor.comparison.series import Array, Series

#: Digits that have to agree, beyond those in which all rows agree anyway, before it is no coincidence.
PROOF = 6.0
#: What a gradient norm may be off by that is printed with 4 digits, and the digits it proves.
NORM, NORM_PROVES = 1e-3, 2.0
#: What a loss that is kept in 32 bits may be off by, as a share of it.
IN_32_BITS = 2 * 2.0**-24


def same_rows(first: Series, second: Series, laid: Beside) -> int:
    """How many rows from the first on agree to their printed digits; 0 where that may be coincidence."""
    if not laid.rows:
        return 0
    digits = min(first.digits, second.digits)
    size = np.maximum(np.maximum(np.abs(laid.one), np.abs(laid.other)), 1e-12)
    unit = np.maximum(10.0 ** (np.floor(np.log10(size)) + 1 - digits), 10.0 ** -min(first.decimals, second.decimals))
    agree = np.abs(laid.one - laid.other) <= 0.525 * unit + IN_32_BITS * size
    norms = _norms(first, second, laid)
    if norms is not None:
        known = np.isfinite(norms[0]) & np.isfinite(norms[1])
        agree &= ~known | (np.abs(norms[0] - norms[1]) <= NORM * np.maximum(norms[0], norms[1]))
    rows = laid.rows if agree.all() else int(np.argmin(agree))
    proof = rows * np.log10(max(1.0, _scatter(laid.one) / float(np.median(unit))))
    if norms is not None and rows:
        proof += NORM_PROVES * len(np.unique(norms[0][:rows][known[:rows]]))
    return rows if proof >= PROOF else 0


def agreeing_digits(first: Series, second: Series) -> int:
    """The digits to which both logs can be held."""
    return min(first.digits, second.digits)


def _norms(first: Series, second: Series, laid: Beside) -> tuple[Array, Array] | None:
    """The gradient norms of the same steps; a norm is that of one step, and cannot be averaged."""
    if not laid.whole or "grad_norm" not in first.beside:
        return None
    return first.beside["grad_norm"][laid.pairs[0]], second.beside["grad_norm"][laid.pairs[1]]


def _scatter(values: Array) -> float:
    """How far rows are from their neighbours, typically."""
    return float(np.median(np.abs(np.diff(values)))) if len(values) > 1 else 0.03 * abs(float(values[0]))
