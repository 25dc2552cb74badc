from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from lossdoctor.base import Detector
from lossdoctor.model import Record, Severity, Symptom
from lossdoctor.vitals import Vitals


@dataclass
class LossIntermittentZero(Detector):
    """Single rows have a loss of exactly 0.0 between normal ones.

    ## What it watches
    `loss`: zeros that a normal row follows, where the level is far above anything that could be printed as 0.

    ## Why it matters
    Each such row is a step whose loss was NaN and was filtered out of the log, or a batch without a single supervised
    token. The weights survived it; the data of that step taught nothing.

    ## What it misses
    With several steps per row such a step only lowers the average a little. In reinforcement learning and preference
    tuning a zero is an ordinary value.
    """

    says = "the loss is exactly 0.0 in {zero_rows:.0f} of {rows:.0f} rows, between normal ones"
    rows_to_warn: int = 2
    #: From this share of all rows on, unless their gradient is 0 (no labels) rather than NaN, the run is lost.
    share_to_condemn: float = 0.25
    rows_to_condemn: int = 6
    #: The level must be this many times the smallest loss the log can print.
    faded: float = 1000.0

    def __post_init__(self) -> None:
        self._zeros = self._pending = self._not_finite = self._zero_gradient = self._finite = 0
        self._first = self._last = 0
        self._told = ""

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if record.kind != "train" or vitals.loss is None or not vitals.supervised:
            return None
        if vitals.loss == 0.0:
            if vitals.clean_rows and vitals.level > self.faded * vitals.loss_resolution:
                self._zero(vitals)
            return None
        norm = vitals.grad_norm
        if not self._pending or (norm is not None and not isfinite(norm)):
            return None
        self._zeros += self._pending
        self._pending = 0
        if self._finite > self._zeros // 2:
            return None
        severity = self._severity(vitals)
        if severity == self._told:
            return None
        self._told = severity
        return self._state(vitals)

    def _severity(self, vitals: Vitals) -> Severity:
        many = self._zeros >= max(self.rows_to_condemn, self.share_to_condemn * vitals.rows)
        if many and self._zero_gradient < self._zeros // 2:
            return "critical"
        return "warning" if self._zeros >= self.rows_to_warn else "info"

    def _zero(self, vitals: Vitals) -> None:
        if not self._zeros and not self._pending:
            self._first = vitals.step - vitals.window + 1
        self._pending += 1
        self._last = vitals.step
        norm = vitals.grad_norm
        if norm is not None:
            if not isfinite(norm):
                self._not_finite += 1
            elif norm == 0.0:
                self._zero_gradient += 1
            else:
                self._finite += 1

    def _state(self, vitals: Vitals) -> Symptom:
        return self.symptom(
            self._severity(vitals),
            self._first,
            self._last,
            zero_rows=float(self._zeros),
            rows=float(vitals.rows),
            level_before=vitals.level,
            gradient_not_finite_rows=float(self._not_finite),
            gradient_zero_rows=float(self._zero_gradient),
        )

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._told:
            yield self._state(vitals)
