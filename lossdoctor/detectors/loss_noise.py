from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lossdoctor.base import Detector
from lossdoctor.model import Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LossNoise(Detector):
    """The rows scatter so much that the curve is hard to read.

    ## What it watches
    The scatter of `loss` from row to row around its trend: more than a quarter of the level.

    ## Why it matters
    Small batches, or few steps per row. The run may be as good as any other, but neither the eye nor a rule can tell a
    change of 10 % in it. A larger effective batch, or more steps per row, makes the curve readable.

    ## What it misses
    Whether the noise comes from small batches or from data of very different difficulty.
    """

    incident = "scatter"
    says = "the rows scatter by {noise:.0%} of the level: changes smaller than that cannot be seen"
    rows: int = 20
    share: float = 0.25
    #: Below this share of the start, relative scatter says nothing: the loss is nearly 0.
    faint: float = 0.05

    def so_far(self, vitals: Vitals) -> Iterable[Symptom]:
        return ()  # a note, for the end

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        curve = vitals.curve
        if curve.rows < self.rows or curve.recent <= self.faint * abs(curve.start) or not vitals.loss_tells:
            return
        noise = curve.jitter / curve.recent
        if noise > self.share:
            yield self.symptom("info", vitals.first_step or 1, vitals.step, noise=noise, level=curve.recent)
