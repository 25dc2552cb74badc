from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.model import Finding, Remedy
from lossdoctor.plan import Plan

FLASH = "https://github.com/Dao-AILab/flash-attention"


@dataclass(eq=False, repr=False)
class FlashAttentionUnsupported(Check):
    """FlashAttention is asked for where it does not run.

    ## What it looks at
    `attn_implementation` beside the GPU and the precision: FlashAttention 2 and newer need compute capability 8.0, and weights or
    mixed precision of 16 bits.

    ## Why it matters
    The kernel ends the run with an error: it has no code for older GPUs (https://github.com/Dao-AILab/flash-attention), and none
    for fp32.

    ## What it misses
    Whether the package is installed.
    """

    title = "FlashAttention where it does not run"

    def look(self, plan: Plan) -> Finding | None:
        kernel, capability = plan.run.words("attn_implementation"), hardware.compute_capability(plan.run)
        if "flash" not in kernel:
            return None
        if capability and capability < hardware.BF16_CAPABILITY:
            words = say(
                "{kernel} needs compute capability 8.0, {gpu} has {capability}",
                kernel=kernel,
                gpu=plan.get("gpu") or say("this GPU"),
                capability=capability,
            )
        elif plan.precision == "fp32" and not plan.get("quantization") and not plan.get("torch_dtype"):
            words = say("{kernel} computes in 16 bits only, and fp16 and bf16 are both off", kernel=kernel)
        else:
            return None
        why = say("PyTorch's own kernel runs on every GPU and in fp32")
        sdpa = Remedy(say("Use the attention of PyTorch"), why, {"attn_implementation": "sdpa"}, "none", (FLASH,))
        return self.finding("critical", words, say("requirements: {flash}", flash=FLASH), remedies=(sdpa,))

    def blind(self, plan: Plan) -> str | None:
        return hardware.unknown_gpu(plan.run) if "flash" in plan.run.words("attn_implementation") else None
