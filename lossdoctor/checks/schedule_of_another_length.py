from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lossdoctor.base import Check, worked_out
from lossdoctor.language import say
from lossdoctor.model import Finding, Remedy
from lossdoctor.plan import Plan
from lossdoctor.planned_rates import DECAYING, PlannedRate
from lossdoctor.remedies import scheduler_by_trainer

SCHEDULES = "https://huggingface.co/docs/transformers/main_classes/optimizer_schedules"


@dataclass(eq=False, repr=False)
class ScheduleOfAnotherLength(Check):
    """The schedule is made for another number of steps than the run has.

    ## What it looks at
    `total_num_steps` of a DeepSpeed scheduler, and the stages of a warm-up, stable, decay schedule, against all optimizer steps.

    ## Why it matters
    A decay that is made for more steps never arrives: the long small steps at its end are not taken. One that is made for fewer
    ends early, and what comes after it changes next to nothing. The Trainer compares DeepSpeed's number with its own and refuses
    to start if they differ (https://huggingface.co/docs/transformers/deepspeed).

    ## What it misses
    Schedules that a script builds by hand, and runs of which nobody says how many examples they have.
    """

    title = "a decay that does not fit the run"
    place = 3
    #: Share by which both may differ: the last batch of an epoch, and examples that were filtered out.
    slack: float = 0.05

    def look(self, plan: Plan) -> Finding | None:
        total, name = plan.total_steps, plan.get("lr_scheduler_type")
        made = self._made_for(plan)
        if total is None or made is None or name not in (*DECAYING, None) or abs(made[0] / total.value - 1) <= self.slack:
            return None
        steps, source = made
        words = say(
            "the schedule is made for {steps:,} steps, and the run has {total_whole:,}: ", steps=steps, total_whole=total.whole
        )
        if steps > total.value:
            warm = plan.warmup.whole if plan.warmup else 0
            left = PlannedRate(str(name or "linear"), 1.0, steps, min(warm, steps)).at(total.whole - 1)
            words += say("the decay never arrives, {left:.0%} of the rate is left at the end", left=left)
        else:
            words += say("the decay is over {total_whole:,} steps too early", total_whole=total.whole - steps)
        because = (say("{steps:,} steps: {source}", steps=steps, source=source), *worked_out(total, "steps"))
        return self.finding("warning", words, *because, remedies=(self._fitting(plan, total.whole),))

    @staticmethod
    def _fitting(plan: Plan, total: int) -> Remedy:
        """The schedule for the steps that there are."""
        if plan.get("scheduler_steps"):
            return scheduler_by_trainer()
        decay, warm = max(1, total // 5), plan.warmup.whole if plan.warmup else 0
        stages = {"num_stable_steps": max(0, total - decay - warm), "num_decay_steps": decay}
        why = say("{warm:,} of warm-up and these make {total:,} steps, the last fifth of them decay", warm=warm, total=total)
        return Remedy(
            say("Let the stages add up to the steps of the run"), why, {"lr_scheduler_kwargs": stages}, "none", (SCHEDULES,)
        )

    @staticmethod
    def _made_for(plan: Plan) -> tuple[int, str] | None:
        """The steps that the schedule was told, and where."""
        stated = plan.get("scheduler_steps")
        if isinstance(stated, int) and stated > 0:
            return stated, say("total_num_steps of the DeepSpeed scheduler")
        more = plan.get("lr_scheduler_kwargs")
        stages: list[Any] = [more.get(name) for name in ("num_stable_steps", "num_decay_steps")] if isinstance(more, dict) else []
        if (
            plan.get("lr_scheduler_type") != "warmup_stable_decay"
            or not all(isinstance(stage, int) for stage in stages)
            or not stages
        ):
            return None
        warm = plan.warmup.whole if plan.warmup else 0
        return warm + sum(stages), say(
            "{warm:,} of warm-up, {first_stages:,} stable and {second_stages:,} of decay",
            warm=warm,
            first_stages=stages[0],
            second_stages=stages[1],
        )
