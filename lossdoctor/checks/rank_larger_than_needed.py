from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.budgets import SMALL_SET
from lossdoctor.language import say
from lossdoctor.learning_rates import LORA
from lossdoctor.model import Finding, Remedy
from lossdoctor.plan import Plan
from lossdoctor.tasks import REINFORCEMENT, adapter

RSLORA = "https://arxiv.org/abs/2312.03732"


@dataclass(eq=False, repr=False)
class RankLargerThanNeeded(Check):
    """The rank of the adapter is larger than its data fill.

    ## What it looks at
    The rank against the number of examples; at very high ranks also whether alpha / rank slows them down.

    ## Why it matters
    The rank limits what can be stored, not how fast: until it runs out, small and large ranks have the same curve
    (https://thinkingmachines.ai/blog/lora/), and reinforcement learning needs next to none. With alpha / rank a high rank learns
    slowly, which rsLoRA repairs (https://arxiv.org/abs/2312.03732). It is a note: a rank too large costs memory alone.

    ## What it misses
    Long examples, of which a few fill more.
    """

    title = "a rank beyond the data"
    place = 9
    #: Ranks from which on the question is worth a word, for a small set and for any.
    small: float = 128
    any: float = 256

    def look(self, plan: Plan) -> Finding | None:
        rank, rows = plan.get("lora_r"), plan.get("dataset_size")
        if not isinstance(rank, int) or not adapter(plan.run):
            return None
        filled = not (isinstance(rows, int) and rows <= SMALL_SET) and plan.get("task") != REINFORCEMENT
        if rank < (self.any if filled else self.small):
            return None
        if filled and plan.get("use_rslora") is True:
            return None
        words = say("the rank is {rank}", rank=rank)
        if not filled:
            words += (
                say(", and {rows:,} examples do not fill it", rows=rows)
                if isinstance(rows, int)
                else say(", and reinforcement learning fills a few")
            )
        words += (
            "" if plan.get("use_rslora") is True else say("; with alpha / rank a high rank learns slowly, and rsLoRA does not")
        )
        smaller = Remedy(say("Take a rank of 16 to 64"), say("the same curve with less memory"), {"r": 32}, "none", (LORA[0],))
        stable = Remedy(
            say("keep it with rsLoRA"), say("alpha / √rank"), {"use_rslora": True}, "none", (RSLORA,), alternative=True
        )
        return self.finding("info", words, remedies=(smaller, stable))
