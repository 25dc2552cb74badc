"""What lets the detectors that stay awake pass over a stretch of rows: which rows tell them nothing, and how they go on.

For each of them two functions. `quiet` gives the number of rows, from the first, with which `update` would neither open, worsen
nor close anything; it may give fewer, and changes nothing. `skip` then does what `update` with each of them would have done.
They stand here rather than in the detectors, since they are about speed alone; a test holds them to what `update` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lossdoctor.base import Detector
from lossdoctor.detectors.gradient_explosion import GradientExplosion
from lossdoctor.detectors.gradient_vanishing import GradientVanishing
from lossdoctor.detectors.loss_divergence import LossDivergence
from lossdoctor.detectors.loss_spike import LossSpike
from lossdoctor.detectors.skipped_steps import SkippedSteps
from lossdoctor.model import Record
from lossdoctor.stretch import Flags, Floats, Stretch, begin
from lossdoctor.vitals import Vitals

#: Rows that the usual norm is a median of.
MANY = 31


def quiet_explosion(self: GradientExplosion, stretch: Stretch) -> int:
    if stretch.norm is None:
        return stretch.rows
    if self._symptom is not None or self._high or self._usual is None or len(self._many) < MANY:
        return 0
    usual = _usual(self, stretch, stretch.norm)
    high = stretch.norm > self.back * usual
    if high.any():
        high &= stretch.middles(self._many, stretch.norm, 5) > self.times * usual
    return stretch.until(high)


def skip_explosion(self: GradientExplosion, stretch: Stretch) -> None:
    if stretch.norm is None:
        return
    usual = _usual(self, stretch, stretch.norm)
    if (stretch.norm > self.back * usual).any():
        self._near = 0
    self._usual = float(usual[-1])
    self._many.extend(stretch.columns["grad_norm"][-MANY:])
    self._seen += stretch.rows


def _usual(self: GradientExplosion, stretch: Stretch, norm: Floats) -> Floats:
    """The usual norm as of each row."""
    return stretch.lowest_levels(self._many, norm, self._usual or 0.0, self._seen)[0]


def quiet_vanishing(self: GradientVanishing, stretch: Stretch) -> int:
    if stretch.norm is None:
        return stretch.rows
    if self._symptom is not None or self._low or self._seen <= self.first_rows or len(self._five) < 5:
        return 0
    return stretch.until(stretch.norm <= self.share * _highest(self, stretch, stretch.norm))


def skip_vanishing(self: GradientVanishing, stretch: Stretch) -> None:
    if stretch.norm is not None:
        self._high = _highest(self, stretch, stretch.norm)
        self._five.extend(stretch.columns["grad_norm"][-5:])
        self._seen += stretch.rows


def _highest(self: GradientVanishing, stretch: Stretch, norm: Floats) -> float:
    """The highest norm as of the last row."""
    high = self._high
    places = (norm > high).nonzero()[0]  # not all of them: it only grows
    middles = stretch.middles(self._five, norm, 5, places)
    for value, five in zip(norm[places].tolist(), middles.tolist(), strict=True):
        if value > high:
            high = min(max(high, five), self.most_above_first * self._usual)
    return high


def quiet_divergence(self: LossDivergence, stretch: Stretch) -> int:
    curve = stretch.vitals.curve
    if self._symptom is not None or curve.rows < max(self.rows, self.few_rows):
        return 0
    recent, best = stretch.recent, stretch.lowest
    risen, scale = recent - best, stretch.scale_at(best)
    calm = (risen <= self.above_best * scale) & (recent - curve.start <= self.above_start * abs(curve.start))
    loud = ~(calm | (recent <= best + 0.15 * scale))
    places = loud.nonzero()[0]
    loud[places] = risen[places] > self.deviations * (0.56 * stretch.noise(places, recent))
    return stretch.until(loud)


def skip_divergence(self: LossDivergence, stretch: Stretch) -> None:
    self._streak.stop()


def quiet_spike(self: LossSpike, stretch: Stretch) -> int:
    curve = stretch.vitals.curve
    if self._up or curve.rows <= self.rows:
        return 0
    jump = stretch.loss - stretch.recent_before
    high = jump > self.share_of_level * stretch.scale
    places = high.nonzero()[0]
    bar = self.deviations * (1 + self.uncertainty / max(1, curve.changes - 1)) * stretch.noise(places, stretch.recent)
    high[places] = (jump[places] > bar) & (jump[places] > self.largest_before * stretch.largest_residual(places))
    untold = stretch.rows
    if self._spikes >= self.spikes_to_warn and self._quiet < self.quiet_rows:
        untold = self.quiet_rows - 1 - self._quiet if self._quiet else 0
    return min(untold, stretch.until(high))


def skip_spike(self: LossSpike, stretch: Stretch) -> None:
    if self._spikes >= self.spikes_to_warn:
        self._quiet += stretch.rows


def quiet_skipped(self: SkippedSteps, stretch: Stretch) -> int:
    if stretch.rate is None or self._foreign or self._live:
        return stretch.rows
    if not self._ready or self._rate != stretch.rate_before[0]:
        return 0
    if stretch.falls:
        return stretch.until(_uneven(self, stretch, stretch.rate))
    tells_nothing = not self._falling and stretch.vitals.step >= self._schedule.warmup if self._schedule else not self._slope
    return stretch.rows if tells_nothing else 0


def skip_skipped(self: SkippedSteps, stretch: Stretch) -> None:
    if stretch.rate is None or self._foreign or self._live:
        return
    self._rate = rate = stretch.columns["learning_rate"][-1]
    if not stretch.falls:
        self._behind = None
    elif self._schedule is not None:
        self._falling, self._behind = True, self._schedule.steps_behind(rate, falling=True)
    elif self._slope and self._behind is not None:
        for _ in range(stretch.rows):  # one by one, as they would have been rounded
            self._behind += stretch.vitals.window
        self._straight += stretch.rows
        self._slope_before = float(stretch.slopes[-1])
    else:
        bent = (~_same(self, stretch)).nonzero()[0]
        self._straight = stretch.rows - 1 - int(bent[-1]) if len(bent) else self._straight + stretch.rows
        self._slope_before = float(stretch.slopes[-1])
        self._falling, self._behind = True, None


def _uneven(self: SkippedSteps, stretch: Stretch, rate: Floats) -> Flags:
    """The rows of falling rates that did not advance the schedule by their steps, or that tell more of it."""
    before, window = stretch.rate_before, stretch.vitals.window
    if self._schedule is not None:
        behind = np.array([self._schedule.steps_behind(each, falling=True) for each in rate.tolist()], dtype=float)
        return ~(abs(window - (behind - stretch.previous(self._behind, behind))) <= self.fraction)
    if self._slope and self._behind is not None:
        return ~(abs(before - rate + self._slope * window) <= 1e-6 * (before - rate))
    known = bool(self._slope and stretch.vitals.run.get("max_steps"))
    return known | (_same(self, stretch) & (stretch.slopes < self._slope * (1 + 1e-6)))


def _same(self: SkippedSteps, stretch: Stretch) -> Flags:
    """The rows of falling rates whose slope is that of the row before."""
    return abs(stretch.previous(self._slope_before, stretch.slopes) / stretch.slopes - 1) < 1e-6


Pair = tuple[Callable[[Any, Stretch], int], Callable[[Any, Stretch], None]]
#: By class and not by slug: a detector of somebody else's making, or with another `update`, sees every row.
PASSING: Mapping[type[Detector], Pair] = {
    GradientExplosion: (quiet_explosion, skip_explosion),
    GradientVanishing: (quiet_vanishing, skip_vanishing),
    LossDivergence: (quiet_divergence, skip_divergence),
    LossSpike: (quiet_spike, skip_spike),
    SkippedSteps: (quiet_skipped, skip_skipped),
}


def passed(vitals: Vitals, detectors: Sequence[Detector], records: Sequence[Record], end: float) -> Stretch | None:
    """Takes the vitals and the detectors over the stretch that the records begin with; None where they begin with none.

    No row of step `end` or later is in it.
    """
    if not all(type(detector) in PASSING for detector in detectors):
        return None
    with np.errstate(all="ignore"):  # what is not finite ends the stretch
        stretch = begin(vitals, records, end)
        for detector in detectors:
            if stretch is None:
                return None
            quiet, _ = PASSING[type(detector)]
            stretch = stretch.first(quiet(detector, stretch))
        if stretch is None:
            return None
        for detector in detectors:
            _, skip = PASSING[type(detector)]
            skip(detector, stretch)
        vitals.skip(stretch)
    return stretch
