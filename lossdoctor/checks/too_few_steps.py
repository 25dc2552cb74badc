from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import NO_ROWS, Check, counted, worked_out
from lossdoctor.budgets import FEW_STEPS, SMALL_BATCHES, steps_are_chosen
from lossdoctor.language import say
from lossdoctor.model import Finding, Remedy, Severity
from lossdoctor.plan import Plan
from lossdoctor.tasks import REINFORCEMENT


@dataclass(eq=False, repr=False)
class TooFewSteps(Check):
    """The whole run has so few optimizer steps that little can be learned.

    ## What it looks at
    All optimizer steps: examples, epochs and the effective batch decide. A warning where they come to a handful; a note below a
    hundred, and where somebody chose `max_steps`, which may be a trial.

    ## Why it matters
    AdamW moves a weight by about the learning rate in each step, so a handful of steps moves it nowhere, whatever the rate. A
    smaller batch makes more steps of the same examples and trains as stably (https://arxiv.org/html/2507.07101v2).

    ## What it misses
    Reinforcement learning, where a step is made of many generations.
    """

    title = "very few optimizer steps"
    place = 4
    #: Optimizer steps that are a handful; below a hundred is a note.
    handful: float = 30

    def look(self, plan: Plan) -> Finding | None:
        total, batch = plan.total_steps, plan.effective_batch
        if total is None or total.whole >= FEW_STEPS or plan.get("task") == REINFORCEMENT:
            return None
        severity: Severity = "warning" if total.whole < self.handful and not steps_are_chosen(plan) else "info"
        words = say("the whole run has {total_whole}", total_whole=counted(total.whole, "optimizer step"))
        if steps_are_chosen(plan) or batch is None:
            return self.finding("info", words + say(", enough for a trial"), *worked_out(total, "steps"))
        words += say(
            ": {dataset_size} in batches of {batch_whole:,}",
            dataset_size=counted(plan.get("dataset_size"), "example"),
            batch_whole=batch.whole,
        )
        because = (*worked_out(total, "steps"), *worked_out(batch, "examples in a batch")[:1])
        return self.finding(severity, words, *because, remedies=self._smaller_batch(plan, total.whole, batch.whole))

    @staticmethod
    def _smaller_batch(plan: Plan, steps: int, batch: int) -> tuple[Remedy, ...]:
        """Less accumulation, or a smaller batch on the device, towards a hundred steps."""
        wanted = max(1, round(batch * steps / FEW_STEPS))
        accumulation, each = plan.get("gradient_accumulation_steps") or 1, plan.get("per_device_train_batch_size") or 0
        change: dict[str, int] = {}
        if accumulation > 1:
            change["gradient_accumulation_steps"] = max(1, accumulation * wanted // batch)
        left = batch // accumulation * change.get("gradient_accumulation_steps", accumulation)
        if each > 1 and left > wanted:
            change["per_device_train_batch_size"] = max(1, each * wanted // left)
        if not change:
            return ()
        why = say("more steps of the same examples; small batches train as stably, and the learning rate may stay")
        return (Remedy(say("Take a smaller batch, of about {wanted}", wanted=wanted), why, change, "low", (SMALL_BATCHES,)),)

    def blind(self, plan: Plan) -> str | None:
        return say(NO_ROWS) if plan.total_steps is None and plan.effective_batch is not None else None
