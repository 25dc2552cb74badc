from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import MEDIUM, Cause, Opinion
from lossdoctor.families import vocabulary_of
from lossdoctor.model import Chart, Remedy
from lossdoctor.signs import Signs


@dataclass(eq=False, repr=False)
class UntrainedEmbeddings(Cause):
    """Rows of the embedding or of the output layer were never trained.

    ## How we tell
    The first loss is above that of guessing: new rows of random size give some tokens far too large logits. It falls within
    a few dozen steps if these rows are trained, and stays if they are frozen, as under LoRA without `modules_to_save`.

    ## What else it could be
    Labels that belong to another tokenizer, or padding that is scored: these start as high and fall more slowly. A loss that
    is summed over accumulation steps is higher by exactly their number.

    ## Remedies and their sources
    New rows at the mean of the old ones start near the loss of before, since they take little probability from the others
    (https://www.cs.columbia.edu/~johnhew/vocab-expansion.html). Under LoRA `modules_to_save` trains them
    (https://huggingface.co/docs/peft/developer_guides/lora), which stores them in full.
    """

    title = "embedding rows that were never trained"
    confirmed = 1
    decide_by = "compare len(tokenizer) with the rows of model.get_input_embeddings() in the base model: were tokens added?"

    def weigh(self, chart: Chart) -> Opinion | None:
        opening = chart.seen("opening-loss-above-chance")
        if opening is None or opening.evidence["answers"] < 100 or Signs(chart).broken:
            return None
        opinion = Opinion((opening,))
        opinion.add(2, "a model that gives wrong answers with confidence does worse than guessing, and new rows do that")
        vocabulary, family = chart.run.get("vocab_size"), vocabulary_of(chart.run)
        if isinstance(vocabulary, int) and family and vocabulary > family + 64:
            opinion.add(2, f"the vocabulary has {vocabulary:,} tokens, and that of this family {family:,}: rows were added")
        if not opening.open:
            opinion.add(2, f"the loss was below guessing again by step {opening.last:,}: new rows learn that fast")
        elif chart.run.get("use_lora") or chart.run.get("lora_r"):
            opinion.add(1, "an adapter is trained: it leaves the embedding alone unless modules_to_save names it")
        if opening.severity == "info":
            opinion.add(-1, "nothing says that a language model is trained: a loss of another kind may begin anywhere")
            opinion.points = min(opinion.points, MEDIUM - 1)
        opinion.explanation = (
            "Tokens were added to the tokenizer and the embedding was resized, or a head was missing from the checkpoint. The "
            "new rows are random, and their logits outweigh those of all other tokens until they are trained."
        )
        if not opening.open:
            opinion.explanation += " The loss came down, so they are: nothing has to be changed in this run."
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        opening = chart.seen("opening-loss-above-chance")
        if opening and not opening.open:
            return ()
        return (
            Remedy(
                "Start new rows at the mean of the old ones",
                "resize_token_embeddings does so in transformers 4.46 and later; random rows give logits of any size",
                {"mean_resizing": True},
                "none",
                ("https://www.cs.columbia.edu/~johnhew/vocab-expansion.html",),
            ),
            Remedy(
                "Under LoRA, train them as well",
                "an adapter alone cannot move embedding and output rows",
                {"modules_to_save": ["embed_tokens", "lm_head"]},
                "low",
                ("https://huggingface.co/docs/peft/developer_guides/lora",),
            ),
        )
