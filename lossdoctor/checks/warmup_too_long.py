from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import NO_ROWS, Check, counted, worked_out
from lossdoctor.budgets import warm_up
from lossdoctor.language import say
from lossdoctor.learning_rates import short
from lossdoctor.model import Finding
from lossdoctor.plan import Plan


@dataclass(eq=False, repr=False)
class WarmupTooLong(Check):
    """The warm-up takes most of the run, or more than all of it.

    ## What it looks at
    `warmup_steps` or `warmup_ratio` against all optimizer steps of the run.

    ## Why it matters
    The rate that was asked for is never reached, or only for the last steps: the run trains at a fraction of it. 5 to 10 % of the
    steps are usual (https://docs.unsloth.ai/get-started/beginner-start-here/lora-hyperparameters-guide).

    ## What it misses
    A warm-up of a fixed number of steps where nobody says how many examples there are.
    """

    title = "a warm-up that outlasts the training"
    place = 3
    #: Share of the run from which on a warm-up takes most of it.
    most: float = 0.5

    def look(self, plan: Plan) -> Finding | None:
        if plan.warmup is None or plan.total_steps is None or plan.get("lr_scheduler_type") == "constant":
            return None
        warm, total = plan.warmup.whole, plan.total_steps.whole
        if warm <= 1 or warm <= self.most * total:
            return None
        rate, reached = plan.get("learning_rate"), total / warm
        words = say("the warm-up takes {warm}, and the run has {total:,}", warm=counted(warm, "step"), total=total)
        if reached < 1:
            asked = say(" of {rate}", rate=short(rate)) if isinstance(rate, float) else ""
            words += say(": the learning rate{asked} is never reached, {reached:.0%} of it at most", asked=asked, reached=reached)
        else:
            words += say(": only {total:,} of them come after it", total=total - warm)
        return self.finding("warning", words, *worked_out(plan.total_steps, "steps"), remedies=(warm_up(total),))

    def blind(self, plan: Plan) -> str | None:
        asked = plan.get("warmup_steps", 0) > 1 and plan.get("lr_scheduler_type") != "constant"
        return say(NO_ROWS) if asked and plan.total_steps is None else None
