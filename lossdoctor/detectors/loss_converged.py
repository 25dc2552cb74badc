from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lossdoctor.base import LOSS_TELLS_NOTHING, Detector, counted
from lossdoctor.language import say
from lossdoctor.model import Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LossConverged(Detector):
    """The loss fell, and has come to rest.

    ## What it watches
    The slope of the last 40 % of `loss`: with 90 % confidence it changes the level by less than 6 % either way. A slope that
    is merely not significant is not enough: then there is too little evidence, and nothing is said.

    ## Why it matters
    More steps under this schedule will not help. That is what the end of a good run looks like; whether the level is good
    enough only the evaluation can tell.

    ## What it misses
    A rest that the decayed learning rate brought about: with a new schedule the loss may fall further.
    """

    incident = "flat"
    says = "the loss fell from {start:.4g} and has come to rest at {level:.4g}: {change:+.1%} over the last 40 % of the rows"
    rows: int = 20
    fell: float = 0.03
    rest: float = 0.06

    def so_far(self, vitals: Vitals) -> Iterable[Symptom]:
        return ()  # a note, for the end

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        trend = vitals.trend
        if trend is None or self.blind(vitals) or vitals.lost or trend.drop <= self.fell:
            return
        if trend.level >= min(trend.start, vitals.curve.start):
            return  # what fell had risen before
        if -self.rest < trend.late_low and trend.late_high < self.rest:
            onset = int(vitals.step - 0.4 * (vitals.step - (vitals.first_step or 1)))
            evidence: dict[str, Any] = {
                "start": vitals.curve.start,
                "level": trend.level,
                "change": trend.late_change,
                "rate_left": trend.rate_left,
            }
            yield self.symptom("info", onset, vitals.step, **evidence)

    def blind(self, vitals: Vitals) -> str | None:
        if not vitals.loss_tells:
            return say(LOSS_TELLS_NOTHING)
        return (
            say("{rows} with a usable loss: too few for a trend", rows=counted(vitals.curve.rows, "row"))
            if vitals.curve.rows < self.rows
            else None
        )
