from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite

from lossdoctor.base import Detector
from lossdoctor.language import say
from lossdoctor.model import Record, Severity, Symptom
from lossdoctor.rates import FALLS_AT_ONCE
from lossdoctor.vitals import Vitals
from lossdoctor.zeros import faded


@dataclass(eq=False, repr=False)
class LearningRateFrozen(Detector):
    """The learning rate stopped moving, to the last digit, in the middle of its schedule.

    ## What it watches
    `learning_rate` repeating exactly although it was moving before, by more than rounding could hide. Beside a zero or NaN
    loss one repeat is enough, beside non-finite gradient norms three; alone it takes five and is only a note, unless fp16 is
    known to be on: a schedule may have a floor that we do not know of.

    ## Why it matters
    The Trainer does not advance the schedule when the loss scaler skips a step. A frozen rate therefore says that the
    optimizer makes no step at all: the weights have not changed since.

    ## What it misses
    Fused optimizers (`adamw_torch_fused`, the default of recent transformers with torch 2.8 or newer) hide skipped steps:
    there the rate keeps moving. At the peak of a schedule, and on one that is constant, a repeat says nothing.
    """

    series = "learning_rate"
    says = "the learning rate is frozen at {value:.6g} from step {onset:,} on: the optimizer steps are being skipped"
    says_alone = "the learning rate stays at {value:.6g} from step {onset:,} on, in the middle of its schedule"
    repeats_beside_zero_loss: int = 1
    repeats_beside_bad_gradient: int = 3
    repeats_alone: int = 5
    #: A loss scaler that starts anew may skip this many steps until it finds its level.
    startup_steps: int = 20

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._bad_gradients = 0

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if vitals.learning_rate is None:
            return None
        if not vitals.rates.repeats:
            self._bad_gradients = 0
            closed, self._symptom = self._symptom, None
            return replace(closed, open=False, last=vitals.previous_step) if closed else None
        norm = vitals.grad_norm
        if norm is not None:  # a finite norm says that this step was made
            self._bad_gradients = 0 if isfinite(norm) else self._bad_gradients + 1
        if self._symptom is None:
            self._symptom = self._judge(vitals)
            return self._symptom
        return None

    def _judge(self, vitals: Vitals) -> Symptom | None:
        loss, norm, repeats = vitals.loss, vitals.grad_norm, vitals.rates.repeats
        lost = loss is not None and (not isfinite(loss) or (loss == 0.0 and vitals.supervised))
        if lost and not faded(vitals) and repeats >= self.repeats_beside_zero_loss and vitals.rate_frozen(moves=1):
            return self._state("critical", vitals, self.says)
        steps = self._bad_gradients * vitals.usual_window
        bad = self._bad_gradients >= self.repeats_beside_bad_gradient and steps > self.startup_steps
        if bad and vitals.rate_frozen(moves=1):
            return self._state("critical", vitals, self.says)
        if repeats < self.repeats_alone or not vitals.rate_frozen():
            return None
        if norm is not None or vitals.run.get("fp16") is not True:
            return self._state("info", vitals, self.says_alone)
        known = vitals.run.get("lr_scheduler_type") in FALLS_AT_ONCE
        return self._state("critical" if known else "warning", vitals, self.says_alone)

    def _state(self, severity: Severity, vitals: Vitals, says: str) -> Symptom:
        rate, rows = vitals.learning_rate or 0.0, float(vitals.rates.repeats)
        onset = vitals.rates.frozen_since - vitals.window + 1
        return self.symptom(severity, onset, vitals.step, says=says, value=rate, repeats=rows, peak=vitals.rates.highest)

    @property
    def settled(self) -> bool:
        return self._symptom is None and not self._bad_gradients

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            evidence = {**self._symptom.evidence, "repeats": float(vitals.rates.repeats)}
            yield replace(self._symptom, last=vitals.step, evidence=evidence)

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.has_learning_rate else say("no learning rate was logged")
