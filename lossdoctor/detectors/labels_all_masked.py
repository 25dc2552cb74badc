from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lossdoctor.base import Detector
from lossdoctor.model import Record, Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LabelsAllMasked(Detector):
    """No token has a label: loss and gradient are both exactly zero from the first row on.

    ## What it watches
    `loss` and `grad_norm` exactly 0.0 together from the first row. For preference tuning, `logps/chosen` and
    `logps/rejected` exactly 0.0, which says that both answers were cut away.

    ## Why it matters
    A cross-entropy over no tokens is NaN with a gradient of exactly 0. The log shows zeros, nothing is learned, and the
    run finishes as if all were well.

    ## What it misses
    Batches of which only some have no labels (see `loss-intermittent-zero`), and logs without a gradient norm.
    """

    says = "loss and gradient norm are exactly 0 from the first row on: no token has a label"
    says_preference = "the log probabilities of both answers are exactly 0: no answer token is left in the batches"
    rows: int = 2

    def __post_init__(self) -> None:
        self._count = self._first = self._last = 0
        self._possible = True
        self._preference = self._told = False

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if not self._possible:
            return None
        preference = record.values.get("logps/chosen") == 0.0 == record.values.get("logps/rejected")
        masked = vitals.loss == 0.0 and vitals.grad_norm == 0.0 and vitals.supervised
        if not (masked or preference):
            self._possible = False
            return replace(self._state(), open=False) if self._told else None
        self._preference = preference
        self._first = self._first or max(1, vitals.step - vitals.window + 1)
        self._count, self._last = self._count + 1, vitals.step
        if self._count >= self.rows and not self._told:
            self._told = True
            return self._state()
        return None

    def _state(self) -> Symptom:
        says = self.says_preference if self._preference else self.says
        return self.symptom("critical", self._first, self._last, says=says, series="labels", rows=float(self._count))

    @property
    def settled(self) -> bool:
        return not self._possible

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._count and self._possible:
            yield self._state()
