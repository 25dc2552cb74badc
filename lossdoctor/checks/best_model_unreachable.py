from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.evaluations import evaluated
from lossdoctor.language import say
from lossdoctor.model import Finding, Remedy
from lossdoctor.plan import Plan

TRAINER = "https://huggingface.co/docs/transformers/main_classes/trainer"


@dataclass(eq=False, repr=False)
class BestModelUnreachable(Check):
    """The best model is asked for, and evaluating and saving do not go together.

    ## What it looks at
    `load_best_model_at_end` beside `eval_strategy`, `save_strategy`, `eval_steps` and `save_steps`; early stopping and
    `lr_scheduler_type: reduce_lr_on_plateau` without evaluation.

    ## Why it matters
    TrainingArguments refuses it with an error: a checkpoint can be the best one only if it was evaluated
    (https://huggingface.co/docs/transformers/main_classes/trainer). Early stopping without evaluation ends with an error when
    training begins.

    ## What it misses
    Tools that set the strategies by themselves.
    """

    title = "a best model that cannot be found"
    includes = ("evaluation-missing",)

    def look(self, plan: Plan) -> Finding | None:
        run, own = plan.run, "axolotl" in plan.run.words("framework")
        patience, schedule = run.get("early_stopping_patience"), run.words("lr_scheduler_type")
        if own or (evaluated(run) is None and "eval_strategy" not in run.facts and self._partial(plan)):
            return None
        if run.get("load_best_model_at_end") is True and (words := self._mismatch(plan)):
            because = say("load_best_model_at_end: true, which TrainingArguments then refuses with an error")
            return self.finding("critical", words, because, remedies=(self._together(plan),))
        if evaluated(run):
            return None
        needs = say("early stopping") if patience else "reduce_lr_on_plateau" if "reduce_lr_on_plateau" in schedule else ""
        if needs:
            words = say("{needs} needs an evaluation, and none is planned", needs=needs)
            return self.finding(
                "critical", words, say("eval_strategy: no") + self._default(plan), remedies=(self._together(plan),)
            )
        return None

    @staticmethod
    def _partial(plan: Plan) -> bool:
        """Whether so little is stated that the strategies may stand elsewhere."""
        return "output_dir" not in plan.run.facts and plan.get("load_best_model_at_end") is not True

    @staticmethod
    def _default(plan: Plan) -> str:
        return "" if "eval_strategy" in plan.run.facts else say(", the default")

    def _mismatch(self, plan: Plan) -> str:
        """Why no checkpoint can be the best one, in words; nothing where one can."""
        evaluate = plan.run.words("eval_strategy").rpartition(".")[2] or "no"
        save = plan.run.words("save_strategy").rpartition(".")[2] or "steps"
        if save == "best":
            return "" if evaluate != "no" else say("the best checkpoint is to be kept, and no evaluation is planned")
        if "no" in (evaluate, save):
            return (
                ""
                if evaluate == save
                else say(
                    "the best checkpoint is to be loaded, and none is {choice}",
                    choice=say("evaluated") if evaluate == "no" else say("saved"),
                )
            )
        if evaluate != save:
            return say(
                "the best checkpoint is to be loaded, and evaluation ({evaluate}) and saving ({save}) come at different times",
                evaluate=evaluate,
                save=save,
            )
        each, every = plan.get("eval_steps") or plan.get("logging_steps"), plan.get("save_steps") or 500
        if evaluate != "steps" or not each or self._multiple(every, each):
            return ""
        return say(
            "the best checkpoint is to be loaded, and save_steps ({every:g}) is no multiple of eval_steps ({each:g})",
            every=every,
            each=each,
        )

    @staticmethod
    def _multiple(every: float, each: float) -> bool:
        """Whether both are steps or both shares, and one goes into the other."""
        times = every / each
        return (every < 1) == (each < 1) and abs(times - round(times)) < 1e-6 and times >= 1

    @staticmethod
    def _together(plan: Plan) -> Remedy:
        by_steps = plan.run.words("eval_strategy", "save_strategy").count("steps") and plan.get("eval_steps")
        change: dict[str, object] = {"eval_strategy": "epoch", "save_strategy": "epoch"}
        if by_steps:
            each = plan.get("eval_steps")
            change = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": each, "save_steps": each}
        return Remedy(
            say("Evaluate and save at the same steps"), say("each checkpoint then has its number"), change, "none", (TRAINER,)
        )
