from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import NO_ROWS, Check, counted, worked_out
from lossdoctor.budgets import EPOCHS, LONG_EPOCHS, SMALL_SET, chart_of, small_set
from lossdoctor.chance import language_model
from lossdoctor.evaluations import LEARNING_JUMPS, evaluated
from lossdoctor.language import plural, say
from lossdoctor.model import Finding, Remedy, Severity
from lossdoctor.plan import Plan
from lossdoctor.slips import in_epochs
from lossdoctor.tasks import REINFORCEMENT, adapter, soft_prompt


@dataclass(eq=False, repr=False)
class ExamplesRepeatedTooOften(Check):
    """A language model is shown the same examples too often.

    ## What it looks at
    The epochs, as they are asked for or as `max_steps` makes them, for language models and adapters. A warning from ten epochs on
    where no evaluation is planned; with one, and below, a note.

    ## Why it matters
    Language models remember examples after one view: at usual rates the evaluation gets worse from the second or third epoch on
    (https://www.fast.ai/posts/2023-09-04-learning-jumps/). Ten epochs for a small set are folk advice. Longer training can still
    help a task (https://arxiv.org/html/2602.11149v1), and then a metric must say when to stop.

    ## What it misses
    Small classifiers, speech models and soft prompts, for which many epochs are usual, and copies of an example within the data.
    """

    title = "examples that are shown too often"
    place = 4
    #: Epochs from which on a small set is a note, and from which on any set is a warning without an evaluation.
    some: float = 5.0
    many: float = 10.0

    def look(self, plan: Plan) -> Finding | None:
        epochs, rows = plan.epochs, plan.get("dataset_size")
        if epochs is None or not self._remembers(plan):
            return None
        small = isinstance(rows, int) and rows <= SMALL_SET
        if epochs.value <= (self.some if small else self.many - 0.5):
            return None
        watched = evaluated(plan.run) is True
        severity: Severity = "warning" if epochs.value >= self.many and not watched else "info"
        shown = counted(rows, "example") if isinstance(rows, int) else say("every example")
        count = rows if isinstance(rows, int) and rows > 1 else 1
        words = plural(
            "{shown} is shown {times} times", "{shown} are shown {times} times", count, shown=shown, times=in_epochs(epochs.value)
        )
        words += "" if watched else say(", and no evaluation is planned that would say when to stop")
        because = (
            *worked_out(epochs, "epochs"),
            say("evaluations get worse from epoch 2 or 3 on: {learning_jumps}", learning_jumps=LEARNING_JUMPS),
        )
        return self.finding(severity, words, *because, remedies=small_set(chart_of(plan)) or (self._fewer(),))

    @staticmethod
    def _remembers(plan: Plan) -> bool:
        model = language_model(plan.run) or (adapter(plan.run) is True and plan.get("num_labels") is None)
        return (
            model
            and not soft_prompt(plan.run)
            and plan.get("task") != REINFORCEMENT
            and "pretrain" not in plan.run.words("trainer")
        )

    @staticmethod
    def _fewer() -> Remedy:
        why = say("the evaluation says when to stop; ten epochs are right only where it does")
        change = {"num_train_epochs": EPOCHS, "eval_strategy": "epoch"}
        do = say("Show each example {epochs} times, or evaluate after each epoch and keep the best", epochs=EPOCHS)
        return Remedy(do, why, change, "low", (LEARNING_JUMPS, LONG_EPOCHS))

    def blind(self, plan: Plan) -> str | None:
        return say(NO_ROWS) if plan.epochs is None and plan.get("max_steps") and self._remembers(plan) else None
