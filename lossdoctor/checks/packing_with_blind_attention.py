from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.model import Finding, Severity
from lossdoctor.plan import Plan
from lossdoctor.remedies import separated_examples


@dataclass(eq=False, repr=False)
class PackingWithBlindAttention(Check):
    """Packed examples can see each other.

    ## What it looks at
    Packing or padding-free batches beside the attention kernel: FlashAttention takes the boundaries of packed examples from the
    position ids, others do not. A warning for padding-free batches, a note for packing. LLaMA-Factory and axolotl have masks of
    their own.

    ## Why it matters
    Each example attends to those before it, which have nothing to do with it: the loss begins far too high in padding-free
    batches (https://github.com/hiyouga/LlamaFactory/issues/9631), and a little too high in packed ones
    (https://huggingface.co/docs/trl/sft_trainer).

    ## What it misses
    Configurations that do not name the kernel.
    """

    title = "packed examples that see each other"

    def look(self, plan: Plan) -> Finding | None:
        run, kernel = plan.run, plan.run.words("attn_implementation")
        packed, free = run.get("packing") is True, run.get("padding_free") is True
        tools = any(tool in run.words("framework") for tool in ("llama-factory", "axolotl", "unsloth"))
        if not (packed or free) or kernel not in hardware.BLIND_KERNELS or tools:
            return None
        severity: Severity = "warning" if free else "info"
        what = say("padding-free batches are") if free else say("packing is")
        words = say("{what} on with {kernel} attention, which does not keep examples apart", what=what, kernel=kernel)
        return self.finding(severity, words, say("attn_implementation: {kernel}", kernel=kernel), remedies=separated_examples())
