from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check, counted, worked_out
from lossdoctor.language import say
from lossdoctor.model import Finding, Remedy, Severity
from lossdoctor.plan import Plan

TRAINER = "https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments.logging_steps"


@dataclass(eq=False, repr=False)
class SparseLogging(Check):
    """So few rows will be logged that nobody can see how the run goes.

    ## What it looks at
    `logging_strategy` and `logging_steps` against all optimizer steps. Inside a Trainer the default of 500 steps counts as well;
    in a file, only what it states.

    ## Why it matters
    A NaN, a spike or a plateau shows between rows: with a handful of them none of it can be judged, neither by people nor by
    lossdoctor, and a run that is lost early is paid for to its end. Logging costs next to nothing.

    ## What it misses
    What a tracker logs by itself.
    """

    title = "too few rows to see anything"
    place = 8
    #: Rows below which hardly anything can be judged, and below which nothing can.
    few: float = 10
    none: float = 3
    #: Optimizer steps from which on a run is worth watching.
    worth: float = 50

    def look(self, plan: Plan) -> Finding | None:
        strategy, total = plan.run.words("logging_strategy").rpartition(".")[2], plan.total_steps
        if strategy == "no":
            change = self._more(total.whole if total else 500)
            return self.finding(
                "warning", say("logging_strategy: no logs no loss at all: nothing can be seen or judged"), remedies=(change,)
            )
        if total is None or total.whole < self.worth:
            return None
        rows = self._rows(plan, strategy, total.value)
        if rows is None or rows >= self.few:
            return None
        severity: Severity = "warning" if rows < self.none and strategy != "epoch" else "info"
        words = say(
            "{rows} will be logged in {total_whole:,} steps",
            rows=counted(int(rows), "row") if rows >= 1 else say("no row"),
            total_whole=total.whole,
        )
        return self.finding(severity, words, *worked_out(total, "steps"), remedies=(self._more(total.whole),))

    @staticmethod
    def _rows(plan: Plan, strategy: str, total: float) -> float | None:
        each = plan.get("logging_steps")
        if strategy == "epoch":
            return plan.epochs.value if plan.epochs else None
        if not isinstance(each, (int, float)) or each <= 0:
            return None
        return total // each if each >= 1 else 1 / each

    @staticmethod
    def _more(total: int) -> Remedy:
        steps = max(1, min(10, total // 50))
        change = {"logging_strategy": "steps", "logging_steps": steps}
        return Remedy(
            say("Log every {steps} steps", steps=steps) if steps > 1 else say("Log every step"),
            say("a row costs next to nothing"),
            change,
            "none",
            (TRAINER,),
        )
