from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Detector
from lossdoctor.model import Record, Symptom
from lossdoctor.vitals import Vitals

#: Columns of losses that have no reference model (ORPO, CPO, SimPO): their rewards are not 0 at the start.
REFERENCE_FREE = ("nll_loss", "log_odds_ratio", "log_odds_chosen", "margin_dpo")


@dataclass(eq=False, repr=False)
class PreferenceStartOffset(Detector):
    """Preference tuning does not start from its reference model.

    ## What it watches
    `rewards/chosen` and `rewards/rejected` of the first row, if it covers few steps. A reward there is β times the log ratio
    between the model and its reference: before the first step both are the same model, so it is 0. More than 1 in either
    is a warning. Losses without a reference model are left alone: there the rewards are multiples of `logps/chosen` and
    `logps/rejected`.

    ## Why it matters
    The model is then pulled towards, or away from, something else than what it started as: the reference is another
    checkpoint, an adapter was loaded for only one of the two, or they run in different precision.

    ## What it misses
    Logs that leave out the first steps or whose first row averages many, and references that differ only a little.
    """

    series = "rewards/chosen"
    says = (
        "the rewards are {chosen:+.3g} (chosen) and {rejected:+.3g} (rejected) at step {last:,}, where model and reference "
        "should still be the same and both 0"
    )
    reward: float = 1.0
    steps: int = 25
    #: Where the log has no steps, a first row from after this epoch is not that of the first step.
    epoch: float = 0.05
    #: How alike reward / log probability must be for both answers to say that there is no reference model.
    alike: float = 0.05

    def __post_init__(self) -> None:
        self._looked = False

    @property
    def settled(self) -> bool:
        return self._looked

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if self._looked:
            return None
        self._looked = True
        values = record.values
        chosen, rejected = values.get("rewards/chosen"), values.get("rewards/rejected")
        if chosen is None or rejected is None or vitals.step > self.steps or any(name in values for name in REFERENCE_FREE):
            return None
        if vitals.begins_late or (vitals.run.numbered and (vitals.first_epoch or 0.0) > self.epoch):
            return None
        if not max(abs(chosen), abs(rejected)) > self.reward:  # also where one is NaN
            return None
        logps = values.get("logps/chosen"), values.get("logps/rejected")
        if logps[0] and logps[1]:
            factors = chosen / logps[0], rejected / logps[1]  # without a reference both are beta, which is above 0
            if factors[0] > 0 and abs(factors[0] - factors[1]) < self.alike * factors[0]:
                return None
        return self.symptom("warning", 1, vitals.step, chosen=chosen, rejected=rejected, steps=float(vitals.step))
