from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from lossdoctor.base import Cause, Opinion
from lossdoctor.budgets import LEARNING_JUMPS
from lossdoctor.learning_rates import GUIDE, LORA, band_of, change, lower, rate_of
from lossdoctor.model import Chart, Remedy, Symptom
from lossdoctor.signs import Signs


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
    #: Without evaluation: a training loss below this after so many epochs.
    faint: float = 0.3
    epochs: float = 4.0

    def weigh(self, chart: Chart) -> Opinion | None:
        if Signs(chart).broken or chart.seen("loss-at-chance"):
            return None
        rising = [s for s in chart.all("eval-loss-rising") if s.open]
        opinion = self._with_evaluation(rising, chart) if rising else self._without(chart)
        if opinion is None:
            return None
        opinion.explanation = (
            "From the minimum of the evaluation loss on, each step teaches the training examples themselves rather than what "
            "they have in common. The weights of the minimum are the ones to use."
            if rising
            else "The model has practically learned its training examples by heart. Whether that harms, this log cannot tell: "
            "there is no evaluation in it."
        )
        return opinion

    def _with_evaluation(self, rising: list[Symptom], chart: Chart) -> Opinion:
        worst = max(rising, key=lambda s: (s.severity == "warning", s.evidence["rise"]))
        seen, outline = worst.evidence, chart.outline
        opinion = Opinion(tuple(rising))
        since = f"its minimum of {seen['best']:.4g} at step {seen['best_step']:,.0f}"
        opinion.add(5, f"{worst.series} has risen by {seen['rise']:.0%} since {since}, and the training loss has not")
        if seen["rise"] >= self.clear_rise:
            opinion.add(1, "that is more than a wobble")
        if outline.level and outline.level > 0 and seen["now"] > self.gap * outline.level:
            opinion.add(1, f"it is now {seen['now'] / outline.level:.2g} times the training loss of {outline.level:.3g}")
        if seen["metric_improves"]:
            opinion.add(-2, "a metric of the same evaluations still improves")
        if chart.seen("loss-divergence") or "so does the training loss" in worst.message:
            opinion.add(-3, "the training loss rises as well")
        return opinion

    def _without(self, chart: Chart) -> Opinion | None:
        """Nearly no training loss after many epochs, and nothing that would show what it is worth."""
        outline, near = chart.outline, chart.seen("loss-near-zero")
        many = (outline.epochs or 0) >= self.epochs
        faint = outline.level is not None and 0 <= outline.level < self.faint and many and chart.run.get("task") == "supervised"
        if outline.evals or not faint or not (near or self._text(chart)):
            return None
        opinion = Opinion((near,) if near else ())
        opinion.add(
            2, f"the training loss is {outline.level:.2g} at epoch {outline.epochs:.3g}: every example was seen that often"
        )
        opinion.add(-1, "no evaluation loss was logged, so what the model does with new examples is not known")
        opinion.points += 1
        return opinion

    @staticmethod
    def _text(chart: Chart) -> bool:
        """Whether so low a loss means anything: a classifier reaches it by being right."""
        return Signs(chart).text_model is True and not chart.run.get("num_labels")

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        rising = next((s for s in chart.all("eval-loss-rising") if s.open), None)
        remedies: list[Remedy] = []
        if rising is None:
            why = "a tenth of the rows, evaluated every epoch, shows the epoch from which on it only learns by heart"
            evaluate = {
                "eval_strategy": "epoch",
                "save_strategy": "epoch",
                "load_best_model_at_end": True,
                "metric_for_best_model": "eval_loss",
            }
            return (Remedy("Hold out some rows and evaluate on them", why, evaluate, "low", (LEARNING_JUMPS,)),)
        best, each = int(rising.evidence["best_step"]), chart.outline.steps_per_epoch
        kept = next((c for c in chart.run.checkpoints if c.step == best), None)
        do = f"Use {kept.path}" if kept else f"Use the checkpoint of step {best:,}, or the nearest before it"
        keep = {"load_best_model_at_end": True, "metric_for_best_model": rising.series}
        if not chart.run.get("eval_strategy") or chart.run.get("eval_strategy") != chart.run.get("save_strategy"):
            keep |= {"eval_strategy": "epoch", "save_strategy": "epoch"}
        remedies.append(
            Remedy(
                do,
                f"{rising.series} was at its best there; these settings keep it by themselves the next time",
                keep,
                "none",
                (LEARNING_JUMPS,),
            )
        )
        epochs = ceil(best / each - 0.25) if each else None
        if epochs and chart.outline.epochs and epochs < chart.outline.epochs - 0.5:
            why = f"the evaluation loss had its minimum after {best / each:.2g} of {chart.outline.epochs:.3g} epochs"  # type: ignore[operator]
            remedies.append(
                Remedy(
                    f"Train for {max(1, epochs)} epoch{'s' * (epochs > 1)}",
                    why,
                    {"num_train_epochs": max(1, epochs)},
                    "none",
                    (LEARNING_JUMPS, GUIDE),
                )
            )
        rate, band = rate_of(chart), band_of(chart.run)
        if rate and epochs is not None and epochs <= 1:
            new = lower(rate, band)
            why = "it overfits within the first epochs; a lower rate delays the damage, more dropout or weight decay does little"
            remedies.append(
                Remedy(
                    f"Then lower the learning rate {change(rate, new)}",
                    why,
                    {"learning_rate": new},
                    "low",
                    (LEARNING_JUMPS, LORA[0]),
                    alternative=True,
                )
            )
        return tuple(remedies)
