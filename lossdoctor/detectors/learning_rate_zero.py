from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lossdoctor.base import Detector, Streak
from lossdoctor.language import say
from lossdoctor.model import Record, Severity, Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LearningRateZero(Detector):
    """The learning rate is zero while training goes on.

    ## What it watches
    `learning_rate` equal to 0 in at least three rows and 25 steps running, before the last 3 % of the run. From the first
    row on this is critical, after a schedule that has run out a warning.

    ## Why it matters
    Steps taken at a rate of zero change nothing and cost as much as any other.

    ## What it misses
    A rate that is tiny but not zero. The first rows of a warm-up or of a loss scaler that is finding its level are zero by
    design and are left alone.
    """

    series = "learning_rate"
    says = "the learning rate is 0 from step {onset:,} on ({rows:.0f} rows): the weights no longer move"
    says_from_start = "the learning rate is 0 from the first row on ({rows:.0f} rows): nothing is learned"
    rows: int = 3
    steps: int = 25
    end_of_run: float = 0.97
    #: A rate below this many units of the last printed digit may round to 0.
    rounding: float = 50.0

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._streak = Streak()
        self._from_start = True

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        rate = vitals.learning_rate
        if rate is None:
            return None
        if rate != 0.0:
            closed = replace(self._state(), open=False) if self._symptom else None
            self._from_start = False
            self._streak.stop()
            self._symptom = None
            return closed
        self._streak.add(vitals.step - vitals.window + 1, vitals.step)
        if self._symptom is None and self._long_enough(vitals):
            self._symptom = self._state()
            return self._symptom
        return None

    def _long_enough(self, vitals: Vitals) -> bool:
        streak = self._streak
        if streak.rows < self.rows or streak.last - streak.first + 1 < self.steps:
            return False
        if vitals.rates.last_above_zero and vitals.rates.last_above_zero < self.rounding * 10.0**-vitals.rates.decimals:
            return False  # the rates before were a few units of their last digit: this 0 is rounding
        total = vitals.run.get("max_steps") or 0
        return not total > 0 or streak.first < self.end_of_run * total

    def _state(self) -> Symptom:
        severity: Severity = "critical" if self._from_start else "warning"
        says = self.says_from_start if self._from_start else self.says
        streak, rows, start = self._streak, float(self._streak.rows), float(self._from_start)
        return self.symptom(severity, streak.first, streak.last, says=says, rows=rows, from_first_row=start)

    @property
    def settled(self) -> bool:
        return not self._from_start and self._symptom is None and not self._streak.rows

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            yield self._state()

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.has_learning_rate else say("no learning rate was logged")
