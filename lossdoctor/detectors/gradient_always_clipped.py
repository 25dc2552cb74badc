from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from lossdoctor.base import NO_GRADIENT_NORM, Detector
from lossdoctor.language import say
from lossdoctor.model import Symptom
from lossdoctor.stats import median
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
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
    says = "{share:.0%} of the last {rows:.0f} norms exceed max_grad_norm ({clip:.3g}{default}), typically {times:,.3g}-fold"
    rows: int = 20
    last_rows: int = 50
    share: float = 0.95
    times: float = 1.5

    def so_far(self, vitals: Vitals) -> Iterable[Symptom]:
        return ()  # a note, for the end

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        clip = vitals.run.get("max_grad_norm", 1.0)
        if not isinstance(clip, (int, float)) or clip <= 0:
            return
        columns = vitals.history.columns()
        rows = [(step, norm) for step, norm in zip(columns["step"], columns["norm"], strict=True) if isfinite(norm)]
        norms = [norm for _, norm in rows[-self.last_rows :]]
        if len(norms) < self.rows:
            return
        share, times = sum(norm > clip for norm in norms) / len(norms), median(norms) / clip
        if share >= self.share and times > self.times:
            onset = int(rows[-len(norms)][0])
            yield self.symptom(
                "info",
                onset,
                vitals.step,
                words={"default": "" if "max_grad_norm" in vitals.run.facts else say(", the default")},
                share=share,
                rows=float(len(norms)),
                clip=float(clip),
                times=times,
            )

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.has_grad_norm else say(NO_GRADIENT_NORM)
