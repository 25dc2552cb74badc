from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import HIGH, Cause, Opinion
from lossdoctor.budgets import FEW_STEPS, rank_and_modules, small_set, total_steps
from lossdoctor.language import later, say
from lossdoctor.learning_rates import Band, against, band_of, raised, rate_of, short, travel
from lossdoctor.model import Chart, Remedy
from lossdoctor.signs import Signs
from lossdoctor.tasks import adapter

SLOW = later("Training works, but in steps too small to see: at this pace the run would need many times as many of them.")
ADAPTER = later(
    "An adapter begins without any effect and has to get somewhere, so it needs about ten times the rate of all weights."
)


@dataclass(eq=False, repr=False)
class LearningRateTooLow(Cause):
    """The optimizer steps are so short that the weights have hardly moved.

    ## How we tell
    The loss stands still or creeps while the gradient norm is healthy: there is something to learn, and the weights do not go
    there. The rate lies below those that are usual for the way of training; most often it is the rate of full fine-tuning
    used for LoRA. The sum of the rates over all steps bounds how far AdamW can have moved any weight.

    ## What else it could be
    Parameters that are frozen have a gradient norm of 0. Updates lost in 16-bit weights look the same: print their type. Labels
    that do not depend on the input leave nothing to learn at any rate. Very few steps are too few at any rate. A base model
    that already knows the data starts low and stays there.

    ## Remedies and their sources
    Ten times the rate, up to what is usual. The best rate for LoRA is about ten times that for all weights
    (https://thinkingmachines.ai/blog/lora/; sweeps in https://github.com/thinking-machines-lab/tinker-cookbook). A higher rank
    does not help: rank limits what can be stored, not how fast. More epochs at the same rate cost ten times as much.
    """

    title = "the learning rate is too low"
    decide_by = "run 100 steps at ten times the learning rate: the loss must begin to fall"
    #: AdamW moves a weight at most by about the sum of the rates; typical weights are a few hundredths.
    no_way: float = 1e-4
    short_way: float = 1e-2
    #: A loss below this is that of a model that knows the data.
    learned: float = 0.3
    #: Times below the lowest usual rate from which it is sure; up to there other models may want just that.
    clearly_below: float = 3.0
    #: Times below the lowest usual rate from which a rate speaks for itself.
    far_below: float = 10.0
    #: The rate of full fine-tuning, which is too low for an adapter.
    full_rate: float = 5e-5

    def weigh(self, chart: Chart) -> Opinion | None:
        still, rate, band = Signs(chart).still, rate_of(chart), band_of(chart.run)
        if still is None or not rate or (band and rate > band.high) or self._excluded(chart):
            return None
        if not still.sure and not (band and band.known and rate < band.low):
            return None  # nothing was seen not to move: only a rate that is odd by itself counts
        opinion = Opinion(still.because)
        opinion.add(2 if still.sure else 1, still.words)
        if norm := chart.outline.typical_norm:
            opinion.add(1, say("the gradient norm is {norm:.3g}, not 0: there is something to learn", norm=norm))
        if band:
            self._weigh_rate(opinion, rate, band)
        self._weigh_way(opinion, chart)
        if chart.seen("loss-at-chance"):
            opinion.add(-2, say("the loss stands at that of guessing: the model may not see its input at all"))
        odd = band is not None and rate < band.low / self.clearly_below
        if not still.sure or self._half(chart) or not odd:  # which of the two it is, only the types of the weights tell
            opinion.points = min(opinion.points, HIGH - 1)
        opinion.explanation = f"{say(SLOW)} {say(ADAPTER)}" if adapter(chart.run) else say(SLOW)
        return opinion

    def _excluded(self, chart: Chart) -> bool:
        """Whether something else is known to hold the loss where it is."""
        rates, asked = chart.outline.there("rate"), chart.run.get("learning_rate")
        if (chart.outline.level or 0.0) < self.learned or (chart.outline.begins_late and asked is None):
            return True  # nothing is left to learn, or the rate that was set is not in the log
        if len(rates) > 2 and rates[0] < 0.5 * rates[-1] >= 0.49 * max(rates):
            return True  # the warm-up is not over
        others = ("gradient-zero", "learning-rate-zero", "loss-divergence")
        return any(chart.seen(slug) for slug in others)

    def _weigh_rate(self, opinion: Opinion, rate: float, band: Band) -> None:
        """The rate against those that are usual."""
        words = against(rate, band)
        if rate < 0.9 * band.low:
            opinion.add(4 if rate < band.low / self.far_below else 3, words)
        elif rate <= self.full_rate and not band.known:
            opinion.add(
                1, say("the learning rate is {rate}: enough for all weights, ten times too low for an adapter", rate=short(rate))
            )
        elif band.known:
            opinion.add(-1, words)

    def _weigh_way(self, opinion: Opinion, chart: Chart) -> None:
        """How far the weights can have come, and in how many steps."""
        way, steps = travel(chart), total_steps(chart)
        if way is not None and way < self.no_way:
            opinion.add(
                2, say("the rates of all steps add up to {way:.1g}: no weight can have moved by more than about that", way=way)
            )
        elif way is not None and way < self.short_way and (steps or 0) >= FEW_STEPS:
            opinion.add(
                1, say("the rates of all steps add up to {way:.1g}, and AdamW moves a weight by no more than about that", way=way)
            )
        if steps and steps < FEW_STEPS:
            opinion.add(-2, say("the run had only {steps} steps, few at any rate", steps=steps))

    @staticmethod
    def _half(chart: Chart) -> bool:
        return "16" in str(chart.run.get("torch_dtype") or "")

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        raising = raised(chart)
        return (raising, *rank_and_modules(chart), *small_set(chart)) if raising else ()
