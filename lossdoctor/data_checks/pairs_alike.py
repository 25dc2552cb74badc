from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.language import say
from lossdoctor.measured import Measured, part
from lossdoctor.model import Finding, Remedy, Rule

SOURCES = ("https://arxiv.org/abs/2305.18290",)


@dataclass(eq=False, repr=False)
class PairsAlike(DataCheck):
    """Some preference pairs have the same answer twice.

    ## What it looks at
    `chosen` and `rejected` of the first 100,000 pairs, letter by letter.

    ## Why it matters
    The loss of such a pair is ln 2 whatever the model does, and its gradient is 0.

    ## What it misses
    Answers that differ in a letter.
    """

    title = "preference pairs without a preference"
    #: Share from which it is worth a warning, if there are several.
    share_to_warn: float = 0.01

    def look(self, measured: Measured) -> Finding | None:
        if not measured.same_pairs:
            return None
        share = measured.same_pairs / measured.fingerprinted
        change = {"dataset.filter": Rule(say("pairs whose answers differ"))}
        return self.finding(
            "warning" if share >= self.share_to_warn and measured.same_pairs > 1 else "info",
            say(
                "chosen and rejected are the same in {same_pairs}: their loss stays at ln 2 = 0.693",
                same_pairs=part(measured.same_pairs, measured.fingerprinted, "pairs"),
            ),
            say(
                "{fingerprinted:,} pairs in {source} were compared", fingerprinted=measured.fingerprinted, source=measured.source
            ),
            remedies=(Remedy(say("Drop these pairs"), say("two equal answers have no gradient"), change, "none", SOURCES),),
        )
