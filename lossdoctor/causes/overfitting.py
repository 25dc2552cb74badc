from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from lossdoctor.base import Cause, Opinion, counted
from lossdoctor.evaluations import LEARNING_JUMPS, LIMA, as_often, better_metric, hold_out
from lossdoctor.language import capital, later, say
from lossdoctor.learning_rates import GUIDE, LORA, band_of, change, lower, rate_of
from lossdoctor.metrics import less_is_better
from lossdoctor.model import Chart, Remedy, Symptom
from lossdoctor.signs import Signs
from lossdoctor.slips import in_epochs

FROM_THE_MINIMUM = later(
    "From the minimum of the evaluation loss on, each step teaches the training examples themselves "
    "rather than what they have in common. The weights of the minimum are the ones to use."
)
BETTER_ALL_THE_SAME = later(
    "The model grows more confident, also where it is wrong, which costs likelihood; it answers "
    "better all the same. Whether that is worth keeping is for the metric of the task to say."
)
BY_HEART = later(
    "The model has practically learned its training examples by heart. Whether that harms, this log "
    "cannot tell: there is no evaluation in it."
)


@dataclass(eq=False, repr=False)
class Overfitting(Cause):
    """The model gets better on its training set and worse on everything else.

    ## How we tell
    The evaluation loss has passed its minimum and rises while the training loss goes on falling. Without an evaluation set it
    can only be suspected: a training loss of almost nothing after many epochs.

    ## What else it could be
    An evaluation loss rises also when the model grows overconfident in right answers: if accuracy, F1 or ROUGE still improve, the
    model may be getting better. A higher evaluation loss from the start is harder data or another template, not overfitting.

    ## Remedies and their sources
    Keep the checkpoint at the minimum and stop there next time. Fewer epochs come first, then a lower rate, then more data: at
    high rates the evaluation gets worse as soon as data repeats (https://www.fast.ai/posts/2023-09-04-learning-jumps/). More
    dropout or weight decay is folk advice: LoRA itself regularises more than both (https://arxiv.org/abs/2405.09673). A rising
    likelihood loss is no proof of worse answers: with 1,000 examples and 15 epochs it went up while answers got better
    (https://arxiv.org/abs/2305.11206), so let the metric of the task decide.
    """

    title = "overfitting"
    confirmed = 2
    decide_by = "evaluate the checkpoint at the best eval_loss and the last one on a metric of the task: the earlier one must win"
    #: Rise above the best evaluation that is more than a wobble.
    clear_rise: float = 0.15
    #: Evaluation loss over training loss at the end.
    gap: float = 2.0
    #: Share of where the losses began below which a rise means nothing.
    next_to_nothing: float = 0.02
    #: Without evaluation: a training loss below this after so many epochs.
    faint: float = 0.3
    epochs: float = 4.0

    def weigh(self, chart: Chart) -> Opinion | None:
        if Signs(chart).broken or chart.seen("loss-at-chance"):
            return None
        rising = [s for s in chart.all("eval-loss-rising") if s.open]
        climbs = any(s.open for s in chart.all("loss-divergence")) or any(_both(s) for s in rising)
        if climbs:
            return None  # what gets worse on the training set as well is not overfitted
        opinion = self._with_evaluation(rising, chart) if rising else self._without(chart)
        if opinion is None:
            return None
        opinion.explanation = (
            say(BETTER_ALL_THE_SAME) if rising and better_metric(chart) else say(FROM_THE_MINIMUM) if rising else say(BY_HEART)
        )
        return opinion

    def _with_evaluation(self, rising: list[Symptom], chart: Chart) -> Opinion:
        worst = max(rising, key=lambda s: (s.severity == "warning", s.evidence["rise"]))
        seen, outline = worst.evidence, chart.outline
        opinion = Opinion(tuple(rising))
        since = say("its minimum of {best:.4g} at step {best_step:,.0f}", best=seen["best"], best_step=seen["best_step"])
        opinion.add(
            5,
            say(
                "{series} has risen by {rise:.0%} since {since}, and the training loss has not",
                series=worst.series,
                rise=seen["rise"],
                since=since,
            ),
        )
        if seen["rise"] >= self.clear_rise:
            opinion.add(1, say("that is more than a wobble"))
        if outline.level and outline.level > 0 and seen["now"] > self.gap * outline.level:
            opinion.add(
                1,
                say(
                    "it is now {now:.2g} times the training loss of {level:.3g}",
                    now=seen["now"] / outline.level,
                    level=outline.level,
                ),
            )
        if sum(not s.open for s in chart.all("eval-loss-rising")) > 1:
            opinion.add(-3, say("it has risen before in this run, and came down again"))
        if name := better_metric(chart):
            then, now = outline.metrics[name]
            opinion.add(
                -3, say("{name} is better now ({now:.3g}) than at that minimum ({then:.3g})", name=name, now=now, then=then)
            )
        if seen["now"] < self.next_to_nothing * max(outline.first_loss or 0.0, outline.first_eval or 0.0):
            opinion.add(-2, say("both losses are next to nothing: {now:.2g} is still a very good one", now=seen["now"]))
        return opinion

    def _without(self, chart: Chart) -> Opinion | None:
        """Nearly no training loss after many epochs, and nothing that would show what it is worth."""
        outline, near = chart.outline, chart.seen("loss-near-zero")
        many = (outline.epochs or 0) >= self.epochs
        faint = outline.now is not None and 0 <= outline.now < self.faint and many and chart.run.get("task") == "supervised"
        if outline.evals or not faint or not (near or self._text(chart)):
            return None
        opinion = Opinion((near,) if near else ())
        opinion.add(
            2,
            say(
                "the training loss is {now:.2g} at epoch {epochs}: every example was seen that often",
                now=outline.now,
                epochs=in_epochs(outline.epochs),
            ),
        )
        opinion.add(0, say("no evaluation loss was logged, so what the model does with new examples is not known"))
        return opinion

    @staticmethod
    def _text(chart: Chart) -> bool:
        """Whether so low a loss means anything: a classifier reaches it by being right."""
        return Signs(chart).text_model is True and not chart.run.get("num_labels")

    def check(self, chart: Chart) -> str:
        if better_metric(chart):
            return say("read the answers of the checkpoint at the lowest eval_loss and of the last one: which would you ship?")
        return say(self.decide_by)

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        rising = next((s for s in chart.all("eval-loss-rising") if s.open), None)
        if rising is None:
            return (hold_out(),)
        if name := better_metric(chart):
            keep = {"load_best_model_at_end": True, "metric_for_best_model": name, "greater_is_better": not less_is_better(name)}
            why = say("the loss punishes overconfidence in answers that are right as well; the metric is what you want")
            return (
                Remedy(say("Keep the checkpoint with the best {name}", name=name), why, keep | as_often(chart), "none", (LIMA,)),
            )
        best, each, rate = int(rising.evidence["best_step"]), chart.outline.steps_per_epoch, rate_of(chart)
        kept = next((c for c in chart.run.checkpoints if c.step == best), None)
        use = (
            say("use {path}", path=kept.path)
            if kept
            else say("use the checkpoint of step {best:,}, or the nearest before it", best=best)
        )
        planned = chart.run.get("max_steps")
        going_on = isinstance(planned, int) and 0 < (chart.outline.last_step or 0) < 0.9 * planned
        do = say("Stop this run now, and {use}", use=use) if going_on else capital(use)
        keep = {"load_best_model_at_end": True, "metric_for_best_model": rising.series} | as_often(chart)
        epochs = ceil(best / each - 0.25) if each else None
        why = say("{series} was at its best there; with these settings the next run keeps it by itself", series=rising.series)
        if epochs and chart.outline.epochs and each and 1 <= epochs < chart.outline.epochs - 0.5:
            do = say("{do}; the next time train for {epochs}", do=do, epochs=counted(epochs, "epoch"))
            why = say(
                "{series} had its minimum after {best:.2g} of {epochs} epochs",
                series=rising.series,
                best=best / each,
                epochs=in_epochs(chart.outline.epochs),
            )
            keep["num_train_epochs"] = epochs
        remedies = [Remedy(do, why, keep, "none", (LEARNING_JUMPS, GUIDE) if "num_train_epochs" in keep else (LEARNING_JUMPS,))]
        if rate and epochs is not None and epochs <= 1:
            new = lower(rate, band_of(chart.run))
            why = say(
                "it overfits within the first epoch; a lower rate delays the damage, more dropout or weight decay does little"
            )
            do = say("lower the learning rate {rate}", rate=change(rate, new))
            remedies.append(Remedy(do, why, {"learning_rate": new}, "low", (LEARNING_JUMPS, LORA[0]), alternative=True))
        return tuple(remedies)


def _both(symptom: Symptom) -> bool:
    """Whether the training loss rises with the evaluation loss."""
    return bool(symptom.evidence.get("both"))
