from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lossdoctor.base import Detector
from lossdoctor.model import Symptom
from lossdoctor.vitals import Vitals


@dataclass
class GradientAlwaysClipped(Detector):
    """Nearly every gradient is clipped.

    ## What it watches
    `grad_norm` in the last 50 rows against `max_grad_norm` (1.0, the default of the Trainer, where it is not known): above it
    in 95 % of them, and one and a half times above it in the middle.

    ## Why it matters
    Every step is then normalised. Adam does not mind, since it is indifferent to the scale of gradients; with SGD it changes
    the effective learning rate. It is a note and needs no action by itself.

    ## What it misses
    The Trainer logs the norm before clipping, and only that of the last step of each row.
    """

    series = "grad_norm"
    says = "{share:.0%} of the last {rows:.0f} gradient norms exceed max_grad_norm ({clip:.3g}), typically {times:.2g}-fold"
    rows: int = 20
    last_rows: int = 50
    share: float = 0.95
    times: float = 1.5

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        clip = vitals.run.get("max_grad_norm", 1.0)
        if not isinstance(clip, (int, float)) or clip <= 0:
            return
        import numpy as np

        columns = vitals.history.arrays()
        there = np.isfinite(columns["norm"])
        norms = columns["norm"][there][-self.last_rows :]
        if len(norms) < self.rows:
            return
        share, times = float((norms > clip).mean()), float(np.median(norms)) / clip
        if share >= self.share and times > self.times:
            onset = int(columns["step"][there][-len(norms)])
            yield self.symptom("info", onset, vitals.step, share=share, rows=float(len(norms)), clip=float(clip), times=times)

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.has_grad_norm else "no gradient norm was logged (transformers logs it since 4.38)"
