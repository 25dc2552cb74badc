from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Cause, Opinion
from lossdoctor.language import say
from lossdoctor.model import Chart, Symptom
from lossdoctor.signs import Signs


@dataclass(eq=False, repr=False)
class LossScaleWarmup(Cause):
    """The loss scaler is finding its level: a few skipped steps, by design.

    ## How we tell
    Non-finite gradient norms before the first finite one, or a single one later, beside a normal loss; a learning rate at 0
    for the first steps of an fp16 run. They heal by themselves.

    ## What else it could be
    Steps that go on being skipped: then the learning rate freezes and this page does not apply.

    ## Remedies and their sources
    None: a few skipped steps are how the scaler works. It starts at 65,536, halves on overflow and doubles after 2,000 good steps
    (https://docs.pytorch.org/docs/stable/_modules/torch/cuda/amp/grad_scaler.html).
    """

    title = "the loss scaler is finding its level"
    confirmed = 4
    decide_by = "look at the next rows: it is over within a few dozen steps"
    normal = True
    few: int = 50
    #: Rows that somebody pastes to ask about them.
    pasted: int = 5

    def weigh(self, chart: Chart) -> Opinion | None:
        signs = Signs(chart)
        if signs.broken or signs.precision == "bf16" or chart.seen("learning-rate-zero"):
            return None
        seen = tuple(s for s in chart.all("gradient-not-finite", "skipped-steps") if self._expected(s))
        rates = chart.outline.there("rate")
        if seen and chart.outline.rows > self.pasted and (chart.outline.typical_norm is None or (rates and not any(rates))):
            seen = tuple(s for s in seen if s.slug == "skipped-steps" and any(rates))  # no step was ever made
        if not seen:
            return self._warm_up(chart)
        opinion = Opinion(seen)
        opinion.add(4, say("the loss stayed normal and the steps are few"))
        if signs.precision == "fp16" or (hardware.uses_deepspeed(chart.run) and signs.precision is None):
            opinion.add(2, say("fp16 training has a loss scaler"))
        if any(not s.open for s in seen) or all(s.slug == "skipped-steps" for s in seen):
            opinion.add(2, say("it healed by itself"))
        opinion.explanation = say(
            "The scaler starts high (65,536) and halves whenever a gradient overflows; each time it skips "
            "one optimizer step, and the learning rate waits. Later it doubles every 2,000 good steps and "
            "may skip one again. Nothing is lost."
        )
        return opinion

    def _warm_up(self, chart: Chart) -> Opinion | None:
        """A few pasted rows that begin at a learning rate of 0: that is where a warm-up begins."""
        rates = chart.outline.there("rate")
        if not 1 < len(rates) <= self.pasted or rates[0] != 0.0 or rates[-1] <= 0.0:
            return None
        opinion = Opinion(())
        opinion.add(4, say("the learning rate is 0 in the first row and {rates:.2g} in the last", rates=rates[-1]))
        opinion.explanation = say(
            "A warm-up begins at a learning rate of 0, so the first step changes nothing; it rises from there."
        )
        return opinion

    def _expected(self, symptom: Symptom) -> bool:
        if symptom.severity != "info":
            return False
        return symptom.evidence.get("skipped", symptom.evidence.get("skipped_rows", 1.0)) <= self.few
