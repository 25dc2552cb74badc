from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lossdoctor.base import Detector
from lossdoctor.model import RANK, Record, Severity, Symptom
from lossdoctor.schedules import Schedule
from lossdoctor.vitals import Vitals


@dataclass
class SkippedSteps(Detector):
    """The learning rate lags behind its schedule: optimizer steps were skipped.

    ## What it watches
    `learning_rate`, turned back into a number of scheduler steps and compared with the step counter. The schedule comes from
    the facts (linear, cosine, polynomial, and the warm-up of constant ones), or, where it falls in equal steps to `max_steps`,
    from the log itself. Rows at a rate of 0 before the first move count as skipped at the start.

    ## Why it matters
    A few skipped steps are how the loss scaler works: some at the start, then about one in 2,000. Many say that fp16
    overflows again and again, and that the run learns less than its step counter says.

    ## What it misses
    Fused optimizers advance the schedule even when the step is skipped. A constant schedule tells nothing after its warm-up.
    """

    series = "learning_rate"
    says = "the learning rate lags {skipped:.0f} steps behind its schedule at step {last:,}: that many were skipped"
    says_startup = "the learning rate stays at 0 for the first {skipped_rows:.0f} rows: steps skipped at the start"
    steps_to_note: float = 0.8
    steps_to_warn: float = 25.0
    share_to_warn: float = 0.02
    rows_at_zero: int = 2
    #: More than this at the start is no start-up: another schedule, or `learning-rate-zero`.
    startup_steps: int = 40

    def __post_init__(self) -> None:
        self._schedule: Schedule | None = None
        self._ready = self._foreign = False
        self._falling = False
        self._slope = self._slope_before = 0.0
        self._base: float | None = None
        self._skipped = self._rate = 0.0
        self._zero_rows = self._zero_last = self._onset = self._last = 0
        self._told: Severity | None = None

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        rate = vitals.learning_rate
        if record.kind != "train" or rate is None or self._foreign:
            return None
        if not self._ready:
            self._ready, self._schedule = True, Schedule.of(vitals.run)
        if rate == 0.0 and vitals.rate_max == 0.0:
            self._zero_rows += 1
            self._zero_last = vitals.step
        behind = self._behind(rate, vitals)
        self._falling = self._falling or rate < self._rate
        self._rate = rate
        if behind is None:
            return None
        lag = vitals.step - behind
        if self._base is None:
            if not -0.5 < lag < self.startup_steps:
                self._foreign = True  # not the schedule we took it for
                return None
            self._base = 1.0 if lag > 0.5 else 0.0  # transformers 5 logs the rate before the step, 4 the one after it
        self._base = min(self._base, max(0.0, lag))
        skipped = lag - self._base
        if skipped >= self.steps_to_note and not self._onset:
            self._onset = vitals.step - vitals.window + 1
        self._skipped, self._last = skipped, vitals.step
        severity = self._severity(vitals)
        if severity and RANK[severity] > RANK.get(self._told or "", -1):
            self._told = severity
            return self._state(severity)
        return None

    def _behind(self, rate: float, vitals: Vitals) -> float | None:
        """Scheduler steps behind this rate, from the known schedule or from a fall in equal steps."""
        if self._schedule is not None:
            return self._schedule.steps_behind(rate, falling=self._falling or rate < self._rate)
        slope = vitals.rate_slope
        if not vitals.rate_repeats:
            if slope < 0 and abs(self._slope_before / slope - 1) < 1e-6:
                self._slope = slope  # twice the same fall per step: a straight line
            self._slope_before = slope
        total = vitals.run.get("max_steps") or 0
        return float(total) - rate / abs(self._slope) if total > 0 and self._slope else None

    def _severity(self, vitals: Vitals) -> Severity | None:
        if not self._onset or self._skipped < self.steps_to_note:
            return None
        many = self._skipped > self.steps_to_warn and self._skipped > self.share_to_warn * vitals.step
        return "warning" if many else "info"

    def _state(self, severity: Severity) -> Symptom:
        skipped = float(round(self._skipped))
        return self.symptom(severity, self._onset, self._last, skipped=skipped, at_start=float(self._zero_rows > 1))

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._told:
            yield self._state(self._told)
        elif self._zero_rows >= self.rows_at_zero and self._zero_last <= self.startup_steps:
            rows = float(self._zero_rows)
            first = vitals.first_step or 1
            yield self.symptom("info", first, self._zero_last, says=self.says_startup, skipped_rows=rows, at_start=1.0)
