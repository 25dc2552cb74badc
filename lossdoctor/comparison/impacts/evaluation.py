"""What is logged, evaluated and saved: it changes what can be seen of a run and what is kept of it, not how it learns."""

from __future__ import annotations

from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, shown
from lossdoctor.language import say
from lossdoctor.plan import Plan


def seen(name: str, one: Plan, other: Plan) -> Rating:
    """The same training, looked at more or less often."""
    what = say("averaged over") if name == "logging_steps" else say("evaluated and saved at")
    return Rating(
        "none", say("{name}: rows are {what} other steps, and the training is the same", name=shown(name, one, other), what=what)
    )


def evaluated(name: str, one: Plan, other: Plan) -> Rating:
    """Without an evaluation nobody sees when it is time to stop."""
    off = ["no" in str(plan.get(name) or "no").lower() for plan in (one, other)]
    if off[0] != off[1]:
        words = say("one side is never evaluated, so whether it learns by heart cannot be seen there; the training is the same")
        return Rating("low", words, (sources.JUMPS,))
    return Rating("none", say("{name}: evaluated at other steps, and the training is the same", name=shown(name, one, other)))


def kept(name: str, one: Plan, other: Plan) -> Rating:
    """The same training, but another checkpoint comes out of it."""
    words = say(
        "{name}: the training is the same, but which of its checkpoints is left in the end is not", name=shown(name, one, other)
    )
    return Rating("low", words, (sources.JUMPS,))


def stopped(name: str, one: Plan, other: Plan) -> Rating:
    """It may end the run."""
    words = say(
        "{name}: how many evaluations without progress end the run, which decides its length", name=shown(name, one, other)
    )
    return Rating("medium", words, (sources.JUMPS,))


def resumed(name: str, one: Plan, other: Plan) -> Rating:
    """A run that goes on from another one."""
    words = say(
        "{name}: a run that goes on from a checkpoint begins with other weights and in the middle of its schedule",
        name=shown(name, one, other),
    )
    return Rating("high", words)


def skipped(name: str, one: Plan, other: Plan) -> Rating:
    """Only after a resume."""
    if not one.get("resume_from_checkpoint") and not other.get("resume_from_checkpoint"):
        return Rating("none", say("it only matters where a run is resumed, and neither side says that it is"))
    return Rating("low", say("after a resume the data begin anew instead of where they were left"))


def stateless(name: str, one: Plan, other: Plan) -> Rating:
    """Matters where somebody resumes."""
    return Rating(
        "low", say("checkpoints without the optimizer's state train on worse after a resume; until then nothing differs")
    )


def filtered(name: str, one: Plan, other: Plan) -> Rating:
    """NaN losses are told as something else; the weights are updated with them either way."""
    words = say("with the filter a NaN loss is told as 0.0 or hidden in a mean; the weights are updated with it either way")
    return Rating("low", words, (sources.FILTER,))


def measured(name: str, one: Plan, other: Plan) -> Rating:
    """A result of the run and no setting; the settings behind it have their own ratings."""
    return Rating("none", say("{name}: measured in the run, not set", name=shown(name, one, other)))


RATERS: dict[str, Rater] = {
    **dict.fromkeys(("logging_steps", "logging_strategy", "eval_steps", "per_device_eval_batch_size"), seen),
    **dict.fromkeys(("save_strategy", "save_steps"), seen),
    "eval_strategy": evaluated,
    "save_total_limit": kept,
    "save_only_model": stateless,
    "load_best_model_at_end": kept,
    "metric_for_best_model": kept,
    "early_stopping_patience": stopped,
    "resume_from_checkpoint": resumed,
    "ignore_data_skip": skipped,
    "logging_nan_inf_filter": filtered,
    "opening_loss": measured,
    "adapter_gradient": measured,
    "optimizer_restored": measured,
    **dict.fromkeys(("class_changes", "answer_share", "rows_cut", "padding_scored", "labels_shifted"), measured),
    **dict.fromkeys(("response_template_found", "response_template_in_context"), measured),
    "weight_change_per_rate": measured,
}
