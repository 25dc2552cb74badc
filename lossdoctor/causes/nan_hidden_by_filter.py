from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion, counted
from lossdoctor.language import say
from lossdoctor.model import Chart, Remedy
from lossdoctor.remedies import show_nan, start_again
from lossdoctor.signs import Signs


@dataclass(eq=False, repr=False)
class NanHiddenByFilter(Cause):
    """The Trainer's log filter replaced NaN losses by 0.0 or by plausible numbers.

    ## How we tell
    A loss of exactly 0.0 beside a non-finite gradient norm or evaluation loss: neither is ever written as 0.0 for NaN,
    the training loss is (`logging_nan_inf_filter`, on by default). This says why the log looks as it does, not why the loss
    became NaN: that is for the other causes.

    ## What else it could be
    A real zero: reinforcement learning, or a loss that faded row by row.

    ## Remedies and their sources
    `logging_nan_inf_filter: false` shows the NaN in the first row in which it is
    (https://huggingface.co/docs/transformers/main_classes/trainer). It changes no step of the training: a NaN step is applied to
    the weights with the filter and without it (https://github.com/huggingface/trl/issues/6702), so go back to a checkpoint
    from before.
    """

    title = "the log hides NaN behind 0.0"
    confirmed = 1
    decide_by = "repeat the steps with logging_nan_inf_filter=False, logging_steps=1: the row then reads nan"
    mechanism = True

    def weigh(self, chart: Chart) -> Opinion | None:
        signs = Signs(chart)
        if chart.run.get("logging_nan_inf_filter") is False or signs.gradient == "zero":
            return None
        collapse = signs.collapse
        opinion = Opinion(tuple(s for s in (collapse, chart.seen("eval-loss-not-finite")) if s) + signs.scattered)
        if collapse and collapse.open:
            opinion.add(3, say("the loss is exactly 0.0, which a cross-entropy never is"))
        inflated = chart.seen("hidden-nan-steps")
        if inflated and inflated.evidence.get("inflated_rows"):
            opinion.add(3, say("rows jump up while the gradient norm falls: that is the filter under gradient accumulation"))
        if inflated and (lost := inflated.evidence.get("nonfinite_losses")):
            opinion.add(3, say("the loss of {lost} was NaN, and no row shows it", lost=counted(int(lost), "micro-batch")))
        zeros = chart.seen("loss-intermittent-zero")
        if zeros and zeros.evidence.get("gradient_not_finite_rows"):
            opinion.add(2, say("single rows of 0.0 have a NaN gradient"))
        if not opinion.points:
            return None
        if signs.eval_not_finite:
            opinion.add(1, say("the evaluation loss, which is never written as 0.0 for NaN, is NaN"))
        if signs.gradient == "not finite":
            opinion.add(1, say("the gradient norm, which is not filtered, is NaN"))
        opinion.explanation = say(
            "The Trainer replaces a NaN loss by the average of the logging window, which reads 0.0 when no "
            "step of the window was finite. Only the log is filtered: the NaN is still back-propagated."
        )
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        return (show_nan(), *start_again(chart))
