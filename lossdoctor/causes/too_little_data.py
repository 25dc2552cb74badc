from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion
from lossdoctor.budgets import EPOCHS, examples, small_set
from lossdoctor.evaluations import LEARNING_JUMPS, hold_out
from lossdoctor.language import later, say
from lossdoctor.model import Chart, Remedy
from lossdoctor.signs import Signs
from lossdoctor.slips import in_epochs
from lossdoctor.tasks import SUPERVISED

ABOUT, ONLY = later("there are about {rows:,} training examples"), later("there are only about {rows:,} training examples")


@dataclass(eq=False, repr=False)
class TooLittleData(Cause):
    """There are too few examples for the number of times that they are shown.

    ## How we tell
    The run overfits or memorises, and the examples (as stated, or counted from epochs, steps and batch size) are few or are
    shown many times over.

    ## What else it could be
    Many examples that are alike act as few: look for duplicates. With enough examples the same curve comes from too many
    epochs or too high a rate alone.

    ## Remedies and their sources
    More, and more varied, examples; until then 1 to 3 epochs (https://www.fast.ai/posts/2023-09-04-learning-jumps/,
    https://docs.unsloth.ai/get-started/beginner-start-here/lora-hyperparameters-guide). A thousand well chosen examples can be
    enough (https://arxiv.org/abs/2305.11206). A higher rank does not replace data: rank limits capacity.
    """

    title = "too few training examples"
    decide_by = "train on half of the examples: if the evaluation gets much worse, more examples would make it better"
    few: int = 1000
    some: int = 5000
    #: Epochs from which on it is the repetition that counts.
    often: float = 8.0
    #: Examples that are few enough to say so where nothing was evaluated, and the share by which their loss has fallen.
    handful: int = 100
    fallen: float = 0.5

    def weigh(self, chart: Chart) -> Opinion | None:
        signs = [s for s in chart.all("eval-loss-rising", "epoch-staircase", "loss-near-zero") if s.severity == "warning"]
        if not signs and (opinion := self._unseen(chart)):
            return opinion
        if not signs or Signs(chart).broken or chart.seen("loss-at-chance"):
            return None
        rows, epochs = examples(chart), chart.outline.epochs or 0.0
        opinion = Opinion(tuple(signs))
        if rows is not None and rows <= self.some:
            few = rows <= self.few
            opinion.add(5 if few else 2, say(ONLY if few else ABOUT, rows=rows))
        elif rows is not None:
            opinion.add(-2, say(ABOUT, rows=rows))
        if epochs >= self.often:
            opinion.add(1, say("each was shown {epochs} times", epochs=in_epochs(epochs)))
        if opinion.points <= 0:
            return None
        opinion.explanation = say(
            "A model with millions of trainable numbers can store a few thousand examples outright. Rows, "
            "epochs and learning rate are one decision: fewer rows want fewer epochs, not more."
        )
        return opinion

    def _unseen(self, chart: Chart) -> Opinion | None:
        """A handful of examples, shown so often and learned so well that only an evaluation could say for what."""
        rows, outline = examples(chart), chart.outline
        often = (outline.epochs or 0.0) >= self.often and (outline.fallen or 0.0) >= self.fallen
        if rows is None or rows > self.handful or not often or outline.evals or Signs(chart).broken:
            return None
        if chart.run.get("task") != SUPERVISED:
            return None
        opinion = Opinion(())
        opinion.add(3, say(ONLY, rows=rows))
        opinion.add(1, say("each was shown {epochs} times", epochs=in_epochs(outline.epochs)))
        opinion.explanation = say(
            "A model with millions of trainable numbers can store a few thousand examples outright. Rows, "
            "epochs and learning rate are one decision: fewer rows want fewer epochs, not more."
        )
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        few = small_set(chart)
        more = Remedy(
            say("Add examples that differ from those you have"),
            say(
                "variety counts more than number; near-duplicates and paraphrases of the same answer are learned by heart as one"
            ),
            {},
            "high",
            ("https://arxiv.org/abs/2305.11206", LEARNING_JUMPS),
        )
        if chart.seen("eval-loss-rising"):
            return (more,)  # the minimum of the evaluation says how many epochs are right
        often = (chart.run.get("num_train_epochs") or chart.outline.epochs or 0.0) > self.often
        evaluate = () if chart.outline.evals else (hold_out(EPOCHS if often else None),)
        return (*few, more) if few else (*evaluate, more)
