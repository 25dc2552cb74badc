from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.language import say
from lossdoctor.measured import Measured, part
from lossdoctor.model import Finding, Remedy, Rule

SOURCES = ("https://huggingface.co/docs/transformers/chat_templating",)


@dataclass(eq=False, repr=False)
class ExamplesRefusedByTemplate(DataCheck):
    """The chat template raises an error on some examples.

    ## What it looks at
    Whether the tokenizer's chat template renders a sample of the examples.

    ## Why it matters
    TRL renders all examples before the first step, and stops at the first that raises. Templates refuse a system message, two
    messages of one role in a row, or a role that they do not know.

    ## What it misses
    Templates that a trainer brings itself, as LLaMA-Factory does.
    """

    title = "examples that the chat template refuses"

    def look(self, measured: Measured) -> Finding | None:
        tried = measured.refused + len(measured.examples)
        if not measured.refused or measured.recipe.own_template:
            return None
        change = {"dataset.map": Rule(say("roles and order as the chat template wants them"))}
        why = say("one of them is enough to stop the run before its first step")
        return self.finding(
            "critical" if measured.recipe.tool == "TRL" else "warning",
            say(
                "the chat template refuses {refused}: {refusal}", refused=part(measured.refused, tried), refusal=measured.refusal
            ),
            measured.basis,
            say("the roles in the data are {roles}", roles=", ".join(measured.roles[:6])),
            remedies=(Remedy(say("Bring the messages into the form that the template wants"), why, change, "low", SOURCES),),
        )
