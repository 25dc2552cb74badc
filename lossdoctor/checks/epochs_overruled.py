from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check, worked_out
from lossdoctor.language import say
from lossdoctor.learning_rates import short
from lossdoctor.model import Finding
from lossdoctor.plan import Plan
from lossdoctor.slips import in_epochs


@dataclass(eq=False, repr=False)
class EpochsOverruled(Check):
    """Epochs are asked for, and another setting decides how long the run is.

    ## What it looks at
    `max_steps` beside `num_train_epochs`, where the number of examples says how many epochs the steps make. Three epochs are the
    default of the Trainer, so they count as nobody's choice.

    ## Why it matters
    `max_steps` wins (https://huggingface.co/docs/transformers/main_classes/trainer), and the schedule is stretched over it. It is
    a note: the run does what it is told, and maybe not what was meant.

    ## What it misses
    Configurations that leave the number of examples open.
    """

    title = "epochs that do not count"
    #: Times by which the epochs that are made may differ from those that are asked for.
    much: float = 1.5

    def look(self, plan: Plan) -> Finding | None:
        steps, asked, made = plan.get("max_steps"), plan.get("num_train_epochs"), plan.epochs
        if (
            not isinstance(steps, int)
            or steps <= 0
            or not asked
            or asked in (3.0, 1.0)
            or made is None
            or not plan.steps_per_epoch
        ):
            return None
        if 1 / self.much < made.value / asked < self.much:
            return None
        words = say(
            "{asked} epochs are asked for, and max_steps decides: {steps:,} steps are {made_value} epochs",
            asked=short(asked),
            steps=steps,
            made_value=in_epochs(made.value),
        )
        return self.finding("info", words, *worked_out(plan.steps_per_epoch, "steps in one epoch"))
