from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lossdoctor.base import Detector
from lossdoctor.chance import Chance, known_chance
from lossdoctor.model import Record, Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class OpeningLossAboveChance(Detector):
    """The first loss is higher than that of blind guessing.

    ## What it watches
    The first logged `loss` against ln(vocabulary) of a language model, or ln(classes) of a classifier. It ends as soon as the
    loss is below that. Losses that are no mean cross-entropy (CTC, regression, reinforcement learning, preference tuning)
    are left alone.

    ## Why it matters
    A model that knew nothing would do better by guessing. So the labels belong to another tokenizer or are shifted, padding
    is scored as text, rows of the embedding were never trained, or the loss is a sum (over accumulation steps or GPUs)
    rather than a mean.

    ## What it misses
    A first row that averages many steps may already be below. Without `vocab_size` or `num_labels` nothing can be said.
    """

    says = "the first loss is {loss:.4g}, above {chance:.4g} = ln({answers:.0f}): worse than guessing among {answers:.0f} {kind}"
    above: float = 0.10
    #: A new classification head guesses with some confidence, so its first loss is a little above chance.
    above_classes: float = 0.5

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._chance: Chance | None = None
        self._looked = False

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
        self._chance = chance = known_chance(vitals.run, vitals.task)
        if chance is None or not vitals.supervised or vitals.begins_late or vitals.loss is None:
            return None
        above = self.above if chance.kind == "tokens" else self.above_classes
        if vitals.loss <= (1 + above) * chance.loss:
            return None
        self._symptom = self.symptom(
            "warning",
            1,
            vitals.step,
            says=self.says.replace("{kind}", chance.kind),
            loss=vitals.loss,
            chance=chance.loss,
            answers=float(chance.answers),
            times=vitals.loss / chance.loss,
        )
        return self._symptom

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            yield replace(self._symptom, last=vitals.step)

    def blind(self, vitals: Vitals) -> str | None:
        if vitals.supervised and not known_chance(vitals.run, vitals.task):
            return "neither vocab_size nor num_labels is known (give them with --config or --set)"
        return None
