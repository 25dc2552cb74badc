from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck, counted
from lossdoctor.language import plural, say
from lossdoctor.measured import Measured
from lossdoctor.model import Finding, Remedy
from lossdoctor.tasks import adapter

SOURCES = ("https://huggingface.co/docs/peft/developer_guides/lora",)


@dataclass(eq=False, repr=False)
class EmbeddingRowsZero(DataCheck):
    """Tokens of the data have an embedding of zeros: nobody has trained them yet.

    ## What it looks at
    The rows of the embedding for all tokens that occur in a sample of the examples, where the weights fit into memory.

    ## Why it matters
    Base models reserve tokens for chat templates and leave their rows at zero. A full fine-tune learns them, slowly; an adapter
    alone leaves them as they are, and the template says nothing to the model.

    ## What it misses
    Rows that were made at random, by a resize without training: these look like any other.
    """

    title = "tokens that were never trained"

    def look(self, measured: Measured) -> Finding | None:
        untrained = measured.weights.untrained if measured.weights else ()
        if not untrained:
            return None
        frozen = adapter(measured.run) is True and not measured.run.get("lora_modules_to_save")
        named = ", ".join(untrained[:4]) + (" …" if len(untrained) > 4 else "")
        end = say("an adapter alone does not train them") if frozen else say("they must be learned from these examples alone")
        change = {"modules_to_save": ["embed_tokens", "lm_head"]}
        remedy = Remedy(
            say("Under LoRA, train embedding and output as well"),
            say("an adapter cannot move their rows"),
            change,
            "low",
            SOURCES,
        )
        return self.finding(
            "warning" if frozen else "info",
            plural(
                "{tokens} of the data has an embedding of zeros ({named}): {end}",
                "{tokens} of the data have an embedding of zeros ({named}): {end}",
                len(untrained),
                tokens=counted(len(untrained), "token"),
                named=named,
                end=end,
            ),
            measured.basis,
            remedies=(remedy,) if frozen else (),
        )
