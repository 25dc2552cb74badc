from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.language import say
from lossdoctor.measured import Measured
from lossdoctor.model import Finding, Remedy, Rule

SOURCES = ("https://huggingface.co/docs/trl/sft_trainer", "https://huggingface.co/docs/transformers/chat_templating")


@dataclass(eq=False, repr=False)
class ChatTemplateMissing(DataCheck):
    """The examples are chats, and the tokenizer has no chat template.

    ## What it looks at
    The shape of the examples, and the chat template beside the tokenizer.

    ## Why it matters
    Without a template nothing says how messages become text: TRL stops before the first step. Base models have none.

    ## What it misses
    Templates that a script sets, or that a trainer brings itself, as LLaMA-Factory and axolotl do.
    """

    title = "chats without a chat template"

    def look(self, measured: Measured) -> Finding | None:
        vocabulary, tool = measured.vocabulary, measured.recipe.tool
        if measured.shape != "chats" or vocabulary is None or vocabulary.template or tool in ("LLaMA-Factory", "axolotl"):
            return None
        change = {"chat_template_path": Rule(say("the folder of a model with a chat template, such as its instruct version"))}
        return self.finding(
            "warning" if tool == "TRL" else "info",
            say("the examples are chats, and the tokenizer has no chat template: nothing says how they become text"),
            measured.basis,
            remedies=(Remedy(say("Name a chat template"), say("TRL copies it to the tokenizer"), change, "none", SOURCES),),
        )
