from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.budgets import chart_of
from lossdoctor.families import billions
from lossdoctor.language import say
from lossdoctor.learning_rates import LORA, OTHER_SCALE, Band, against, band_of, lowered, raised, short
from lossdoctor.model import Finding, Remedy, Severity
from lossdoctor.plan import Plan
from lossdoctor.slips import in_times
from lossdoctor.tasks import PREFERENCE, REINFORCEMENT, SMALL_MODELS


@dataclass(eq=False, repr=False)
class LearningRateUnusual(Check):
    """The learning rate is far from those that work for this way of training.

    ## What it looks at
    The rate against what is usual for LoRA, for all weights and for preference tuning, by the size of the model. Optimizers whose
    rate is on another scale (SGD, Adafactor, Lion, …) are left alone. Full fine-tuning of small models bears much more, and so
    does training from scratch.

    ## Why it matters
    LoRA wants about ten times the rate of all weights (https://thinkingmachines.ai/blog/lora/): at the rate of full fine-tuning
    its curve is flat. All weights at the rate of LoRA leave the valley. The bands say where a good rate is likely to lie, not
    that others fail.

    ## What it misses
    A rate within its band that is wrong for the data, and optimizers that a script makes by itself.
    """

    title = "learning rate of another way of training"
    place = 2
    #: Times below the lowest usual rate: from here on it is that of full fine-tuning; short of that it is a note.
    low: float = 4.0
    slightly_low: float = 1.5
    #: Times above the highest usual rate in supervised tuning, and from which on it is a note; in preference tuning and
    #: reinforcement learning.
    high: float = 3.0
    slightly_high: float = 2.0
    high_otherwise: float = 10.0
    #: The rate from which on AdamW leaves the valley whatever it trains, small models too.
    never: float = 5e-3
    #: Billions of parameters below which all weights bear the rates of small models: SmolLM2-1.7B was tuned at 3e-4.
    small: float = 2.0

    def look(self, plan: Plan) -> Finding | None:
        rate, band = plan.get("learning_rate"), band_of(plan.run)
        if not isinstance(rate, (int, float)) or band is None or self._other_optimizer(plan):
            return None
        if rate <= 0:
            new = Remedy(
                say("Set it to {usual}", usual=short(band.usual)),
                band.words,
                {"learning_rate": band.usual},
                "none",
                band.sources or LORA,
            )
            words = say("the learning rate is {rate}: no step changes a weight", rate=short(rate))
            return self.finding("critical", words, self._stated(plan), remedies=(new,))
        chart, supervised = chart_of(plan), band.supervised
        times = self._too_high(plan, float(rate), band)
        if rate > self.never * 1.0001 or times:
            words = say("{rate}; this is {rate2} the highest of them", rate=against(rate, band), rate2=in_times(rate / band.high))
            sure: Severity = (
                "warning" if rate > self.never or times >= (self.high if supervised else self.high_otherwise) else "info"
            )
            return self.finding(sure, words, self._stated(plan), *self._sources(band), remedies=(lowered(chart),))
        if not band.known or rate * self.slightly_low >= band.low:
            return None
        severity: Severity = "warning" if rate * self.low <= band.low and band.lora and supervised else "info"
        because = [self._stated(plan), *self._sources(band)]
        if supervised and band.lora and not plan.run.words("trainer", "framework").strip():
            because.append(
                say("in preference tuning and reinforcement learning such a rate is usual: name it with trainer=dpo or grpo")
            )
        higher = raised(chart)
        return self.finding(severity, against(rate, band), *because, remedies=(higher,) if higher else ())

    def _too_high(self, plan: Plan, rate: float, band: Band) -> float:
        """How many times the highest usual rate this is; 0 where that is not too much, or nobody knows."""
        words = plan.run.words("model_name_or_path", "model_type", "trainer")
        size, partly = billions(plan.run), "freeze" in plan.run.words("finetuning_type")
        robust = any(name in words for name in (*SMALL_MODELS, "pretrain"))
        robust = robust or (size is not None and size < self.small and not band.lora)
        times = rate * 1.0001 / band.high
        sure = band.known or plan.get("task") in (PREFERENCE, REINFORCEMENT)  # there the band is wide enough for both
        return times if sure and not (robust or partly) and times >= self.slightly_high else 0.0

    @staticmethod
    def _other_optimizer(plan: Plan) -> bool:
        """Whether the optimizer is none that the bands are of."""
        optimizer = plan.run.words("optim")
        return bool(optimizer) and ("adam" not in optimizer or any(name in optimizer for name in OTHER_SCALE))

    @staticmethod
    def _stated(plan: Plan) -> str:
        return say(
            "learning_rate: {learning_rate}, from {source}",
            learning_rate=short(plan.get("learning_rate")),
            source=plan.run.facts["learning_rate"].source,
        )

    @staticmethod
    def _sources(band: Band) -> tuple[str, ...]:
        return (say("usual rates: {first_sources}", first_sources=band.sources[0]),) if band.sources else ()

    def blind(self, plan: Plan) -> str | None:
        return say("the learning rate is not stated") if plan.get("learning_rate") is None else None
