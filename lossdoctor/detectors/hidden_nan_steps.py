from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from lossdoctor.base import Detector
from lossdoctor.model import Record, Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class HiddenNanSteps(Detector):
    """Single rows betray NaN losses that the log filtered out.

    ## What it watches
    Two traces of the filter (`logging_nan_inf_filter`). Under gradient accumulation a NaN micro-batch multiplies the logged
    loss, so a row far above its neighbours beside a gradient norm *below* all of theirs is not a spike. And a gradient norm of
    exactly 0 beside a normal loss says that the last step of that row taught nothing.

    ## Why it matters
    The loss of these steps was NaN, or their batches had no labels. The weights survived; the curve lies.

    ## What it misses
    Most of them: with five steps per row or more, a NaN step changes the average less than noise does.
    """

    says = "{rows:.0f} rows look like NaN losses that the log filtered out, the first at step {onset:,}"
    inflated: float = 3.0
    gradient_below: float = 0.85
    back_within: float = 1.5
    rows_to_warn: int = 2
    clean_rows: int = 4
    #: In a run that is noisier than this (one standard deviation, as a share of the level) rows jump without a cause.
    noise: float = 0.2
    #: Below this level rows jump by such factors for ordinary reasons.
    level: float = 0.05

    def __post_init__(self) -> None:
        self._suspect: tuple[int, int] | None = None
        self._rows = self._inflated = self._first = self._last = 0
        self._level = 0.0
        self._told = 0

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        loss, norm = vitals.loss, vitals.grad_norm
        if loss is None or norm is None or not vitals.supervised:
            return None
        confirmed = False
        if self._suspect is not None and 0 < loss < self.back_within * self._level:
            self._count(*self._suspect)
            self._inflated += 1
            confirmed = True
        self._suspect = None
        striking = norm == 0.0 or loss > self.inflated / 2 * vitals.curve.recent_before
        if striking and vitals.clean_rows > self.clean_rows and vitals.norms and vitals.level_before > self.level:
            confirmed = self._look(loss, norm, vitals) or confirmed
        severity_changes = self._rows in (1, self.rows_to_warn) and self._rows != self._told
        if confirmed and severity_changes:
            self._told = self._rows
            return self._state()
        return None

    def _look(self, loss: float, norm: float, vitals: Vitals) -> bool:
        """Whether a striking row is a NaN step for sure; an inflated one also needs the row after it."""
        level, first = vitals.level_before, vitals.step - vitals.window + 1
        if norm == 0.0 and 0 < loss < self.back_within * level:
            self._count(first, vitals.step)
            return True
        before = [other for other in vitals.norms if other != norm] or [0.0]
        calm = vitals.noise < self.noise * level and self._possible(vitals)
        if calm and self.inflated * level < loss < inf and norm < self.gradient_below * min(before):
            self._suspect, self._level = (first, vitals.step), level
        return False

    @staticmethod
    def _possible(vitals: Vitals) -> bool:
        """The filter inflates a row only where it has several micro-batches."""
        return vitals.window > 1 or vitals.run.get("gradient_accumulation_steps") != 1

    def _count(self, first: int, last: int) -> None:
        self._first = self._first or first
        self._last = last
        self._rows += 1

    def _state(self) -> Symptom:
        severity = "warning" if self._inflated >= self.rows_to_warn else "info"
        rows, inflated = float(self._rows), float(self._inflated)
        return self.symptom(severity, self._first, self._last, rows=rows, inflated_rows=inflated)  # type: ignore[arg-type]

    @property
    def settled(self) -> bool:
        return self._suspect is None

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._rows:
            yield self._state()

    def blind(self, vitals: Vitals) -> str | None:
        if vitals.run.get("logging_nan_inf_filter") is False:
            return None
        if vitals.usual_window >= 5:
            return f"one row covers {vitals.usual_window} steps and the log filters NaN losses: single NaN steps cannot be seen"
        return None
