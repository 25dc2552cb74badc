from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check, worked_out
from lossdoctor.language import say
from lossdoctor.learning_rates import LORA
from lossdoctor.model import Finding, Remedy
from lossdoctor.plan import Plan
from lossdoctor.tasks import REINFORCEMENT, adapter


@dataclass(eq=False, repr=False)
class LargeBatchForAdapter(Check):
    """An adapter is trained with a very large batch.

    ## What it looks at
    The effective batch of a run with LoRA.

    ## Why it matters
    LoRA pays more for large batches than full fine-tuning does, and a higher rank does not repair it
    (https://thinkingmachines.ai/blog/lora/). It is a note: how much depends on the data.

    ## What it misses
    Reinforcement learning, where large batches are the rule.
    """

    title = "a large batch for an adapter"
    #: Examples in one optimizer step from which on a batch is large for LoRA.
    large: float = 256

    def look(self, plan: Plan) -> Finding | None:
        batch = plan.effective_batch
        if batch is None or batch.whole < self.large or not adapter(plan.run) or plan.get("task") == REINFORCEMENT:
            return None
        words = say(
            "an adapter is trained in batches of {batch_whole:,}: LoRA pays more for large batches than all weights do",
            batch_whole=batch.whole,
        )
        why = say("more steps of the same examples, and nothing else changes")
        accumulation = plan.get("gradient_accumulation_steps") or 1
        smaller = {"gradient_accumulation_steps": max(1, accumulation // 4)} if accumulation > 1 else {}
        remedies = (Remedy(say("Accumulate over fewer batches"), why, smaller, "low", LORA[:1]),) if smaller else ()
        return self.finding(
            "info",
            words,
            *worked_out(batch, "examples in a batch"),
            say("measured: {first_lora}", first_lora=LORA[0]),
            remedies=remedies,
        )
