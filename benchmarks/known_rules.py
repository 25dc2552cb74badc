"""Rules that others use on loss curves, in our own words and code, behind one interface.

An online rule gives the rows (from 0) in which it raises an alarm; an end rule says whether it flags the finished curve.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from statistics import mean, median

import numpy as np

OnlineRule = Callable[[Sequence[float]], list[int]]
EndRule = Callable[[Sequence[float]], bool]

#: The end rules look at this share of the rows.
TAIL = 0.4


def olmo_spike(losses: Sequence[float], window: int = 1000, least: int = 10, deviations: float = 7.0) -> list[int]:
    """At least 7 standard deviations above the mean of the last 1,000 rows.

    The spike score of OLMo 2 (arXiv:2501.00656) counts such rows; ten rows must be there to have a deviation at all.
    """
    found = []
    for row in range(least, len(losses)):
        before = np.asarray(losses[max(0, row - window) : row])
        if losses[row] - before.mean() >= deviations * before.std() > 0:
            found.append(row)
    return found


def llm_foundry_spike(losses: Sequence[float], window: int = 100, factor: float = 2.0, patience: int = 4) -> list[int]:
    """More than four rows running at twice the mean of the last 100 or above, once 100 are there.

    The callback KillLossSpike of MosaicML's llm-foundry (llmfoundry/callbacks/kill_loss_spike_callback.py), without its cap
    on the absolute loss.
    """
    found, outliers = [], 0
    recent: deque[float] = deque(maxlen=window)
    for row, loss in enumerate(losses):
        if len(recent) == window:
            outliers = outliers + 1 if loss >= factor * mean(recent) else 0
            if outliers > patience:
                found.append(row)
        recent.append(loss)
    return found


def lightning_spike(losses: Sequence[float], window: int = 10, tolerance: float = 2.0) -> list[int]:
    """Above the row before, and above the mean of the last ten rows by twice that mean.

    The callback SpikeDetection of Lightning (lightning/fabric/utilities/spike.py) with its defaults. It stops the run, so
    that a row with an alarm does not enter the mean.
    """
    found: list[int] = []
    recent: deque[float] = deque(maxlen=window)
    for row, loss in enumerate(losses):
        if recent and loss > recent[-1] and loss - mean(recent) >= tolerance * mean(recent):
            found.append(row)
        else:
            recent.append(loss)
    return found


def adwin(losses: Sequence[float]) -> list[int]:
    """The mean of an adaptive window rose significantly (δ = 0.002); falls are what training is for and do not count.

    Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing", SDM 2007, as `river.drift.ADWIN`.
    """
    rose = rises()
    return [row for row, loss in enumerate(losses) if rose(loss)]


def rises() -> Callable[[float], bool]:
    """ADWIN, one loss after the other."""
    from river.drift import ADWIN

    detector = ADWIN(delta=0.002)

    def rose(loss: float) -> bool:
        before = detector.estimation
        detector.update(loss)
        return bool(detector.drift_detected and detector.estimation > before)

    return rose


def page_hinkley(losses: Sequence[float]) -> list[int]:
    """The cumulated rise above the running mean passes a threshold.

    Page, "Continuous inspection schemes", Biometrika 1954, as `river.drift.PageHinkley` with its defaults, upward only.
    """
    from river.drift import PageHinkley

    detector, found = PageHinkley(mode="up"), []
    for row, loss in enumerate(losses):
        detector.update(loss)
        if detector.drift_detected:
            found.append(row)
    return found


def hampel(losses: Sequence[float], window: int = 20, deviations: float = 3.0, least: int = 5) -> list[int]:
    """More than three scaled median absolute deviations above the median of the 20 rows before.

    Hampel's identifier ("The influence curve and its role in robust estimation", JASA 1974), causal.
    """
    found = []
    for row in range(least, len(losses)):
        before = losses[max(0, row - window) : row]
        middle = median(before)
        spread = 1.4826 * median(abs(loss - middle) for loss in before)
        if losses[row] - middle > deviations * spread > 0:
            found.append(row)
    return found


def reduce_on_plateau(losses: Sequence[float], patience: int = 10, threshold: float = 1e-4) -> bool:
    """More than ten rows running without a new best by 0.01 %, at any time.

    When `torch.optim.lr_scheduler.ReduceLROnPlateau` with its defaults would first reduce the rate.
    """
    best, bad = math.inf, 0
    for loss in losses:
        if loss < best * (1 - threshold):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            return True
    return False


def _tail(losses: Sequence[float]) -> Sequence[float]:
    return losses[-max(3, round(TAIL * len(losses))) :]


def mann_kendall_flat(losses: Sequence[float]) -> bool:
    """No monotonic trend (p > 0.05) in the last 40 %: Mann, Econometrica 1945; Kendall's τ against time."""
    from scipy.stats import kendalltau

    tail = _tail(losses)
    return bool(kendalltau(range(len(tail)), tail).pvalue > 0.05)


def mann_kendall_falling(losses: Sequence[float]) -> bool:
    """A falling trend (p < 0.05) in the last 40 %: the same test the other way round."""
    from scipy.stats import kendalltau

    tail = _tail(losses)
    result = kendalltau(range(len(tail)), tail)
    return bool(result.pvalue < 0.05 and result.statistic < 0)


def _slope_t(losses: Sequence[float]) -> float:
    from scipy.stats import linregress

    tail = _tail(losses)
    line = linregress(range(len(tail)), tail)
    return float(line.slope / line.stderr) if line.stderr else math.copysign(math.inf, line.slope)


def least_squares_flat(losses: Sequence[float]) -> bool:
    """The slope of a straight line through the last 40 % is within two standard errors of 0 (textbook t-test)."""
    return abs(_slope_t(losses)) < 2


def least_squares_falling(losses: Sequence[float]) -> bool:
    """That slope is more than two standard errors below 0."""
    return _slope_t(losses) < -2


#: What needs a package that only this benchmark uses.
_OF_RIVER: Mapping[str, OnlineRule] = {"ADWIN 0.002, upward": adwin, "Page-Hinkley, river defaults": page_hinkley}
_HAS_RIVER = find_spec("river") is not None

ONLINE_RULES: Mapping[str, OnlineRule] = {
    "OLMo 7 sd of the last 1000": olmo_spike,
    "llm-foundry 2x mean of 100, patience 4": llm_foundry_spike,
    "Lightning 3x mean of 10": lightning_spike,
    "Hampel k=3, w=20": hampel,
    **(_OF_RIVER if _HAS_RIVER else {}),
}
END_RULES: Mapping[str, EndRule] = {
    "ReduceLROnPlateau 10, 1e-4": reduce_on_plateau,
    "Mann-Kendall p>.05": mann_kendall_flat,
    "OLS |t|<2": least_squares_flat,
    "Mann-Kendall p<.05, falling": mann_kendall_falling,
    "OLS t<-2, falling": least_squares_falling,
}


def missing_rules() -> dict[str, str]:
    """The rules that cannot be run here, and why."""
    return {} if _HAS_RIVER else dict.fromkeys(_OF_RIVER, "the package river is not installed (pip install river)")
