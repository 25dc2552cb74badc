from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Check
from lossdoctor.families import family_of
from lossdoctor.language import say
from lossdoctor.model import Finding, Remedy, Severity
from lossdoctor.plan import Plan

ROLLBACK = "https://doraemonzzz.gitbook.io/transformer_evolution_paper/llm/000"


@dataclass(eq=False, repr=False)
class CheckpointToReturnToMissing(Check):
    """If the run breaks, there is no earlier checkpoint to go back to.

    ## What it looks at
    `save_total_limit: 1` without `load_best_model_at_end`, and `save_strategy: no` in a long run. A note; a warning where the run
    has a known way to break: fp16 with a model family that overflows in it.

    ## Why it matters
    After a NaN the weights of every later checkpoint are lost, and the only one that is kept is the newest. PaLM went back some
    hundred steps at each of its spikes (https://doraemonzzz.gitbook.io/transformer_evolution_paper/llm/000).

    ## What it misses
    Checkpoints that are copied elsewhere.
    """

    title = "no checkpoint to go back to"
    place = 7
    #: Optimizer steps from which on a run without checkpoints is long.
    long: float = 1000

    def look(self, plan: Plan) -> Finding | None:
        strategy, limit = plan.run.words("save_strategy").rpartition(".")[2], plan.get("save_total_limit")
        family, total = family_of(plan.run), plan.total_steps
        risky = plan.precision == "fp16" and family is not None and family.overflows
        if strategy == "no" and total is not None and total.whole >= self.long:
            words = say(
                "no checkpoint is saved in {total_whole:,} steps: a run that breaks begins again", total_whole=total.whole
            )
            change: dict[str, object] = {"save_strategy": "steps", "save_steps": max(1, total.whole // 10), "save_total_limit": 2}
        elif limit == 1 and strategy != "no" and plan.get("load_best_model_at_end") is not True:
            words = say("save_total_limit: 1 keeps the newest checkpoint alone: after a NaN it is the broken one")
            change = {"save_total_limit": 2}
        else:
            return None
        severity: Severity = "warning" if risky or hardware.races(plan.run) else "info"
        keep = Remedy(say("Keep two checkpoints"), say("the one before the newest is the way back"), change, "low", (ROLLBACK,))
        because = [say("fp16 overflows are known of {family_name}", family_name=family.name)] if risky and family else []
        if hardware.races(plan.run):
            because.append(say("overlap_comm with ZeRO-1/2 is a known way to lose a run"))
        return self.finding(severity, words, *because, remedies=(keep,))
