from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.learning_rates import short
from lossdoctor.model import Conflict, Fact, Finding, Remedy
from lossdoctor.plan import Plan

DOCS = "https://huggingface.co/docs/transformers/deepspeed"
#: How the sources of facts from a DeepSpeed configuration end.
DEEPSPEED = "(DeepSpeed)"
#: What the Trainer compares, and the keys of DeepSpeed.
KEYS = {
    "learning_rate": "optimizer.params.lr",
    "weight_decay": "optimizer.params.weight_decay",
    "max_grad_norm": "gradient_clipping",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "per_device_train_batch_size": "train_micro_batch_size_per_gpu",
    "warmup_steps": "scheduler.params.warmup_num_steps",
    "fp16": "fp16.enabled",
    "bf16": "bf16.enabled",
}


@dataclass(eq=False, repr=False)
class DeepspeedDisagreement(Check):
    """The DeepSpeed configuration states other values than the TrainingArguments.

    ## What it looks at
    Learning rate, weight decay, clipping, batch, accumulation, warm-up and precision, where both sources state a number.

    ## Why it matters
    The Trainer compares both and ends with an error ("Please correct the following DeepSpeed config values that mismatch
    TrainingArguments values"); `auto` in the DeepSpeed configuration takes each value from the arguments
    (https://huggingface.co/docs/transformers/deepspeed).

    ## What it misses
    Values that one of the sources leaves to its default.
    """

    title = "DeepSpeed and TrainingArguments disagree"
    includes = ("conflicting-precisions",)

    def look(self, plan: Plan) -> Finding | None:
        found = [
            (conflict, *pair) for conflict in plan.run.conflicts if conflict.name in KEYS and (pair := self._sides(conflict))
        ]
        if not found:
            return None
        told = [
            say(
                "{conflict_name}: {own_value}, DeepSpeed says {other_value}",
                conflict_name=conflict.name,
                own_value=short(own.value),
                other_value=short(other.value),
            )
            for conflict, own, other in found
        ]
        names = ", ".join(conflict.name for conflict, _, _ in found)
        words = say("the DeepSpeed configuration disagrees on {names}, which the Trainer refuses", names=names)
        change = {KEYS[conflict.name]: "auto" for conflict, _, _ in found}
        auto = Remedy(
            say("Set them to auto in the DeepSpeed configuration"), say("the arguments then decide"), change, "none", (DOCS,)
        )
        return self.finding("critical", words, *told, remedies=(auto,))

    @staticmethod
    def _sides(conflict: Conflict) -> tuple[Fact, Fact] | None:
        """What the arguments say, and what DeepSpeed says otherwise; None where it is not those two that disagree."""
        theirs = [fact for fact in conflict.facts if fact.source.endswith(DEEPSPEED)]
        ours = [fact for fact in conflict.facts if not fact.source.endswith(DEEPSPEED) and fact.source != "--set"]
        return (ours[0], theirs[0]) if ours and theirs else None
