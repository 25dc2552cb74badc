from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from lossdoctor.base import DataCheck
from lossdoctor.language import say
from lossdoctor.measured import Measured
from lossdoctor.model import Finding, Remedy, Rule, Severity

SOURCES = ("https://github.com/huggingface/transformers/issues/8039",)


@dataclass(eq=False, repr=False)
class OpeningLossAtChance(DataCheck):
    """One batch of the data has the loss of guessing: the weights know nothing of this text, or of this tokenizer.

    ## What it looks at
    The mean loss of up to four examples under the weights in the folder, before any step, in 32 bits on the CPU; against
    ln(vocabulary), the loss of a model that gives every token the same probability.

    ## Why it matters
    Fine-tunes of a pretrained model begin between 0.5 and 4. At ln(vocabulary) the weights are random or were not loaded; above
    it the model is sure of something else: the tokenizer is another model's, or the labels do not belong to the text.

    ## What it misses
    Models that are too large for one batch on a CPU. Training from scratch begins at chance by nature.
    """

    title = "a loss of guessing before the first step"
    #: Share of ln(vocabulary) from which nothing is known of the text, and from which something else is known.
    at_chance: float = 0.9
    above_chance: float = 1.05

    def look(self, measured: Measured) -> Finding | None:
        weights = measured.weights
        if weights is None or weights.loss is None or weights.chance is None:
            return None
        basis = say(
            "{loss_tokens:,} labels in {loss_examples:,} examples of {source}, in 32 bits on the CPU",
            loss_tokens=weights.loss_tokens,
            loss_examples=weights.loss_examples,
            source=measured.source,
        )
        if not isfinite(weights.loss):
            message = say(
                "the loss of one batch is not finite before the first step: the weights have NaN or infinite values in them"
            )
            again = Remedy(
                say("Get the weights anew"), say("no training heals them"), {"model_name_or_path": Rule(say("sound weights"))}
            )
            return self.finding("critical", message, basis, remedies=(again,))
        share = weights.loss / weights.chance
        if share < self.at_chance:
            return None
        missing = (
            say("; {number_of_unloaded:,} parameters have no weights in the folder", number_of_unloaded=len(weights.unloaded))
            if weights.unloaded
            else ""
        )
        known = (
            say("the tokenizer is not this model's, or the labels do not belong to the text")
            if share >= self.above_chance
            else say("the weights are random, or not those of this tokenizer")
        )
        severity: Severity = "critical" if weights.unloaded else "warning"
        return self.finding(
            severity,
            say(
                "the loss of one batch is {loss:.2f} before the first step, and guessing among {vocabulary:,} "
                "tokens gives {chance:.2f}: {known}{missing}",
                loss=weights.loss,
                vocabulary=weights.vocabulary or weights.rows,
                chance=weights.chance,
                known=known,
                missing=missing,
            ),
            basis,
            say("fine-tunes of a pretrained model begin between 0.5 and 4"),
            *([say("without weights: {unloaded}", unloaded=", ".join(weights.unloaded[:4]))] if weights.unloaded else []),
            remedies=(
                Remedy(
                    say("Take tokenizer and weights from one folder, and look for warnings when they are loaded"),
                    say("from_pretrained makes what it does not find at random, and says so"),
                    {"model_name_or_path": Rule(say("the folder that has both"))},
                    "none",
                    SOURCES,
                ),
            ),
        )
