from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.language import say
from lossdoctor.measured import Measured, percent
from lossdoctor.model import Finding, Remedy, Severity

SOURCES = ("https://huggingface.co/docs/trl/sft_trainer",)


@dataclass(eq=False, repr=False)
class PromptsSupervised(DataCheck):
    """The prompts have labels as well as the answers.

    ## What it looks at
    Which tokens have a label after the settings and defaults of the trainer, and how much of the text are prompts.

    ## Why it matters
    Most of the loss is then about what users write, not about how to answer. The loss looks fine, and moves little. A
    `completion_only_loss` that does not fit the columns of the data is passed over without a word.

    ## What it misses
    Labels that a script or a collator of one's own makes. Some train on prompts on purpose, and with few examples it can help.
    """

    title = "prompts that are learned"
    #: Share of the text from which the loss is about little else than prompts: three quarters.
    share_to_tell: float = 0.75

    def look(self, measured: Measured) -> Finding | None:
        recipe, run = measured.recipe, measured.run
        if recipe.labels != "all" or measured.shape not in ("chats", "prompts with answers") or not measured.examples:
            return None
        passed_over = run.get("completion_only_loss") is True
        chosen = run.get("completion_only_loss") is False or run.get("train_on_prompt") is True
        if not passed_over and (chosen or not self.share_to_tell <= measured.prompt_share < 1.0):
            return None
        severity: Severity = "warning" if passed_over else "info"
        chats = measured.shape == "chats"
        name = "assistant_only_loss" if chats else "completion_only_loss"
        if chats and not (measured.vocabulary and measured.vocabulary.marks_answers):
            do = say("Set assistant_only_loss, with a chat template that marks answers with {% generation %}")
        else:
            do = say("Set {name}", name=name)
        return self.finding(
            severity,
            say(
                "every token has a label, and prompts are {prompt_share} of the text", prompt_share=percent(measured.prompt_share)
            ),
            measured.basis,
            say("labels: {labels_from}", labels_from=recipe.labels_from),
            remedies=(Remedy(do, say("the loss then measures the answers alone"), {name: True}, "low", SOURCES),),
        )
