from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import log

from lossdoctor.base import Detector
from lossdoctor.chance import VOCABULARIES, Chance, cross_entropy, known_chance
from lossdoctor.families import family_of
from lossdoctor.language import say
from lossdoctor.model import Record, Run, Symptom
from lossdoctor.vitals import Vitals

#: Frameworks and classes that train nothing but language models.
_LANGUAGE = r"sft|causal|llama-factory|llamafactory|axolotl|fastchat|unsloth|open_llama|lit-gpt|nanogpt"
_MODELS = r"gpt|llama|opt-|bloom|falcon|pythia|phi-|smollm|olmo|starcoder|codegen|deepseek|yi-"


@dataclass(eq=False, repr=False)
class OpeningLossAboveChance(Detector):
    """The first loss is higher than that of blind guessing.

    ## What it watches
    The first logged `loss` against ln(vocabulary) of a language model, or ln(classes) of a classifier. It ends as soon as the
    loss is below that. Losses that are no mean cross-entropy (CTC, regression, reinforcement learning, preference tuning)
    are left alone. Where the vocabulary is not known, a loss above that of the largest one in use (262,208 tokens) is; it is a
    note where nothing says that a language model is trained.

    ## Why it matters
    A model that knew nothing would do better by guessing. So the labels belong to another tokenizer or are shifted, padding
    is scored as text, rows of the embedding were never trained, or the loss is a sum (over accumulation steps or GPUs)
    rather than a mean.

    ## What it misses
    A first row that averages many steps may already be below. Without `vocab_size` or `num_labels` a loss below 13.7 may be
    above chance and is not told.
    """

    says = "the first loss is {loss:.4g}, above {chance:.4g} = ln({answers:.0f}): worse than guessing among {answers:.0f} {kind}"
    says_any = "the first loss is {loss:.4g}, above that of guessing for any vocabulary in use (ln({answers:.0f}) = {chance:.4g})"
    above: float = 0.10
    #: A new classification head guesses with some confidence, so its first loss is a little above chance.
    above_classes: float = 0.5
    #: Above this a loss of which nothing is known is a sum or a distance rather than a mean cross-entropy.
    most_unknown: float = 50.0

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._chance: Chance | None = None
        self._looked = self._told = False

    @property
    def settled(self) -> bool:
        return self._looked and self._symptom is None

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if self._symptom is not None and self._chance is not None:
            if vitals.curve.rows >= 5 and vitals.curve.recent < self._chance.loss:
                closed, self._symptom = replace(self._symptom, open=False, last=vitals.step), None
                return closed
            return None
        if self._looked or vitals.curve.rows == 0:
            return None
        self._looked = True
        self._chance = chance = known_chance(vitals.run, vitals.task) or self._any_vocabulary(vitals.run)
        if chance is None or not vitals.supervised or vitals.begins_late or vitals.loss is None:
            return None
        above, text = self.above if chance.kind == "tokens" else self.above_classes, chance.known or language_model(vitals.run)
        before = vitals.run.get("opening_loss") or vitals.loss  # a first row may hold what the first steps destroyed
        if min(before, vitals.loss) <= (1 + above) * chance.loss or not (text or vitals.loss < self.most_unknown):
            return None
        self._symptom = self.symptom(
            "warning" if text else "info",
            1,
            vitals.step,
            says=self.says if chance.known else self.says_any,
            words={"kind": say(chance.kind)},
            loss=vitals.loss,
            chance=chance.loss,
            answers=float(chance.answers),
            times=vitals.loss / chance.loss,
            known=float(chance.known),
        )
        self._told = True
        return self._symptom

    @staticmethod
    def _any_vocabulary(run: Run) -> Chance | None:
        """What no model in use can be above by guessing; None where the loss is of another kind."""
        return Chance(log(max(VOCABULARIES)), max(VOCABULARIES), False, "tokens") if cross_entropy(run) else None

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None and self._chance is not None:
            over = vitals.curve.rows < 5 and vitals.curve.last < self._chance.loss  # too few rows for a level
            yield replace(self._symptom, open=not over, last=vitals.step)

    def blind(self, vitals: Vitals) -> str | None:
        if vitals.supervised and not self._told and not known_chance(vitals.run, vitals.task):
            return say("neither vocab_size nor num_labels is known (give them with --config or --set)")
        return None


def language_model(run: Run) -> bool:
    """Whether the facts say that the next token is what is learned."""
    words = run.words("framework", "trainer", "model_type")
    model = run.words("model_name_or_path", "model_type")
    return family_of(run) is not None or bool(re.search(_LANGUAGE, words) or re.search(_MODELS, model))
