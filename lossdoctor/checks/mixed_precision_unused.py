from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.model import Finding, Remedy
from lossdoctor.plan import Plan
from lossdoctor.remedies import PRECISION_SOURCE


@dataclass(eq=False, repr=False)
class MixedPrecisionUnused(Check):
    """The run computes in fp32 on a GPU that is made for 16 bits.

    ## What it looks at
    fp16 and bf16 both off, and a GPU of compute capability 8.0 or more.

    ## Why it matters
    Matrix products in bf16 take a fraction of the time and half the memory, with the range of fp32
    (https://docs.pytorch.org/docs/stable/amp.html). It is a note: fp32 is never wrong.

    ## What it misses
    Configurations that say nothing of precision, and weights that are quantised or loaded in 16 bits.
    """

    title = "no mixed precision on a GPU that has it"
    place = 6

    def look(self, plan: Plan) -> Finding | None:
        quantised = plan.get("quantization") or plan.get("tf32") is True
        if plan.precision != "fp32" or not hardware.bf16_capable(plan.run) or quantised:
            return None
        why = say("bf16 reaches as far as fp32 and needs no loss scale")
        change = Remedy(say("Train in bf16"), why, {"bf16": True}, "none", (PRECISION_SOURCE,))
        words = say(
            "fp16 and bf16 are both off, and {gpu} computes bf16 several times faster than fp32",
            gpu=plan.get("gpu") or say("this GPU"),
        )
        return self.finding("info", words, remedies=(change,))
