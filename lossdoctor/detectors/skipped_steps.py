from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from lossdoctor.base import Detector
from lossdoctor.language import say
from lossdoctor.model import RANK, Record, Severity, Symptom
from lossdoctor.probe_columns import SCALE, SKIPPED
from lossdoctor.schedules import Schedule
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class SkippedSteps(Detector):
    """The learning rate lags behind its schedule: optimizer steps were skipped.

    ## What it watches
    Live, the loss scaler itself: each step that it threw away. Afterwards `skipped_steps`, the steps that were skipped since
    the row before, where DeepSpeed or Megatron logs them; else `learning_rate`, turned back into scheduler steps
    row by row: a row of ten steps that moved the schedule by seven skipped three. The schedule comes from the facts (linear,
    cosine, polynomial, and the warm-up of constant ones), or, where it falls in equal steps towards 0 at `max_steps`, from the
    log itself. Skipped steps are whole: where the numbers give fractions the schedule is another one, and nothing is said.

    ## Why it matters
    A few skipped steps are how the loss scaler works: some at the start, then about one in 2,000. Many say that fp16
    overflows again and again, and that the run learns less than its step counter says.

    ## What it misses
    In a log: fused optimizers advance the schedule even when the step is skipped. A constant schedule tells nothing after its
    warm-up, and rates printed with few digits tell too little.
    """

    series = "learning_rate"
    kinds = ("train", "probe")
    says = "the learning rate lags {skipped:.0f} steps behind its schedule at step {last:,}: that many were skipped"
    says_live = "the loss scaler skipped {skipped:.0f} steps, the last of them at step {last:,}"
    says_startup = "the learning rate stays at 0 for the first {skipped_rows:.0f} rows: steps skipped at the start"
    steps_to_note: float = 0.8
    steps_to_warn: float = 25.0
    share_to_warn: float = 0.02
    rows_to_warn: int = 2
    rows_at_zero: int = 2
    #: More than this at the start is no start-up: another schedule, or `learning-rate-zero`.
    startup_steps: int = 40
    #: How far from a whole number a count may lie.
    fraction: float = 0.15
    #: Rows that do not fit before the schedule is taken for another one.
    misfits: int = 3
    #: Rows running with the same fall that make a straight line.
    straight_rows: int = 3

    def __post_init__(self) -> None:
        self._schedule: Schedule | None = None
        self._ready = self._foreign = self._falling = False
        self._rate: float | None = None
        self._behind: float | None = None
        self._slope = self._slope_before = 0.0
        self._straight = self._misfits = self._rows = 0
        self._skipped = 0.0
        self._zero_rows = self._zero_last = self._onset = self._last = 0
        self._told: Severity | None = None
        self._live = False  # the scaler itself was watched, or its skipped steps are logged

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if record.kind == "probe":
            seen = record.values.get(SKIPPED)
            return self._see(record.step, record.step, seen) if seen else None
        if logged := record.values.get("skipped_steps", 0.0):
            return self._see(vitals.step - vitals.window + 1, vitals.step, logged) if 0 < logged < inf else None
        rate = vitals.learning_rate
        if rate is None or self._foreign or self._live or self._as_before(rate, vitals) or vitals.watches(SCALE):
            return None
        if not self._ready:
            self._ready, self._schedule = True, Schedule.of(vitals.run)
        if rate == 0.0 and vitals.rates.highest == 0.0:
            self._zero_rows += 1
            self._zero_last = vitals.step
        previous, self._rate = self._rate, rate
        if previous is not None and rate < previous:
            self._falling = True
        elif previous is not None and rate > previous and self._falling:
            self._foreign = True  # a rate that rises again: restarted, or cyclic
            return None
        behind = self._steps_behind(rate, vitals)
        before, self._behind = self._behind, behind
        if behind is None or vitals.step <= vitals.previous_step:
            return None
        if before is None:
            self._foreign = not -1.5 <= vitals.step - behind <= self.startup_steps + vitals.window
            return None
        skipped = vitals.window - (behind - before)
        return None if -self.fraction <= skipped <= self.fraction else self._count(skipped, vitals)

    def _as_before(self, rate: float, vitals: Vitals) -> bool:
        """Whether the rate fell by what its slope asks for, as in nearly every row: then nothing was skipped."""
        previous, behind = self._rate, self._behind
        if behind is None or previous is None or not self._slope or self._schedule is not None:
            return False
        if not abs(previous - rate + self._slope * vitals.window) <= 1e-6 * (previous - rate):
            return False
        self._rate, self._behind, self._slope_before = rate, behind + vitals.window, vitals.rates.slope
        self._straight += 1
        return True

    def _see(self, first: int, last: int, skipped: float) -> Symptom | None:
        """The steps that the scaler threw away, as an instrument saw it or the log says."""
        if not self._live:
            self._skipped, self._onset, self._rows = 0.0, max(first, 1), 0  # what the learning rate told is less sure
        self._live, self._last = True, last
        self._skipped += skipped
        self._rows += 1
        return self._worse(last)

    def _count(self, skipped: float, vitals: Vitals) -> Symptom | None:
        """Adds the steps that this row skipped, if they are whole and no more than there were."""
        whole = round(skipped)
        if abs(skipped - whole) > self.fraction or not 0 <= whole <= vitals.window:
            self._misfits += 1
            self._foreign = self._misfits >= self.misfits
            return None
        if not whole:
            return None
        self._onset = self._onset or vitals.step - vitals.window + 1
        self._skipped += whole
        self._rows += 1
        self._last = vitals.step
        return self._worse(vitals.step)

    def _worse(self, step: int) -> Symptom | None:
        """The symptom, if it is worse than it was told."""
        severity = self._severity(step)
        if severity and RANK[severity] > RANK.get(self._told or "", -1):
            self._told = severity
            return self._state(severity)
        return None

    def _steps_behind(self, rate: float, vitals: Vitals) -> float | None:
        """Scheduler steps behind this rate; None where this part of the schedule, or its digits, do not tell."""
        if self._schedule is not None:
            if not self._falling and vitals.step > self._schedule.warmup:
                return None
            return self._schedule.steps_behind(rate, falling=self._falling)
        rates = vitals.rates
        slope = rates.slope
        if not rates.repeats:
            same = slope < 0 and abs(self._slope_before / slope - 1) < 1e-6
            self._straight = self._straight + 1 if same else 0
            if self._straight >= self.straight_rows - 1 and slope < self._slope * (1 + 1e-6):
                self._slope = slope  # the steepest: skipped steps only flatten it
                self._behind = None  # what was counted before was counted with another slope
            self._slope_before = slope
        if not self._slope:
            return None
        total = vitals.run.get("max_steps") or 0
        return float(total) - rate / abs(self._slope) if total > 0 else None

    def _severity(self, step: int) -> Severity | None:
        if (self._foreign and not self._live) or self._skipped < self.steps_to_note:
            return None
        many = self._skipped > self.steps_to_warn and self._skipped > self.share_to_warn * step
        return "warning" if many and self._rows >= self.rows_to_warn else "info"

    def _state(self, severity: Severity) -> Symptom:
        says, series = (self.says_live, "loss_scale") if self._live else (self.says, self.series)
        start = float(self._last <= self.startup_steps if self._live else self._zero_rows > 1)
        return self.symptom(severity, self._onset, self._last, says=says, series=series, skipped=self._skipped, at_start=start)

    @property
    def settled(self) -> bool:
        return self._foreign

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if severity := self._severity(max(vitals.step, self._last)):
            yield self._state(severity)
        elif self._zero_rows >= self.rows_at_zero and self._zero_last <= self.startup_steps:
            rows = float(self._zero_rows)
            first = vitals.first_step or 1
            yield self.symptom("info", first, self._zero_last, says=self.says_startup, skipped_rows=rows, at_start=1.0)

    def blind(self, vitals: Vitals) -> str | None:
        return say("the learning rate does not follow the schedule that is known") if self._foreign and self._schedule else None
