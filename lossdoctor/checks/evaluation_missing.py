from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check, worked_out
from lossdoctor.evaluations import evaluated, hold_out
from lossdoctor.language import say
from lossdoctor.model import Finding
from lossdoctor.plan import Plan
from lossdoctor.slips import in_epochs
from lossdoctor.tasks import REINFORCEMENT


@dataclass(eq=False, repr=False)
class EvaluationMissing(Check):
    """Examples are shown several times, and nothing is evaluated.

    ## What it looks at
    `eval_strategy`, in runs of more than one epoch. A note: many good runs do without.

    ## Why it matters
    From the second epoch on the training loss falls because examples are remembered; only held-out rows tell whether the model
    still gets better (https://www.fast.ai/posts/2023-09-04-learning-jumps/). Of public logs, 71 % have no evaluation.

    ## What it misses
    Evaluations that a script makes by itself, and runs of one epoch, which need them less.
    """

    title = "no evaluation"
    place = 7

    def look(self, plan: Plan) -> Finding | None:
        if evaluated(plan.run) is not False or plan.get("task") == REINFORCEMENT or "pretrain" in plan.run.words("trainer"):
            return None
        if plan.epochs is None or plan.epochs.value <= 1.5:
            return None
        asked = plan.get("metric_for_best_model")
        words = say(
            "each example is shown {epochs_value} times, and nothing is evaluated", epochs_value=in_epochs(plan.epochs.value)
        )
        if asked:
            words += say(", though {asked} is to choose the best model", asked=asked)
        return self.finding("info", words, *worked_out(plan.epochs, "epochs"), remedies=(hold_out(),))
