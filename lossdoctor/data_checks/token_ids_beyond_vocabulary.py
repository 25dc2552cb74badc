from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.language import say
from lossdoctor.measured import Measured
from lossdoctor.model import Finding, Remedy, Rule, Severity

SOURCES = (
    "https://github.com/huggingface/transformers/issues/11102",
    "https://github.com/huggingface/transformers/issues/12763",
)
MEAN = "https://www.cs.columbia.edu/~johnhew/vocab-expansion.html"
PEFT = "https://huggingface.co/docs/peft/developer_guides/lora"


@dataclass(eq=False, repr=False)
class TokenIdsBeyondVocabulary(DataCheck):
    """The tokenizer makes token ids that the model has no row for.

    ## What it looks at
    The length of the tokenizer and the highest token id in a sample of the examples, against the rows of the embedding in the
    weights, or `vocab_size` in `config.json`.

    ## Why it matters
    The first batch with such an id raises an index error, on a GPU as a device-side assert. Tokens were added to the tokenizer,
    and the embedding was not resized; or tokenizer and model are not of one family.

    ## What it misses
    A script that resizes the embedding before it trains. A tokenizer with fewer tokens than the model has rows is usual: rows are
    padded to a multiple of 64 or 128.
    """

    title = "a tokenizer that is larger than the model"

    def look(self, measured: Measured) -> Finding | None:
        weights, vocabulary = measured.weights, measured.vocabulary
        size = weights.size if weights else None
        if size is None or measured.recipe.tool == "axolotl":  # which enlarges the embedding by itself
            return None
        highest = max((example.highest for example in measured.examples), default=-1)
        beyond = sum(example.highest >= size for example in measured.examples)
        known = (
            say("the tokenizer has {length:,} tokens", length=vocabulary.length)
            if vocabulary
            else say("the examples are in tokens already")
        )
        of = say("its weights have") if weights and weights.rows else say("config.json states")
        because = [known, say("{of} {size:,} rows for tokens", of=of, size=size)]
        padding = vocabulary.padding if vocabulary else None
        if beyond:
            severity: Severity = "critical"
            message = say(
                "{beyond:,} of {number_of_examples:,} examples have token ids up to {highest:,}, and the model "
                "has {size:,} rows: the first batch with one raises an index error",
                beyond=beyond,
                number_of_examples=len(measured.examples),
                highest=highest,
                size=size,
            )
        elif padding is not None and padding >= size:
            severity = "critical"
            word = vocabulary.word(padding) if vocabulary else str(padding)
            message = say(
                "the padding token {word} has the id {padding:,}, and the model has {size:,} rows: the first "
                "batch that is padded raises an index error",
                word=word,
                padding=padding,
                size=size,
            )
        elif vocabulary is not None and vocabulary.length > size:
            severity = "info"
            message = say("the tokenizer has {length:,} tokens more than the model has rows", length=vocabulary.length - size)
            message += say("; none of them is in the examples that were looked at") if measured.examples else ""
        else:
            return None
        if measured.run.get("tokens_added"):
            severity = "info"
            because.append(say("the configuration adds tokens, and its trainer resizes the embedding for them"))
        if vocabulary is not None and vocabulary.added:
            because.append(say("the first of them: {added}", added=", ".join((word for _, word in vocabulary.added))))
        return self.finding(
            severity, message, *([measured.basis] if measured.rows else []), *because, remedies=_remedies(measured)
        )


def _remedies(measured: Measured) -> tuple[Remedy, ...]:
    resize = Remedy(
        say("Call model.resize_token_embeddings(len(tokenizer)) before training, and start new rows at the mean of the old ones"),
        say("new rows at the mean take little probability from the others"),
        {"mean_resizing": True},
        "low",
        (*SOURCES, MEAN),
    )
    if not measured.run.get("use_lora") and not measured.run.get("lora_r"):
        return (resize,)
    saved = {"modules_to_save": ["embed_tokens", "lm_head"]}
    why = say("an adapter alone cannot move embedding and output rows")
    token = {"trainable_token_indices": Rule(say("the ids of the new tokens"))}
    return (
        resize,
        Remedy(say("Under LoRA, train the new rows as well"), why, saved, "low", (PEFT,)),
        Remedy(say("Train these rows alone"), say("it takes far less memory"), token, "low", (PEFT,), alternative=True),
    )
