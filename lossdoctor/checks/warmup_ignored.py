from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.model import Finding, Remedy
from lossdoctor.plan import Plan

SCHEDULES = "https://huggingface.co/docs/transformers/main_classes/optimizer_schedules"


@dataclass(eq=False, repr=False)
class WarmupIgnored(Check):
    """A warm-up is asked for, and the schedule does not have one.

    ## What it looks at
    `lr_scheduler_type: constant` beside `warmup_steps` or `warmup_ratio`.

    ## Why it matters
    Plain `constant` begins at the full rate whatever the warm-up says; `constant_with_warmup` is the schedule that has one
    (https://huggingface.co/docs/transformers/main_classes/optimizer_schedules). It is a note: the QLoRA scripts are written so,
    and train well.

    ## What it misses
    Schedules that a script builds by hand.
    """

    title = "a warm-up that the schedule ignores"
    place = 8

    def look(self, plan: Plan) -> Finding | None:
        steps, share = plan.get("warmup_steps") or 0, plan.get("warmup_ratio") or 0
        if plan.run.words("lr_scheduler_type") != "constant" or not (steps or share):
            return None
        asked = say("{steps:g} steps", steps=steps) if steps else say("{share:.0%} of the run", share=share)
        why = say("the same rate after the warm-up, and a gentler beginning")
        change = {"lr_scheduler_type": "constant_with_warmup"}
        remedy = Remedy(say("Take the constant schedule that warms up"), why, change, "none", (SCHEDULES,))
        words = say(
            "a warm-up of {asked} is asked for, and the schedule `constant` ignores it: the first step has the full rate",
            asked=asked,
        )
        return self.finding("info", words, remedies=(remedy,))
