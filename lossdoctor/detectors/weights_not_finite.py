from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lossdoctor.base import Detector
from lossdoctor.model import Record, Symptom
from lossdoctor.probe_columns import NONFINITE_WEIGHTS, NOT_SAVED, WEIGHTS
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class WeightsNotFinite(Detector):
    """Trained weights hold NaN or infinity.

    ## What it watches
    Live, all trainable parameters, each time that a checkpoint is about to be saved and once after NaN losses were seen. A
    checkpoint that would hold such weights is not saved, so that `save_total_limit` cannot delete the last good one for it.

    ## Why it matters
    One NaN in a weight makes every output NaN. Such a model cannot be trained further, and is of no use to anybody.

    ## What it misses
    Weights that are ruined and still finite (see `loss-divergence`), frozen weights, and the parts of sharded weights that
    other processes hold. A log says nothing of weights.
    """

    series = "weights"
    kinds = ("probe",)
    says_not_saved = "{bad:.0f} of {weights:.0f} trained tensors hold NaN or infinity at step {onset:,}: they are no longer saved"
    says = "{bad:.0f} of {weights:.0f} trained tensors hold NaN or infinity at step {onset:,}"

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        bad = record.values.get(NONFINITE_WEIGHTS)
        if bad is None:
            return None
        known = self._symptom
        if not bad:
            self._symptom = None
            return replace(known, open=False, last=record.step) if known else None
        onset = known.onset if known else record.step
        says = self.says_not_saved if record.values.get(NOT_SAVED) else self.says
        weights = record.values.get(WEIGHTS, bad)
        self._symptom = self.symptom("critical", onset, record.step, says=says, bad=bad, weights=weights)
        return None if known else self._symptom

    @property
    def settled(self) -> bool:
        return True

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            yield self._symptom
