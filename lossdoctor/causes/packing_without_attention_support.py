from __future__ import annotations

from dataclasses import dataclass
from math import log

from lossdoctor import hardware
from lossdoctor.base import Cause, Opinion
from lossdoctor.families import family_of
from lossdoctor.language import say
from lossdoctor.model import Chart, Remedy
from lossdoctor.remedies import PACKING, separated_examples
from lossdoctor.signs import Signs


@dataclass(eq=False, repr=False)
class PackingWithoutAttentionSupport(Cause):
    """Several examples are packed into one row, and the attention kernel lets them see each other.

    ## How we tell
    Packing is on with another attention than FlashAttention, and the loss is far too high from the first row on: a pretrained
    model starts between 0.5 and 3. Gemma without its BOS token starts as high, packed or not.

    ## What else it could be
    Labels or a chat template that do not fit the model, new embedding rows, and a model that is trained from scratch. A loss
    that begins well and rises is none of these.

    ## Remedies and their sources
    FlashAttention 2 keeps packed examples apart, others need padding (https://huggingface.co/docs/trl/sft_trainer). One of the
    three public threads of this kind is confirmed; the missing BOS token of Gemma is reported, not confirmed. An optional
    package decides which kernel is used (https://github.com/hiyouga/LlamaFactory/issues/9631).
    """

    title = "packed examples that see each other, or a missing BOS token"
    confirmed = 1
    decide_by = "run 10 steps with packing off and the same data: is the first loss lower?"
    #: A first loss from here on is too high for a pretrained model; above the second share of ln(vocabulary) it is a new one.
    high: float = 4.0
    scratch: float = 0.85

    def weigh(self, chart: Chart) -> Opinion | None:
        run, family = chart.run, family_of(chart.run)
        gemma = bool(family and family.name == "Gemma")
        packing = run.get("packing") is True or run.get("padding_free") is True
        kernel = str(run.get("attn_implementation") or "").lower()
        if not (packing or gemma) or "flash" in kernel or "fa2" in kernel or Signs(chart).broken:
            return None
        opening, first = chart.seen("opening-loss-above-chance"), chart.outline.first_loss
        if not opening and not self._high(chart):
            return None
        opinion = Opinion((opening,) if opening else ())
        if packing and kernel in hardware.BLIND_KERNELS:
            opinion.add(3, say("packing is on with {kernel} attention, which does not keep packed examples apart", kernel=kernel))
        elif packing:
            opinion.add(1, say("packing is on, and nothing says that FlashAttention is used"))
        opinion.add(1, say("the first loss is {first:.3g}; a pretrained model starts between 0.5 and 3", first=first))
        if gemma:
            opinion.add(1, say("Gemma gives such losses where its BOS token is missing"))
        opinion.explanation = (
            say(
                "Each example attends to those packed before it, which have nothing to do with it, and its "
                "positions go on counting."
            )
            if packing
            else say("Gemma was trained with a BOS token at the start of every text and is lost without it.")
        )
        return opinion

    def _high(self, chart: Chart) -> bool:
        first, vocabulary, outline = chart.outline.first_loss, chart.run.get("vocab_size"), chart.outline
        known = float(vocabulary) if isinstance(vocabulary, (int, float)) and vocabulary > 1 else 32000.0
        early = not outline.begins_late and outline.window <= 25
        return bool(early and first and self.high <= first < self.scratch * log(known))

    def check(self, chart: Chart) -> str:
        if chart.run.get("packing") is True or chart.run.get("padding_free") is True:
            return say(self.decide_by)
        return say("print input_ids[:, 0] of one batch: it must be tokenizer.bos_token_id in every row")

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        family = family_of(chart.run)
        remedies: list[Remedy] = []
        if chart.run.get("packing") is True or chart.run.get("padding_free") is True:
            remedies += separated_examples()
        if family and family.name == "Gemma":
            why = say("input_ids must begin with tokenizer.bos_token_id; where the chat template adds it, it must not come twice")
            remedies.append(
                Remedy(
                    say("Give every example the BOS token: AutoTokenizer.from_pretrained(..., add_bos_token=True)"),
                    why,
                    {"add_bos_token": True},
                    "none",
                    (PACKING,),
                )
            )
        return tuple(remedies)
