from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lossdoctor.base import Detector
from lossdoctor.language import say
from lossdoctor.model import Record, Symptom
from lossdoctor.stats import median
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class TrainEvalScaleGap(Detector):
    """The training loss is a constant multiple of the evaluation loss.

    ## What it watches
    The level of `loss` at each evaluation, divided by `eval_loss`. If the ratio stays the same and equals
    `gradient_accumulation_steps`, the number of processes, or their product, it is a warning. Where these are not known, a
    steady ratio of 2, 4, 8 … is a note.

    ## Why it matters
    The training loss is then summed where it should be averaged, and the gradient with it: clipping and learning rate act on
    something that many times too large. transformers 4.46 to 4.51 did this with some models, and models that
    ignore `num_items_in_batch` still do.

    ## What it misses
    Runs without evaluation. A training loss that is somewhat above the evaluation loss is usual: dropout, label smoothing
    and harder data do that, but seldom by such a factor.
    """

    series = "loss"
    kinds = ("eval",)
    says = "the training loss is {ratio:.3g} times the evaluation loss at each of {evaluations:.0f} evaluations; {meaning}"
    near: float = 0.15
    near_unknown: float = 0.06
    #: Largest ratio divided by smallest.
    steady: float = 1.3
    steady_unknown: float = 1.15
    evaluations: int = 2
    evaluations_unknown: int = 3

    def __post_init__(self) -> None:
        self._ratios: deque[float] = deque(maxlen=16)
        self._first = 0

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        loss = record.values.get("eval_loss")
        if loss is not None and 0 < loss < float("inf") and vitals.curve.rows and vitals.curve.recent > 0:
            if vitals.curve.rows < 3 and vitals.run.get("gradient_accumulation_steps") is None:
                return None  # a first row is often far above the evaluation
            self._first = self._first or record.step
            self._ratios.append(min(vitals.curve.recent / loss, 1e9))
        return None

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        ratios = self._ratios
        if len(ratios) < self.evaluations or not vitals.loss_tells:
            return
        ratio, spread = median(ratios), max(ratios) / min(ratios)
        evidence: dict[str, Any] = {"ratio": ratio, "evaluations": float(len(ratios)), "spread": spread}
        for name, factor in self._factors(vitals):
            if abs(ratio / factor - 1) < self.near and spread < self.steady:
                words = {"meaning": say("{name} is {factor:.0f}", name=name, factor=factor)}
                yield self.symptom("warning", self._first, vitals.step, words=words, factor=factor, **evidence)
                return
        whole = 2.0 ** round(ratio).bit_length() / 2
        unknown = vitals.run.get("gradient_accumulation_steps") is None
        if unknown and whole >= 2 and abs(ratio / whole - 1) < self.near_unknown and spread < self.steady_unknown:
            if len(ratios) >= self.evaluations_unknown:
                words = {"meaning": say("gradient accumulation steps or GPUs may be that many")}
                yield self.symptom("info", self._first, vitals.step, words=words, factor=whole, **evidence)

    @staticmethod
    def _factors(vitals: Vitals) -> list[tuple[str, float]]:
        steps, gpus = vitals.run.get("gradient_accumulation_steps") or 1, vitals.run.get("world_size") or 1
        named = [("gradient_accumulation_steps", float(steps)), (say("the number of processes"), float(gpus))]
        named.append((say("accumulation steps × processes"), float(steps) * float(gpus)))
        return [(name, factor) for name, factor in named if factor >= 2]

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.evals else say("no evaluation loss was logged")
