from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lossdoctor.base import Detector
from lossdoctor.model import Severity, Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LossNearZero(Detector):
    """The training loss has fallen to nearly nothing.

    ## What it watches
    The last five losses against the first ones: less than 1 % of them, reached row by row. An evaluation loss that fell
    with it shows an easy task and makes it a note; so it is before the examples come again, and in preference tuning.

    ## Why it matters
    Text is never that predictable. After several epochs the model has learned its examples by heart; within the first epoch
    the answer is in the prompt, the same examples come again and again, or only fixed words of a template have labels.

    ## What it misses
    A memorised set whose loss stops at 2 or 3 % of its start.
    """

    says = "the training loss fell to {level:.2g}, {share:.1%} of its start ({start:.4g}), by epoch {epoch:.3g}"
    says_many_epochs = "the training loss fell to {level:.2g}, {share:.1%} of its start ({start:.4g}), by epoch {epoch:,.0f}"
    says_without_epoch = "the training loss fell to {level:.2g}, {share:.1%} of its start ({start:.4g})"
    share: float = 0.01
    start: float = 0.3
    rows: int = 8
    #: Before the examples come again it is a note: the task may be that easy.
    epochs: float = 1.5
    #: An evaluation loss below this many times the training loss, or this share of the start, fell with it.
    eval_times: float = 5.0
    eval_share: float = 0.1

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        curve = vitals.curve
        if curve.rows < self.rows or curve.start < self.start or not 0 < curve.recent < self.share * curve.start:
            return
        if not vitals.loss_tells:
            return
        columns = vitals.history.columns()
        below = (step for step, loss in zip(columns["step"], columns["loss"], strict=True) if loss < self.share * curve.start)
        onset = int(next(below, vitals.step))
        easy = vitals.eval_loss is not None and vitals.eval_loss <= max(
            self.eval_times * curve.recent, self.eval_share * curve.start
        )
        early = vitals.epoch is not None and vitals.epoch < self.epochs
        severity: Severity = "info" if easy or early or not vitals.supervised else "warning"
        share = curve.recent / curve.start
        evidence: dict[str, Any] = {"level": curve.recent, "share": share, "start": curve.start}
        if vitals.epoch is None:
            yield self.symptom(severity, onset, vitals.step, says=self.says_without_epoch, **evidence)
        else:
            says = self.says if vitals.epoch < 99.95 else self.says_many_epochs
            yield self.symptom(severity, onset, vitals.step, says=says, epoch=vitals.epoch, **evidence)
