from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion
from lossdoctor.budgets import EPOCHS, LONG_EPOCHS, small_set
from lossdoctor.evaluations import hold_out
from lossdoctor.language import say
from lossdoctor.learning_rates import GUIDE
from lossdoctor.model import Chart, Remedy
from lossdoctor.signs import Signs
from lossdoctor.slips import in_epochs


@dataclass(eq=False, repr=False)
class Memorisation(Cause):
    """The model learns its examples by heart, epoch by epoch.

    ## How we tell
    The training loss drops in steps at whole epochs, when every example is seen again, or has fallen to almost nothing after
    several of them. Language models remember much of a text after seeing it once.

    ## What else it could be
    Data that gets easier where an epoch begins. An easy or repetitive task, whose evaluation loss falls just as low. It becomes
    overfitting where the evaluation loss rises.

    ## Remedies and their sources
    Often none: maintainers of several training frameworks call the stairs expected, and they are (explained with experiments in
    https://www.fast.ai/posts/2023-09-04-learning-jumps/). A lower rate and fewer epochs make them smaller. For few long
    reasoning traces full memorisation was best (https://arxiv.org/html/2602.11149v1): let a metric of the task decide.
    """

    title = "the training examples are being memorised"
    confirmed = 7
    decide_by = "evaluate on held-out rows at each epoch: as long as that loss falls, it is learning and not only memory"
    big_step: float = 0.15
    epochs: float = 4.0
    faint: float = 0.3
    share: float = 0.06

    def weigh(self, chart: Chart) -> Opinion | None:
        if Signs(chart).broken:
            return None
        stairs, near = chart.seen("epoch-staircase"), chart.seen("loss-near-zero")
        if chart.run.get("task") != "supervised" and not stairs:
            return None
        opinion = Opinion(tuple(s for s in (stairs, near) if s))
        outline = chart.outline
        if stairs:
            big = stairs.evidence["excess"] > self.big_step
            opinion.add(
                5 if big else 2,
                say("the loss drops by {drop:.0%} where an epoch ends and the examples come again", drop=stairs.evidence["drop"]),
            )
        if near and (outline.epochs or 0) > 1.5:
            opinion.add(
                3,
                say(
                    "the training loss is {share:.1%} of what it was, at epoch {epochs}",
                    share=near.evidence["share"],
                    epochs=in_epochs(outline.epochs),
                ),
            )
        elif not stairs and self._faint(chart):
            opinion.add(
                2, say("the training loss is {now:.2g} at epoch {epochs}", now=outline.now, epochs=in_epochs(outline.epochs))
            )
        if not opinion.points:
            return None
        if outline.best_eval is not None and outline.first_eval and outline.last_eval is not None:
            if outline.last_eval <= 1.02 * outline.best_eval and outline.best_eval < 0.9 * outline.first_eval:
                opinion.add(-2, say("the evaluation loss falls with it: what it learns holds for new examples too"))
        opinion.explanation = say(
            "Each example is remembered from the last time it was seen, so the loss falls at the start of an "
            "epoch without anything new being learned. It looks like an error and is none; but from here on "
            "the training loss says nothing about how good the model is."
        )
        return opinion

    def _faint(self, chart: Chart) -> bool:
        """A loss of next to nothing after many epochs: a small share of its start, or low for a text."""
        outline = chart.outline
        if (outline.epochs or 0) < self.epochs or not outline.now or outline.now <= 0:
            return False
        text = Signs(chart).text_model is True and not chart.run.get("num_labels") and outline.now < self.faint
        return text or (not outline.evals and outline.now < self.share * (outline.first_loss or 0.0))

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        if chart.seen("eval-loss-rising"):
            return ()  # the minimum of the evaluation says how many epochs are right
        remedies = [] if chart.outline.evals else [hold_out()]
        if few := small_set(chart):
            return (*remedies, *few)
        epochs = chart.outline.epochs or 0.0
        if epochs > 2 * EPOCHS and not chart.outline.evals:
            why = say(
                "1 to {epochs} epochs are usual for instruction tuning; more help only where a metric of the "
                "task says so, as for few long reasoning traces",
                epochs=EPOCHS,
            )
            do = say(
                "as long as there is no evaluation, train for {epochs} epochs rather than {epochs2}",
                epochs=EPOCHS,
                epochs2=in_epochs(epochs),
            )
            remedies.append(Remedy(do, why, {"num_train_epochs": EPOCHS}, "none", (GUIDE, LONG_EPOCHS), alternative=True))
        return tuple(remedies)
