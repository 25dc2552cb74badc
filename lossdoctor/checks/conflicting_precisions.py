from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.model import Finding
from lossdoctor.plan import Plan
from lossdoctor.remedies import wider_precision


@dataclass(eq=False, repr=False)
class ConflictingPrecisions(Check):
    """fp16 and bf16 are asked for together.

    ## What it looks at
    `fp16` and `bf16`, or the sections of that name in a DeepSpeed configuration.

    ## Why it matters
    TrainingArguments takes one of them at most and ends with an error
    (https://huggingface.co/docs/transformers/main_classes/trainer); a launcher that sets the other one does the same.

    ## What it misses
    Switches that a script turns on by itself.
    """

    title = "two precisions at once"
    includes = ("fp16-for-bf16-model", "sixteen-bit-weights", "nan-hidden-in-fp16")
    place = 1

    def look(self, plan: Plan) -> Finding | None:
        if plan.get("fp16") is not True or plan.get("bf16") is not True:
            return None
        sources = [say("{name}: true, from {source}", name=name, source=plan.run.facts[name].source) for name in ("fp16", "bf16")]
        words = say("fp16 and bf16 are both on, and a Trainer takes one of them")
        return self.finding("critical", words, *sources, remedies=(wider_precision(plan.run),))
