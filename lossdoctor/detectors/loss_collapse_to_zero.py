from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite

from lossdoctor.base import Detector
from lossdoctor.language import say
from lossdoctor.model import Record, Severity, Symptom
from lossdoctor.vitals import Vitals
from lossdoctor.zeros import ZeroRun


@dataclass(eq=False, repr=False)
class LossCollapseToZero(Detector):
    """The training loss is exactly 0.0 from some row on.

    ## What it watches
    `loss`, together with the gradient norm, the learning rate and the evaluation loss of the same rows. With a non-finite
    gradient norm or evaluation loss one row is enough (three steps where fp16 is known to be on: its scaler may skip one or
    two); without any such witness it waits for several. Zeros beside a gradient of 0 stay a warning. The row before the
    zeros averages good and NaN steps: the step of the first NaN is solved for from it.

    ## Why it matters
    A cross-entropy is never exactly 0. The Trainer replaces a NaN loss by 0.0 in its log (`logging_nan_inf_filter`), so
    this is how a destroyed run looks: every step after it is wasted, and so is every checkpoint, unless a loss scaler threw
    these steps away: then the weights are those from before.

    ## What it misses
    A loss that faded to 0 row by row, zeros with a finite and changing gradient norm, zeros beside a finite evaluation loss
    and the zero losses of reinforcement learning and preference tuning are real zeros and are left alone.
    """

    kinds = ("train", "eval")
    says = "the loss, {level_before:.4g} before, is exactly 0.0 from step {onset:,} on"
    says_about = "the loss, {level_before:.4g} before, is exactly 0.0 from about step {onset:,} on"
    says_from_start = "the loss is exactly 0.0 from the first row on"
    rows_from_start: int = 2
    rows_without_witness: int = 3
    rows_with_zero_gradient: int = 6
    rows_to_heal: int = 2
    #: In fp16 the scaler skips a step that overflows; one or two of them heal by themselves.
    steps_in_fp16: int = 3

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._run = ZeroRun()
        self._healing = 0

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if record.kind == "eval":
            self._run.see_evaluation(vitals)
            return self._judge(vitals) if self._run.rows else None
        if vitals.loss is None:
            return None
        if vitals.loss != 0.0:
            return self._not_zero(vitals)
        self._healing = 0
        self._run.add(vitals)
        return self._judge(vitals)

    def _not_zero(self, vitals: Vitals) -> Symptom | None:
        """A row with a number in it: the run is well, or one good step got into a window of NaN steps."""
        healed = self._symptom
        if healed is not None:
            broken = vitals.grad_norm is not None and not isfinite(vitals.grad_norm)
            self._healing = 0 if broken else self._healing + 1
            if self._healing < self.rows_to_heal:
                return None
        if self._run.rows:
            self._run = ZeroRun()
        self._symptom = None
        return replace(healed, open=False, last=vitals.previous_step) if healed else None

    def _judge(self, vitals: Vitals) -> Symptom | None:
        severity = self._severity(vitals)
        known = self._symptom
        if known is None:
            self._symptom = self._state(severity, vitals) if severity else None
            return self._symptom
        if severity == "critical" and known.severity == "warning":
            self._symptom = replace(self._state("critical", vitals), onset=known.onset)
            return self._symptom
        if self._run.real(vitals):
            self._symptom = None
            return replace(known, open=False, last=self._run.last)
        return None

    def _severity(self, vitals: Vitals, end: bool = False) -> Severity | None:
        """How bad the zeros are by their witnesses; None while there are too few to say."""
        run = self._run
        if run.real(vitals):
            return None
        if run.not_finite or run.reward_nan:
            skipped = vitals.run.get("fp16") is True and run.last - run.first + 1 < self.steps_in_fp16
            return "warning" if skipped else "critical"
        if not vitals.supervised:
            return None
        if run.eval_nan or run.frozen:
            return "critical"
        if run.from_start:
            alone = vitals.rows == 1 and end and (run.zero_gradient or run.constant)
            return "critical" if run.rows >= self.rows_from_start or alone else "warning" if end else None
        if run.zero_gradient:  # no labels, or a margin loss with nothing left to learn: the weights are sound
            return "warning" if run.rows >= self.rows_with_zero_gradient else None
        if run.rows < (2 if end else self.rows_without_witness):
            return "warning" if end else None
        return "warning" if run.evaluated(vitals) and not run.constant else "critical"

    def _state(self, severity: Severity, vitals: Vitals) -> Symptom:
        evidence = self._run.evidence(vitals)
        exact = evidence["first_nan_earliest"] == evidence["first_nan_latest"]
        says = self.says_from_start if self._run.from_start else self.says if exact else self.says_about
        return self.symptom(severity, self._run.first_nan(vitals)[0], self._run.last, says=says, **evidence)

    @property
    def settled(self) -> bool:
        return self._symptom is None and not self._run.rows

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        known = self._symptom
        if known is not None:
            yield replace(self._state(known.severity, vitals), onset=known.onset)
        elif self._run.rows and (severity := self._severity(vitals, end=True)):
            yield self._state(severity, vitals)

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.has_loss else say("no training loss was logged")
