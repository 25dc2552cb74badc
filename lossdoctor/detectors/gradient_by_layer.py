from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

from lossdoctor.base import Detector
from lossdoctor.language import say
from lossdoctor.model import Record, Symptom
from lossdoctor.probe_columns import GRADIENT_NORM
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class GradientByLayer(Detector):
    """The gradient after an anomaly, layer by layer.

    ## What it watches
    Live, after a warning: the gradient norms of each block of layers, of the embeddings and of the head, in the next step that
    is logged. They are scaled to the logged norm, which is measured before clipping.

    ## Why it matters
    A gradient that comes from one layer alone points at that layer; one that is spread evenly points at the data, the loss or
    the learning rate.

    ## What it misses
    The steps before the anomaly: nothing is measured while all is well. With DeepSpeed and FSDP a process has but its own part.
    """

    series = "grad_norm"
    kinds = ("probe",)
    says = "after the anomaly the gradient norm is largest in {name}"
    #: Share of the squared norm from which on one group is said to carry the gradient.
    dominant: float = 0.8
    #: A group below this share of the largest norm hardly learns.
    silent: float = 0.01
    #: Measurements that are told: after so many anomalies the first ones say enough.
    most: int = 3

    def __post_init__(self) -> None:
        self._told: list[str] = []

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        start = len(GRADIENT_NORM)
        norms: dict[str, Any] = {name[start:]: norm for name, norm in record.values.items() if name.startswith(GRADIENT_NORM)}
        if not norms:
            return None
        words = self._words(norms).replace("{", "").replace("}", "")
        if words in self._told or len(self._told) >= self.most:
            return None
        self._told.append(words)
        return self.symptom("info", record.step, record.step, said=words, **norms)

    def _words(self, norms: dict[str, float]) -> str:
        where = say("of the {number_of_norms} groups of layers", number_of_norms=len(norms))
        bad = [name for name, norm in norms.items() if not isfinite(norm)]
        if len(bad) == len(norms):
            return say(
                "after the anomaly the gradient of all {number_of_norms} groups of layers is not finite",
                number_of_norms=len(norms),
            )
        if bad:
            return say(
                "after the anomaly the gradient is not finite in {number_of_bad} {where}: {bad}",
                number_of_bad=len(bad),
                where=where,
                bad=self._some(bad),
            )
        total = sqrt(sum(norm * norm for norm in norms.values()))
        name, largest = max(norms.items(), key=lambda item: item[1])
        if not total:
            return say("after the anomaly the gradient of every layer is 0")
        share = (largest / total) ** 2
        quiet = [other for other, norm in norms.items() if norm <= self.silent * largest]
        words = say(
            "after the anomaly the gradient norm is largest in {name}, {largest:.3g}: {share:.0%} of the squared norm",
            name=name,
            largest=largest,
            share=share,
        )
        if share < self.dominant:
            words = say(
                "after the anomaly no layer stands out in the gradient: {name} has the largest norm, {largest:.3g}",
                name=name,
                largest=largest,
            )
        return words + (say("; next to none reaches {quiet}", quiet=self._some(quiet)) if quiet else "")

    @staticmethod
    def _some(names: list[str]) -> str:
        return ", ".join(names[:3]) + (
            say(" and {number_of_names} more", number_of_names=len(names) - 3) if len(names) > 3 else ""
        )

    @property
    def settled(self) -> bool:
        return True
