from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lossdoctor.base import NO_GRADIENT_NORM, Detector, Streak
from lossdoctor.language import say
from lossdoctor.model import Record, Severity, Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class GradientZero(Detector):
    """The gradient norm is zero: no weight is moved.

    ## What it watches
    `grad_norm` at or below 1e-9 in several rows running: critical from the first row on. In the middle of a run it waits
    longer and stays a warning, since batches without labels, and losses with a margin, give zeros as well.

    ## Why it matters
    Either no trainable parameter is connected to the loss, or no token of the batches has a label. The run costs as much
    as a real one and teaches nothing.

    ## What it misses
    Some of the layers getting no gradient: the norm is that of all of them together. In reinforcement learning a group of
    equal rewards gives a zero gradient by design, so there it takes many rows and stays a warning.
    """

    series = "grad_norm"
    says = "the gradient norm is 0 in {rows:.0f} rows running from step {onset:,}: no weight moves"
    threshold: float = 1e-9
    rows_to_condemn: int = 2
    rows_in_the_middle: int = 10
    rows_in_reinforcement: int = 20

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._streak = Streak()
        self._zero_losses = self._equal_rewards = 0
        self._from_start = True

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        norm = vitals.grad_norm
        if norm is None:
            return None
        if not 0.0 <= norm <= self.threshold:
            closed = replace(self._state(vitals), open=False) if self._symptom else None
            self._from_start = False
            self._zero_losses = self._equal_rewards = 0
            self._streak.stop()
            self._symptom = None
            return closed
        self._streak.add(vitals.step - vitals.window + 1, vitals.step)
        self._zero_losses += vitals.loss == 0.0
        self._equal_rewards += record.values.get("reward_std") == 0.0
        if self._symptom is None and self._streak.rows >= self._needed(vitals):
            self._symptom = self._state(vitals)
            return self._symptom
        return None

    def _needed(self, vitals: Vitals) -> int:
        if not vitals.supervised:
            return self.rows_in_reinforcement
        return self.rows_to_condemn if self._from_start else self.rows_in_the_middle

    def _state(self, vitals: Vitals) -> Symptom:
        lost = vitals.supervised and self._streak.rows > 1 and self._from_start
        severity: Severity = "critical" if lost else "warning"  # later: no labels, or a margin loss with nothing to learn
        if vitals.clean_rows and vitals.level < 100 * vitals.loss_resolution and not self._from_start:
            severity = "info"  # the loss has faded to nothing, and so has its gradient
        if self._equal_rewards > self._streak.rows // 2:
            severity = "info"  # see reward-variance-zero, which is why
        return self.symptom(
            severity,
            self._streak.first,
            self._streak.last,
            rows=float(self._streak.rows),
            from_first_row=float(self._from_start),
            zero_loss_rows=float(self._zero_losses),
            loss=vitals.loss if vitals.loss is not None else float("nan"),
        )

    @property
    def settled(self) -> bool:
        return not self._from_start and self._symptom is None and not self._streak.rows

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None or (self._streak.rows and self._from_start):
            yield self._state(vitals)

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.has_grad_norm else say(NO_GRADIENT_NORM)
