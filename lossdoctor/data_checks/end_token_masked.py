from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.language import say
from lossdoctor.measured import Measured, part
from lossdoctor.model import Finding, Remedy, Rule

SOURCES = (
    "https://github.com/huggingface/trl/issues/976",
    "https://github.com/huggingface/transformers/issues/23530",
    "https://github.com/huggingface/transformers/issues/22794",
)
MARKS = ("https://huggingface.co/docs/trl/sft_trainer",)


@dataclass(eq=False, repr=False)
class EndTokenMasked(DataCheck):
    """The end token has no label, so the model never learns to stop.

    ## What it looks at
    The last tokens of a sample of the examples: whether one at which generation stops is there, whether it has a label, and
    whether the padding token has the same id.

    ## Why it matters
    A collator that masks every label with the id of the padding token, as `DataCollatorForLanguageModeling` does, masks the real
    end as well where both are one token. The loss looks healthy, and the model writes on until it is stopped. The collators of
    newer TRL, LLaMA-Factory and axolotl mask by position, and there it does not matter.

    ## What it misses
    Collators of one's own: where nothing says which one is used, it is a note.
    """

    title = "an end token without a label"
    #: Share of the examples from which the model does not learn to stop.
    share_to_tell: float = 0.5

    def look(self, measured: Measured) -> Finding | None:
        vocabulary, recipe = measured.vocabulary, measured.recipe
        ending = [example for example in measured.examples if example.ends and example.labelled]
        if vocabulary is None or not ending:
            return None
        masked = sum(not example.end_labelled for example in ending)
        if measured.share(masked) >= self.share_to_tell:
            return self._unmarked(measured, masked)
        padding = sum(example.end_is_padding and example.end_labelled for example in ending)
        share = measured.share(padding)
        if recipe.masks_padding is False or share < self.share_to_tell:
            return None
        word = vocabulary.word(vocabulary.end if vocabulary.padding is None else vocabulary.padding)
        count = part(padding, len(measured.examples))
        if recipe.masks_padding:
            message = say(
                "{word} pads and ends: its label is masked in {count}, and the model never learns to stop", word=word, count=count
            )
        else:
            message = say(
                "{word} pads and ends {count}: a collator that masks padding ids, as "
                "DataCollatorForLanguageModeling does, masks that end, and the model never learns to stop",
                word=word,
                count=count,
            )
        own = say("the padding token") if vocabulary.padding is not None else say("without a padding token, the end token")
        return self.finding(
            "warning" if recipe.masks_padding else "info",
            message,
            measured.basis,
            say(
                "{own} is {word}, with the id {end:,}",
                own=own,
                word=word,
                end=vocabulary.end if vocabulary.padding is None else vocabulary.padding,
            ),
            recipe.padding_from or say("no setting says which collator is used"),
            remedies=_another_token(),
        )

    def _unmarked(self, measured: Measured, masked: int) -> Finding:
        count = part(masked, len(measured.examples))
        marked = measured.recipe.labels == "marked"
        why = say("{% generation %} closes before it") if marked else say("the labels leave it out")
        change = {"chat_template": Rule(say("{% endgeneration %} behind the end token"))} if marked else {}
        do = say("Close {% generation %} behind the end token") if marked else say("Give the end token a label")
        return self.finding(
            "warning",
            say(
                "the end token has no label in {replace}: {why}, and the model never learns to stop",
                replace=count.replace("all", "any of", 1),
                why=why,
            ),
            measured.basis,
            say("labels: {labels_from}", labels_from=measured.recipe.labels_from),
            remedies=(Remedy(do, say("what has no label is not learned"), change, "none", MARKS),),
        )


def _another_token() -> tuple[Remedy, ...]:
    token = {"pad_token": Rule(say("a token that the data does not use, such as <pad>, <unk> or one that is reserved"))}
    return (
        Remedy(say("Pad with another token"), say("then only padding is masked"), token, "none", SOURCES),
        Remedy(
            say("Let a collator pad labels that were made before"),
            say("DataCollatorForSeq2Seq masks what it adds, and no label that is there"),
            {},
            "low",
            SOURCES[:1],
            alternative=True,
        ),
    )
