"""How two training losses end: the means of paired windows over the last part, spikes apart, with what chance leaves open.

Two seeds of one run do not end at the same level: ten of one tiny GPT-2 had evaluation losses 0.11 to 0.15 % apart (standard
deviation) and training losses less than their rows scatter. Larger differences are known of small data sets, so more is
allowed, and a difference that is called one has to be worth it.
"""

from __future__ import annotations

from math import hypot, inf, isfinite, sqrt

import numpy as np

from lossdoctor.comparison.alignment import Beside
from lossdoctor.comparison.noise import WINDOWS, error_of_mean, quantile, window_length, windows
from lossdoctor.comparison.nouns import EndDifference, Ending
from lossdoctor.comparison.series import Array, Series
from lossdoctor.comparison.spikes import calmed

#: The last part of both curves: this share of the rows, and where they scatter so much that it is known no better than this,
#: twice as much of them.
LAST, KNOWN = 0.25, 0.005
#: Fewer rows than this in both have no level.
LEAST_ROWS = 12
#: With fewer rows in common a quarter of them is too few to know how they scatter.
ROWS_FOR_A_QUARTER = 100
#: How sure it has to be that a difference is more than noise; its interval is that of 95 %.
SURE = 0.97
#: The differences of both quarters are one difference up to so many standard errors.
ONE_DIFFERENCE = 3.0
#: How far the end of a run with another seed may lie from that of its like (standard deviation, as a share of the loss).
SEED_SPREAD = 0.005
#: A smaller difference is not called one: with the same data in the same order, and without.
WORTH_IN_ORDER, WORTH = 0.01, 0.02
#: Where a loss has become small, it is measured against this share of what it has come down.
OF_DESCENT = 0.2


def end_of(laid: Beside, in_order: bool) -> EndDifference | None:
    """The end of what both have; `in_order` if both saw the same examples in the same order. None with fewer than 3 rows."""
    if laid.rows < 3 or not laid.one[-LEAST_ROWS:].any():
        return None
    one, other = calmed(laid.one), calmed(laid.other)
    rows = _last_rows(one, other)
    one, other = one[-rows:], other[-rows:]
    share, rest = _difference(one, other)
    error, freedom = error_of_mean(rest)
    if not isfinite(error):
        return None
    length = window_length(rest)
    of_windows = windows(rest, length)
    scatter = float(of_windows.std(ddof=1)) if len(of_windows) > 1 else inf
    level, there = float(one.mean()), float(other.mean())
    start = float(np.median(np.append(laid.one[:3], laid.other[:3])))
    spread, worth = (0.0, WORTH_IN_ORDER) if in_order else (SEED_SPREAD, WORTH)
    low, high, ending = judged(share, error, freedom, scale_of(start, level, there), spread, worth)
    if laid.rows < LEAST_ROWS:
        ending = "unknown"
    effect = share / scatter if 0 < scatter < inf else 0.0
    return EndDifference(level, there, share, low, high, effect, len(of_windows), length, ending, int(laid.steps[-rows]))


def own_ends(first: Series, second: Series) -> EndDifference | None:
    """How each ends where it ends: the last quarter of its own rows, which are not the same rows. None with too few of them."""
    if min(first.rows, second.rows) < LEAST_ROWS:
        return None
    last = [calmed(rows.values)[-max(WINDOWS, -(-rows.rows // 4)) :] for rows in (first, second)]
    levels = [float(values.mean()) for values in last]
    known = [error_of_mean(_without_slope(values)) for values in last]
    if not levels[0] or not all(isfinite(error) for error, _ in known):
        return None
    share = (levels[1] - levels[0]) / abs(levels[0])
    errors = [error / abs(levels[0]) for error, _ in known]
    freedom = hypot(*errors) ** 4 / sum(max(e, 1e-12) ** 4 / f for e, (_, f) in zip(errors, known, strict=True))
    start = float(np.median(np.append(first.values[:3], second.values[:3])))
    low, high, ending = judged(share, hypot(*errors), freedom, scale_of(start, levels[0], levels[1]), SEED_SPREAD, WORTH)
    lengths = [window_length(values - values.mean()) for values in last]
    scatter = hypot(*(float(windows(v, n).std(ddof=1)) for v, n in zip(last, lengths, strict=True))) / 2**0.5 / abs(levels[0])
    count, effect = min(len(v) // n for v, n in zip(last, lengths, strict=True)), share / scatter if scatter else 0.0
    return EndDifference(
        levels[0], levels[1], share, low, high, effect, count, max(lengths), ending, int(first.steps[-len(last[0])])
    )


def judged(share: float, error: float, freedom: float, scale: float, spread: float, worth: float) -> tuple[float, float, Ending]:
    """The interval of a difference (95 %) and what is made of it: `spread` is what each end may be off by with another seed,
    `worth` the least that is called a difference; both are shares of `scale`, which is a share of the first level.
    """
    whole = hypot(error, sqrt(2) * spread * scale)
    if not isfinite(whole):
        return -inf, inf, "unknown"
    freedom = min(1e6, freedom * (whole / error) ** 4) if error > 0 else 1e6
    reach = whole * quantile(freedom)
    beyond = abs(share) > whole * quantile(freedom, SURE) and abs(share) >= worth * scale
    return share - reach, share + reach, ("better" if share < 0 else "worse") if beyond else "same"


def scale_of(start: float, level: float, there: float) -> float:
    """What differences are measured against, as a share of the first level: itself, or part of the descent to it."""
    return max(abs(level), abs(there), OF_DESCENT * (start - min(level, there))) / abs(level)


def _last_rows(one: Array, other: Array) -> int:
    """A quarter of the rows; half of them where those scatter much and the difference has been the same for so long."""
    quarter = max(min(len(one), WINDOWS), -(-len(one) // 4))
    half = max(quarter, len(one) // 2)
    if len(one) < ROWS_FOR_A_QUARTER:
        return half
    late = _difference(one[-quarter:], other[-quarter:])
    error = error_of_mean(late[1])[0]
    if error <= KNOWN:
        return quarter
    early = _difference(one[-half:-quarter], other[-half:-quarter])
    return half if abs(late[0] - early[0]) <= ONE_DIFFERENCE * hypot(error, error_of_mean(early[1])[0]) else quarter


def _difference(one: Array, other: Array) -> tuple[float, Array]:
    """How far the mean of the other is from the first, as a share of it; and what each pair of rows is off by."""
    level, there = float(one.mean()), float(other.mean())
    if level == 0:
        return 0.0, np.full(len(one), inf)
    return (there - level) / abs(level), (other - there / level * one) / abs(level)


def _without_slope(values: Array) -> Array:
    """What is left beside a straight line: the fall within the last part is no noise."""
    place = np.arange(len(values)) - (len(values) - 1) / 2
    return np.asarray(values - values.mean() - place * float(place @ values) / float(place @ place))
