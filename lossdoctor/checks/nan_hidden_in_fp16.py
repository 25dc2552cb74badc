from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.model import Finding
from lossdoctor.plan import Plan
from lossdoctor.remedies import show_nan


@dataclass(eq=False, repr=False)
class NanHiddenInFp16(Check):
    """In an fp16 run the log would not show a NaN.

    ## What it looks at
    fp16 with `logging_nan_inf_filter` on, which is the default.

    ## Why it matters
    The Trainer writes the mean of the window in place of a NaN loss: a run that is lost reads 0.0 or a plausible number, and the
    step is applied all the same (https://github.com/huggingface/trl/issues/6702). It is a note, since nothing has gone wrong yet.

    ## What it misses
    NaN in bf16 and fp32, where it is rarer.
    """

    title = "a log that hides NaN"
    place = 8

    def look(self, plan: Plan) -> Finding | None:
        if plan.precision != "fp16" or plan.get("logging_nan_inf_filter") is False:
            return None
        words = say("fp16 can overflow, and the log filter would show a NaN loss as 0.0 or as the mean of the rows before")
        stated = "logging_nan_inf_filter" in plan.run.facts
        because = say("logging_nan_inf_filter: true") + ("" if stated else say(", the default"))
        return self.finding("info", words, because, remedies=(show_nan(),))
