from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from lossdoctor.base import DataCheck
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
        basis = (
            f"{weights.loss_tokens:,} labels in {weights.loss_examples:,} examples of {measured.source}, in 32 bits on the CPU"
        )
        if not isfinite(weights.loss):
            message = "the loss of one batch is not finite before the first step: the weights have NaN or infinite values in them"
            again = Remedy("Get the weights anew", "no training heals them", {"model_name_or_path": Rule("sound weights")})
            return self.finding("critical", message, basis, remedies=(again,))
        share = weights.loss / weights.chance
        if share < self.at_chance:
            return None
        missing = f"; {len(weights.unloaded):,} parameters have no weights in the folder" if weights.unloaded else ""
        known = (
            "the tokenizer is not this model's, or the labels do not belong to the text"
            if share >= self.above_chance
            else "the weights are random, or not those of this tokenizer"
        )
        severity: Severity = "critical" if weights.unloaded else "warning"
        return self.finding(
            severity,
            f"the loss of one batch is {weights.loss:.2f} before the first step, "
            f"and guessing among {weights.vocabulary or weights.rows:,} tokens gives {weights.chance:.2f}: {known}{missing}",
            basis,
            "fine-tunes of a pretrained model begin between 0.5 and 4",
            *([f"without weights: {', '.join(weights.unloaded[:4])}"] if weights.unloaded else []),
            remedies=(
                Remedy(
                    "Take tokenizer and weights from one folder, and look for warnings when they are loaded",
                    "from_pretrained makes what it does not find at random, and says so",
                    {"model_name_or_path": Rule("the folder that has both")},
                    "none",
                    SOURCES,
                ),
            ),
        )
