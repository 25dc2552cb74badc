from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.language import say
from lossdoctor.measured import Measured, part
from lossdoctor.model import Finding, Remedy, Rule, Severity

SOURCES = ("https://github.com/huggingface/trl/issues/1623", "https://github.com/huggingface/trl/pull/3091")
TURNS = ("https://huggingface.co/docs/trl/sft_trainer",)


@dataclass(eq=False, repr=False)
class EndTokenMissing(DataCheck):
    """The examples do not end with a token at which generation stops.

    ## What it looks at
    The last tokens of a sample of the examples, and the ids at which generation stops: the end token of the tokenizer and
    those of `config.json` and `generation_config.json`.

    ## Why it matters
    A model that never sees the end token behind an answer never writes it, and goes on until it is cut off. Base models often
    have a chat template that ends turns with one token while generation stops at another.

    ## What it misses
    Text that a script completes by itself; blocks of equal length, which are cut from a stream and need no end.
    """

    title = "examples without an end token"
    #: Share of the examples from which the model does not learn to stop.
    share_to_tell: float = 0.5
    #: Share of examples of one and the same length from which they are blocks of a stream.
    blocks: float = 0.9

    def look(self, measured: Measured) -> Finding | None:
        vocabulary, recipe, examples = measured.vocabulary, measured.recipe, measured.examples
        missing = sum(not example.ends for example in examples)
        share = measured.share(missing)
        if (
            vocabulary is None
            or not vocabulary.ends
            or share < self.share_to_tell
            or recipe.own_template
            or self._blocks(measured)
        ):
            return None
        chats = measured.shape == "chats"
        if chats and not vocabulary.template:
            return None  # what is missing there is the template
        severity: Severity = "warning" if chats or measured.shape == "tokens" or recipe.adds_end is False else "info"
        stops = say(" or ").join(vocabulary.word(end) for end in sorted(vocabulary.ends)[:3])
        ends = say("most end with {usual_end!r}", usual_end=measured.usual_end[-40:]) if measured.usual_end else ""
        unless = "" if chats or measured.shape == "tokens" or recipe.adds_end is False else say("unless a script appends it, ")
        count = say("{missing} do not end", missing=part(missing, len(examples)))
        if missing == len(examples) > 1:
            count = say("none of the {missing:,} examples ends", missing=missing)
        return self.finding(
            severity,
            say(
                "{count} with {stops}, at which generation stops: {unless}the model is not taught to stop",
                count=count,
                stops=stops,
                unless=unless,
            ),
            measured.basis,
            *([ends] if ends else []),
            remedies=(_of_template() if chats else _of_text(vocabulary.word(vocabulary.end)),),
        )

    def _blocks(self, measured: Measured) -> bool:
        """Whether the examples are cut from a stream."""
        usual = Counter(example.tokens for example in measured.examples).most_common(1)
        return (
            bool(usual)
            and len(measured.examples) > 1
            and measured.share(usual[0][1]) >= self.blocks
            and measured.shape == "tokens"
        )


def _of_template() -> Remedy:
    return Remedy(
        say("Let generation stop at the token that ends a turn in the chat template"),
        say("SFTConfig takes it as eos_token and writes it into the generation config"),
        {"eos_token": Rule(say("the token that ends a turn in the chat template"))},
        "none",
        TURNS,
    )


def _of_text(end: str) -> Remedy:
    change = {"dataset.map": Rule(say("{end} appended to every example", end=end))}
    return Remedy(
        say("End every example with {end}", end=end),
        say("TRL appends it to text since 0.16; other trainers do not"),
        change,
        "none",
        SOURCES,
    )
