from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.language import say
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
        from_text = say("the chat template writes it") if by_template else say("the data has it")
        change = {"dataset.map": Rule(say("{word} removed from the beginning of the text", word=word))}
        remedy = Remedy(say("Take {word} out of the text", word=word), say("the tokenizer adds it"), change, "none", SOURCES)
        off = Remedy(
            say("Do not let the tokenizer add it"), say("the chat template does"), {"add_bos_token": False}, "none", SOURCES
        )
        return self.finding(
            "warning",
            say(
                "{doubled} begin with {word} twice: {from_text}, and the tokenizer adds another",
                doubled=part(doubled, len(measured.examples)),
                word=word,
                from_text=from_text,
            ),
            measured.basis,
            remedies=(off if by_template else remedy,),
        )
