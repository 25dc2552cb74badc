from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lossdoctor.base import LOSS_TELLS_NOTHING, Detector, counted
from lossdoctor.language import say
from lossdoctor.model import Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LossStillFalling(Detector):
    """The loss is still falling when the log ends.

    ## What it watches
    How much of the descent of `loss` lies in the second half of the optimizer's way, which is the sum of its learning rates:
    on that scale a decayed schedule does not look like a rest. More than a quarter, 4 % of the level and well above noise;
    the last 40 % of the rows must also fall, by 2 % and for certain.

    ## Why it matters
    The run ended before it was done: more epochs or a higher learning rate will give a lower loss for the price of time.

    ## What it misses
    Whether the evaluation would fall as well. After one and a half epochs a training loss that falls may be memorised text,
    so from then on the evaluation loss must still improve.
    """

    incident = "flat"
    says = "the loss was still falling at the end: by {late:.0%} over the last 40 % of the rows, down to {level:.4g}"
    rows: int = 20
    share: float = 0.25
    drop: float = 0.04
    deviations: float = 3.0
    late: float = 0.02
    epochs: float = 1.5
    #: A level that lies by this share above the first rows has climbed before it fell.
    climbed: float = 0.1

    def so_far(self, vitals: Vitals) -> Iterable[Symptom]:
        return ()  # a note, for the end

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        trend = vitals.trend
        if (
            trend is None
            or self.blind(vitals)
            or vitals.lost
            or trend.second_half < self.share
            or trend.second_half_drop < self.drop
        ):
            return
        if trend.second_half_sure < self.deviations or trend.late_high >= 0 or trend.late_change > -self.late:
            return
        if vitals.epoch is not None and vitals.epoch > self.epochs and not vitals.eval_improving:
            return
        if trend.level - vitals.curve.start > max(self.climbed, 2 * trend.noise) * abs(trend.level):
            return  # it comes down from a climb, and is not yet where it began
        evidence: dict[str, Any] = {
            "half": min(1.0, trend.second_half),
            "late": -trend.late_change / (1 - trend.late_change),  # of the level before, so that it is below 1
            "level": trend.level,
            "rate_left": trend.rate_left,
        }
        yield self.symptom("info", vitals.first_step or 1, vitals.step, **evidence)

    def blind(self, vitals: Vitals) -> str | None:
        if not vitals.loss_tells:
            return say(LOSS_TELLS_NOTHING)
        return (
            say("{rows} with a usable loss: too few for a trend", rows=counted(vitals.curve.rows, "row"))
            if vitals.curve.rows < self.rows
            else None
        )
