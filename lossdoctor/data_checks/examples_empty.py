from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.language import say
from lossdoctor.measured import Measured, part
from lossdoctor.model import Finding, Remedy, Rule

SOURCES = ("https://github.com/TIGER-AI-Lab/MAmmoTH/issues/36",)


@dataclass(eq=False, repr=False)
class ExamplesEmpty(DataCheck):
    """Some examples have no answer, or no text at all.

    ## What it looks at
    The columns that are learned from, in the first 100,000 examples: an answer without a letter, a chat in which the
    assistant says nothing, a column that is null.

    ## Why it matters
    An example without a label is NaN on its own: one of them in a batch of one was enough to lose a run. In a larger batch it
    teaches to answer with nothing.

    ## What it misses
    Answers that are there and say nothing ("n/a", "-"), and empty rows further on.
    """

    title = "examples without an answer"
    #: Share from which it is worth a warning, if there are several; a single one is a note.
    share_to_warn: float = 0.01

    def look(self, measured: Measured) -> Finding | None:
        if not measured.empty or not measured.shape:
            return None
        share = measured.empty / measured.fingerprinted
        change = {"dataset.filter": Rule(say("examples whose answer is not empty"))}
        return self.finding(
            "warning" if share >= self.share_to_warn and measured.empty > 1 else "info",
            say("{empty} have no answer in them", empty=part(measured.empty, measured.fingerprinted)),
            say(
                "{choice} {fingerprinted:,} examples in {source} were read; their shape is {shape}",
                choice=say("all") if measured.fingerprinted >= measured.rows else say("the first"),
                fingerprinted=measured.fingerprinted,
                source=measured.source,
                shape=measured.shape,
            ),
            say("the first of them is example {first_empty:,}", first_empty=measured.first_empty),
            remedies=(Remedy(say("Drop these examples"), say("a mean over no labels is NaN"), change, "none", SOURCES),),
        )
