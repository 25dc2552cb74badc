from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck
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
        change = {"dataset.filter": Rule("pairs whose answers differ")}
        return self.finding(
            "warning" if share >= self.share_to_warn and measured.same_pairs > 1 else "info",
            f"chosen and rejected are the same in {part(measured.same_pairs, measured.fingerprinted, 'pairs')}"
            ": their loss stays at ln 2 = 0.693",
            f"{measured.fingerprinted:,} pairs in {measured.source} were compared",
            remedies=(Remedy("Drop these pairs", "two equal answers have no gradient", change, "none", SOURCES),),
        )
