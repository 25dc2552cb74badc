from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion
from lossdoctor.language import say
from lossdoctor.model import Chart, Remedy
from lossdoctor.signs import Signs

#: What a loss does while one class, or one kind of text, comes after another.
_UNEVEN = (
    "loss-near-zero",
    "loss-spike",
    "loss-oscillation",
    "loss-divergence",
    "train-eval-scale-gap",
    "eval-loss-rising",
    "loss-intermittent-zero",
)
SAMPLING = (
    "https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments.train_sampling_strategy",
)
SHUFFLING = ("https://huggingface.co/docs/datasets/process#shuffle",)


@dataclass(eq=False, repr=False)
class UnshuffledData(Cause):
    """The examples come in an order: one class after another, or one source after another.

    ## How we tell
    Inside a Trainer the class of each example is counted: in a shuffled order it changes from one example to the next about as
    often as the shares of the classes let one expect, and here it hardly ever does. In a log, a data loader or a setting that
    takes the examples as they come, and a loss that falls to almost nothing and jumps, or an evaluation far above it.

    ## What else it could be
    Batches of one class each that come in a random order are meant so by some losses, and are not counted. A rate that is too
    high makes the loss jump as well, but at no particular example.

    ## Remedies and their sources
    The Trainer shuffles by itself unless it is told or overridden to take the examples in their order
    (https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments.train_sampling_strategy). A
    stream, or a sampler of one's own, wants data that was shuffled before (https://huggingface.co/docs/datasets/process#shuffle).
    """

    title = "the data is not shuffled"
    decide_by = "print the labels or sources of the first 200 examples in the order of train_dataloader: are they mixed?"
    #: Share of the changes of class that a shuffled order would have, below which it is none.
    share: float = 0.25

    def weigh(self, chart: Chart) -> Opinion | None:
        changes, run = chart.run.get("class_changes"), chart.run
        asked = run.get("train_sampling_strategy") == "sequential" or run.get("data_shuffled") is False
        uneven = tuple(s for s in chart.all(*_UNEVEN) if s.severity != "info" or s.slug == "loss-near-zero")
        if Signs(chart).broken or (changes is None and not (asked and uneven)) or (changes or 0.0) > self.share:
            return None
        opinion = Opinion(uneven)
        if changes is not None:
            opinion.add(
                7, say("the class changes {changes:.1%} as often from example to example as in a shuffled order", changes=changes)
            )
        if asked:
            opinion.add(2, say("the data loader takes the examples in the order that they are stored in"))
        opinion.explanation = say(
            "Each step learns from examples of one kind and forgets the others: the loss falls to almost nothing, jumps where "
            "the next kind begins, and the model ends up with what came last."
        )
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        why = say("each step then learns from a mixture, and none undoes what the last ones did")
        if chart.run.get("train_sampling_strategy") == "sequential":
            return (Remedy(say("Let the Trainer shuffle"), why, {"train_sampling_strategy": "random"}, "none", SAMPLING),)
        return (Remedy(say("Shuffle the examples before training"), why, {"dataset.shuffle": {"seed": 42}}, "none", SHUFFLING),)
