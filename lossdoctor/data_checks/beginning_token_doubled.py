from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.measured import Measured, part
from lossdoctor.model import Finding, Remedy, Rule

SOURCES = ("https://github.com/huggingface/trl/issues/1400", "https://github.com/huggingface/trl/pull/3328")


@dataclass(eq=False, repr=False)
class BeginningTokenDoubled(DataCheck):
    """The examples begin with the beginning token twice.

    ## What it looks at
    The first two tokens of a sample of the examples.

    ## Why it matters
    The text has the token already, from a chat template, and the tokenizer adds it once more. The model is trained on a beginning
    that it neither knows from before nor meets at inference.

    ## What it misses
    Scripts that render a chat template and tokenise the text themselves.
    """

    title = "a beginning token too many"
    #: Share of the examples from which it is the rule.
    share_to_tell: float = 0.5

    def look(self, measured: Measured) -> Finding | None:
        doubled = sum(example.beginnings > 1 for example in measured.examples)
        share = measured.share(doubled)
        if measured.vocabulary is None or share < self.share_to_tell:
            return None
        word = measured.vocabulary.word(measured.vocabulary.beginning)
        by_template = measured.recipe.doubles_beginning and measured.shape == "chats"
        from_text = "the chat template writes it" if by_template else "the data has it"
        change = {"dataset.map": Rule(f"{word} removed from the beginning of the text")}
        remedy = Remedy(f"Take {word} out of the text", "the tokenizer adds it", change, "none", SOURCES)
        off = Remedy("Do not let the tokenizer add it", "the chat template does", {"add_bos_token": False}, "none", SOURCES)
        return self.finding(
            "warning",
            f"{part(doubled, len(measured.examples))} begin with {word} twice: {from_text}, and the tokenizer adds another",
            measured.basis,
            remedies=(off if by_template else remedy,),
        )
