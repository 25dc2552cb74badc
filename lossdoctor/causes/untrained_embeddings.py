from __future__ import annotations

import re
from dataclasses import dataclass

from lossdoctor.base import MEDIUM, Cause, Opinion
from lossdoctor.families import vocabulary_of
from lossdoctor.language import later, say
from lossdoctor.model import Chart, Remedy, Run
from lossdoctor.signs import Signs
from lossdoctor.tasks import adapter

ROWS = later(
    "Tokens were added to the tokenizer and the embedding was resized, or a head was missing from "
    "the checkpoint. The new rows are random, and their logits outweigh those of all other tokens "
    "until they are trained."
)
SETTLED = later(" The loss came down, so they are: this run may go on, and the next one need not begin so.")


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

    #: No pretrained model starts there on text.
    high: float = 6.0

    def weigh(self, chart: Chart) -> Opinion | None:
        opening = chart.seen("opening-loss-above-chance")
        if Signs(chart).broken:
            return None
        if opening is None or opening.evidence["answers"] < 100:
            return self._added(chart)
        opinion = Opinion((opening,))
        opinion.add(2, say("a model that gives wrong answers with confidence does worse than guessing, and new rows do that"))
        if added := _tokens_added(chart.run):
            opinion.add(2, added)
        if not opening.open:
            opinion.add(2, say("the loss was below guessing again by step {last:,}: new rows learn that fast", last=opening.last))
        elif chart.run.get("use_lora") or chart.run.get("lora_r"):
            opinion.add(1, say("an adapter is trained: it leaves the embedding alone unless modules_to_save names it"))
        if opening.severity == "info":
            opinion.add(-1, say("nothing says that a language model is trained: a loss of another kind may begin anywhere"))
            opinion.points = min(opinion.points, MEDIUM - 1)
        opinion.explanation = say(ROWS) + ("" if opening.open or adapter(chart.run) else say(SETTLED))
        return opinion

    def _added(self, chart: Chart) -> Opinion | None:
        """A high first loss of a model to which tokens were added, below that of guessing."""
        outline, added = chart.outline, _tokens_added(chart.run)
        if not added or outline.begins_late or not outline.first_loss or outline.first_loss < self.high:
            return None
        opinion = Opinion(())
        opinion.add(2, added)
        opinion.add(
            1,
            say("the first loss is {first_loss:.3g}; a pretrained model starts between 0.5 and 3", first_loss=outline.first_loss),
        )
        opinion.explanation = say(ROWS) + (say(SETTLED) if (outline.level or self.high) < 0.5 * outline.first_loss else "")
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        mean = Remedy(
            say("Start new rows at the mean of the old ones"),
            say("resize_token_embeddings does so in transformers 4.46 and later; random rows give logits of any size"),
            {"mean_resizing": True},
            "none",
            ("https://www.cs.columbia.edu/~johnhew/vocab-expansion.html",),
        )
        trained = Remedy(
            say("Under LoRA, train them as well"),
            say("an adapter alone cannot move embedding and output rows"),
            {"modules_to_save": ["embed_tokens", "lm_head"]},
            "low",
            ("https://huggingface.co/docs/peft/developer_guides/lora",),
        )
        opening, lora = chart.seen("opening-loss-above-chance"), adapter(chart.run)
        learned = opening is not None and not opening.open
        return (mean, trained) if lora or (lora is None and not learned) else (mean,)


def _tokens_added(run: Run) -> str | None:
    """How we know that the vocabulary was extended; None where nothing says so."""
    vocabulary, family, name = run.get("vocab_size"), vocabulary_of(run), str(run.get("model_name_or_path") or "")
    if isinstance(vocabulary, int) and family and vocabulary > family + 64:
        return say(
            "the vocabulary has {vocabulary:,} tokens, and that of this family {family:,}: rows were added",
            vocabulary=vocabulary,
            family=family,
        )
    return say("the model is called {name}: rows were added", name=name) if re.search(r"\+.*\btokens?\b", name.lower()) else None
