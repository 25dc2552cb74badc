from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from lossdoctor.base import Detector
from lossdoctor.model import Record, Severity, Symptom
from lossdoctor.named_steps import NamedSteps
from lossdoctor.probe_columns import BATCHES_SO_FAR, LABELS, UNLABELLED
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LabelsAllMasked(Detector):
    """No token has a label: loss and gradient are both exactly zero from the first row on.

    ## What it watches
    `loss` and `grad_norm` exactly 0.0 together from the first row. For preference tuning, `logps/chosen` and
    `logps/rejected` exactly 0.0, which says that both answers were cut away. Live, the labels of every micro-batch: all of
    them masked is critical, and some are told with their steps, as a warning from one in a hundred on.

    ## Why it matters
    A cross-entropy over no tokens is NaN with a gradient of exactly 0. The log shows zeros, nothing is learned, and the
    run finishes as if all were well.

    ## What it misses
    In a log, batches of which only some have no labels (see `loss-intermittent-zero`), and logs without a gradient norm.
    """

    says = "loss and gradient norm are exactly 0 from the first row on: no token has a label"
    says_all_live = "no token has a label in any of the {batches:.0f} micro-batches so far"
    says_live = "no token has a label in {batches:.0f} of {batches_so_far:.0f} micro-batches, {steps}"
    says_preference = "the log probabilities of both answers are exactly 0: no answer token is left in the batches"
    kinds = ("train", "probe")
    rows: int = 2
    #: Share of the micro-batches without labels that is worth a warning, if there are several.
    share_to_warn: float = 0.01

    def __post_init__(self) -> None:
        self._count = self._first = self._last = 0
        self._possible = True
        self._preference = self._told = False
        self._seen = NamedSteps()  # steps in which an instrument saw a micro-batch without a label
        self._batches = 0
        self._of = 1.0
        self._severity: Severity | None = None

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if record.kind == "probe":
            return self._see(record) if record.values.get(UNLABELLED) else None
        if not self._possible or vitals.watches(LABELS):
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

    def _see(self, record: Record) -> Symptom | None:
        """One more step with micro-batches without labels; told when it is the first, and when it gets worse."""
        self._seen.add(record.step)
        self._batches += int(record.values[UNLABELLED])
        self._of = max(record.values.get(BATCHES_SO_FAR, 0.0), float(self._batches))
        severity: Severity = "info"
        if self._batches >= self._of:
            severity = "critical" if self._seen.count >= self.rows else "warning"
        elif self._batches >= self.rows and self._batches >= self.share_to_warn * self._of:
            severity = "warning"
        if self._severity == severity or (self._severity == "warning" and severity == "info"):
            return None
        self._severity = severity
        return self._live()

    def _live(self) -> Symptom:
        all_of_them = self._severity == "critical"
        says = self.says_all_live if all_of_them else self.says_live
        first, last = self._seen.first[0], self._seen.last
        numbers: dict[str, Any] = {"batches": float(self._batches), "batches_so_far": self._of, "rows": float(self._seen.count)}
        return self.symptom(
            self._severity or "info", first, last, says=says, series="labels", words={"steps": str(self._seen)}, **numbers
        )

    @property
    def settled(self) -> bool:
        return not self._possible

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._count and self._possible:
            yield self._state()
        if self._severity:
            yield self._live()
