from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check, worked_out
from lossdoctor.language import say
from lossdoctor.model import Finding, Remedy
from lossdoctor.plan import Plan

TRAINER = "https://huggingface.co/docs/transformers/main_classes/trainer"


@dataclass(eq=False, repr=False)
class BatchLargerThanData(Check):
    """One optimizer step takes more examples than there are.

    ## What it looks at
    The effective batch against the number of examples.

    ## Why it matters
    Every epoch is then a single step with all examples: accumulation is cut short, and the batch that was asked for is never
    seen. Where incomplete batches are dropped and not even one fits, there is nothing to train on.

    ## What it misses
    Data whose size nobody states.
    """

    title = "a batch that is larger than the data"
    includes = ("too-few-steps",)
    place = 3

    def look(self, plan: Plan) -> Finding | None:
        rows, batch = plan.get("dataset_size"), plan.effective_batch
        if not isinstance(rows, int) or rows < 1 or batch is None or batch.whole <= rows:
            return None
        micro = batch.whole // (plan.get("gradient_accumulation_steps") or 1)
        because = worked_out(batch, "examples in a batch")
        if plan.get("dataloader_drop_last") is True and micro > rows:
            words = say(
                "no batch is full: {micro:,} examples are needed, {rows:,} are there, and dataloader_drop_last drops the rest",
                micro=micro,
                rows=rows,
            )
            keep = Remedy(
                say("Keep the last batch"), say("without it there is none"), {"dataloader_drop_last": False}, "none", (TRAINER,)
            )
            return self.finding("critical", words, *because, remedies=(keep,))
        words = say(
            "one optimizer step would take {batch_whole:,} examples, and there are {rows:,}: each epoch is a single step",
            batch_whole=batch.whole,
            rows=rows,
        )
        why = say("more steps of the same examples")
        change: dict[str, int] = {"gradient_accumulation_steps": 1}
        if micro * 8 > rows:
            each = plan.get("per_device_train_batch_size") or 8
            change["per_device_train_batch_size"] = max(1, each * rows // (8 * micro))
        return self.finding(
            "warning", words, *because, remedies=(Remedy(say("Take a smaller batch"), why, change, "low", (TRAINER,)),)
        )
