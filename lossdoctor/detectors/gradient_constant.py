from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite

from lossdoctor.base import Detector, Streak
from lossdoctor.model import Record, Severity, Symptom
from lossdoctor.stats import significant_digits
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class GradientConstant(Detector):
    """The gradient norm is the same number, to the last digit, row after row.

    ## What it watches
    `grad_norm` repeating exactly: beside a zero or NaN loss two rows are enough (one, if it is exactly 1.0 or
    `max_grad_norm`); otherwise eight, and only where it is printed with eight digits or more.

    ## Why it matters
    A measured norm never repeats. DeepSpeed prints a NaN norm as a constant (1.0 in 0.12.4–0.12.6, other constants later),
    so this is a NaN gradient in disguise.

    ## What it misses
    A constant printed with few digits beside a normal loss.
    """

    series = "grad_norm"
    says = "the gradient norm is exactly {value:.6g} in {rows:.0f} rows running from step {onset:,}"
    rows_beside_zero_loss: int = 2
    rows_elsewhere: int = 8
    digits: int = 8

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._streak = Streak()
        self._value: float | None = None
        self._beside = 0

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        norm = vitals.grad_norm
        if norm is None:
            return None
        if norm != self._value and not self._beside and self._symptom is None and vitals.sound:
            self._value = None  # what nearly every row is: another norm beside a normal loss
            return None
        if norm != self._value or norm == 0.0:
            closed, self._symptom = self._symptom, None
            self._streak.stop()
            self._beside = 0
            self._value = norm if isfinite(norm) else None
            if self._value and len(vitals.norms) > 1 and vitals.norms[-2] == norm:  # it slept through the first of them
                self._streak.add(vitals.previous_step - vitals.window + 1, vitals.previous_step)
            if self._value:
                self._see(vitals)
            return replace(closed, open=False, last=vitals.previous_step) if closed else None
        self._see(vitals)
        if self._symptom is None:
            beside = self._beside >= self.rows_beside_zero_loss
            printed = self._streak.rows >= self.rows_elsewhere and significant_digits(norm) >= self.digits
            if (beside and vitals.supervised) or printed:
                self._symptom = self._state(vitals)
        return self._symptom if self._symptom and self._symptom.last == vitals.step else None

    def _see(self, vitals: Vitals) -> None:
        self._streak.add(vitals.step - vitals.window + 1, vitals.step)
        loss = vitals.loss
        self._beside += loss is not None and (loss == 0.0 or not isfinite(loss))

    def _state(self, vitals: Vitals) -> Symptom:
        severity: Severity = "critical" if self._beside else "warning"
        value = self._value or 0.0
        rows, beside = float(self._streak.rows), float(self._beside)
        return self.symptom(severity, self._streak.first, self._streak.last, value=value, rows=rows, zero_loss_rows=beside)

    @property
    def settled(self) -> bool:
        return self._symptom is None and not self._beside

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        told_by_value = self._value in (1.0, vitals.run.get("max_grad_norm"))
        if self._symptom is not None or (self._beside and told_by_value and vitals.supervised):
            yield self._state(vitals)
