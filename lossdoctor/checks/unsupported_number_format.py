from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Check
from lossdoctor.families import family_of
from lossdoctor.language import say
from lossdoctor.model import Finding, Remedy
from lossdoctor.plan import Plan
from lossdoctor.remedies import PRECISION_SOURCE, other_format

ARGUMENTS = "https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments"


@dataclass(eq=False, repr=False)
class UnsupportedNumberFormat(Check):
    """The GPU does not compute in the number format that the configuration asks for.

    ## What it looks at
    bf16 on a GPU before Ampere (compute capability below 8.0), 8-bit weights on one before Turing (7.5), fp16 on a GTX 16xx, tf32
    before Ampere.

    ## Why it matters
    bf16 is emulated there: the numbers are right, and each step takes about four times as long; `torch.cuda.is_bf16_supported()`
    may say yes all the same (https://earino.github.io/applied-deep-learning/site/blog/05_bf16_on_t4.html). 8-bit weights and fp16
    come out wrong on those GPUs (https://github.com/tloen/alpaca-lora/issues/418). TrainingArguments refuses tf32 where the GPU
    has none.

    ## What it misses
    A GPU that nobody names, and accelerators that are not from NVIDIA.
    """

    title = "number format that the GPU does not support"

    def look(self, plan: Plan) -> Finding | None:
        run, capability = plan.run, hardware.compute_capability(plan.run)
        if run.get("tf32") is True and capability and capability < hardware.BF16_CAPABILITY:
            words = say(
                "tf32 needs compute capability 8.0, {gpu} has {capability}",
                gpu=run.get("gpu") or say("this GPU"),
                capability=capability,
            )
            off = Remedy(say("Leave tf32 out"), say("only Ampere and newer GPUs have it"), {"tf32": None}, "none", (ARGUMENTS,))
            return self.finding("critical", words, say("TrainingArguments refuses it there with an error"), remedies=(off,))
        found = hardware.unsupported(run)
        if found is None:
            return None
        words, change = found
        if "bf16" not in change:
            return self.finding(
                "warning", words, say("the libraries return wrong numbers there instead of an error"), remedies=other_format(run)
            )
        return self.finding(
            "warning", say("{words}: it is emulated, and about four times slower", words=words), remedies=self._narrower(plan)
        )

    @staticmethod
    def _narrower(plan: Plan) -> tuple[Remedy, ...]:
        """fp16, unless the model is known to overflow in it."""
        family = family_of(plan.run)
        if family and family.overflows:
            why = say("{family_name} is no model for fp16: {fp16}", family_name=family.name, fp16=say(family.fp16))
            return (
                Remedy(say("Train in fp32: switch bf16 off"), why, {"bf16": False}, "medium", (PRECISION_SOURCE, family.source)),
            )
        why = say("its tensor cores compute fp16; the loss scale and gradient clipping watch over its narrow range")
        change = {"bf16": False, "fp16": True}
        return (Remedy(say("Train in fp16, in which this GPU is fast"), why, change, "low", (PRECISION_SOURCE,)),)

    def blind(self, plan: Plan) -> str | None:
        asked = plan.precision in ("fp16", "bf16") or hardware.eight_bit(plan.run)
        return hardware.unknown_gpu(plan.run) if asked else None
