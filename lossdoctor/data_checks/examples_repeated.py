from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.language import say
from lossdoctor.measured import Measured, part
from lossdoctor.model import Finding, Remedy, Rule

SOURCES = ("https://arxiv.org/abs/2107.06499",)


@dataclass(eq=False, repr=False)
class ExamplesRepeated(DataCheck):
    """Many examples are in the data more than once.

    ## What it looks at
    The columns that are learned from, compared letter by letter over the first 100,000 examples.

    ## Why it matters
    Each copy is one more epoch on that example: models that see text again and again recite it, and an evaluation set drawn from
    the same data contains what was trained.

    ## What it misses
    Examples that differ in a letter; copies among later rows. Some are repeated on purpose.
    """

    title = "examples that are there several times"
    #: Share of the rows that are copies, from which it is worth a note or a warning: 1 to 3 % are usual in collected text.
    share_to_tell: float = 0.05
    share_to_warn: float = 0.3

    def look(self, measured: Measured) -> Finding | None:
        share = measured.repeated / measured.fingerprinted if measured.fingerprinted else 0.0
        if share < self.share_to_tell or measured.repeated < 2:
            return None
        of = say("all") if measured.fingerprinted >= measured.rows else say("the first")
        change = {"dataset.filter": Rule(say("the first of every group of equal examples"))}
        remedy = Remedy(say("Keep one of each"), say("a copy is one more epoch on that example"), change, "none", SOURCES)
        return self.finding(
            "warning" if share >= self.share_to_warn else "info",
            say(
                "{repeated} are copies of others; one is there {most_repeated:,} times",
                repeated=part(measured.repeated, measured.fingerprinted),
                most_repeated=measured.most_repeated,
            ),
            say(
                "{of} {fingerprinted:,} examples in {source} were compared",
                of=of,
                fingerprinted=measured.fingerprinted,
                source=measured.source,
            ),
            say("the first copy is example {first_repeated:,}", first_repeated=measured.first_repeated),
            remedies=(remedy,),
        )
