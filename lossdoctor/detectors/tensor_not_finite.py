from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lossdoctor.base import Detector
from lossdoctor.language import later
from lossdoctor.model import Record, Symptom
from lossdoctor.probe_columns import FIRST_TENSOR, PROCESS
from lossdoctor.vitals import Vitals

#: What is said of the place that the forward pass was followed to.
WORDS = {
    "output": later(
        "the output of {name} is the first tensor that is not finite, when the batch of step {onset:,} is run again ({file})"
    ),
    "parameter": later("the weights of {name} are not finite, when the batch of step {onset:,} is run again ({file})"),
    "input": later("the input {name} of the batch of step {onset:,} is not finite before any module has seen it ({file})"),
    "nothing": later(
        "run again, the batch of step {onset:,} gives finite numbers: the NaN came from outside the forward pass ({file})"
    ),
    "loss": later(
        "every module gives finite numbers for the batch of step {onset:,}: it is the loss made of them that is not finite "
        "({file})"
    ),
}


@dataclass(eq=False, repr=False)
class TensorNotFinite(Detector):
    """The first tensor that is NaN or infinite is known by name.

    ## What it watches
    Live, once: after the first NaN loss that batch is run forward again under hooks, without gradients and without touching
    weights or random numbers. The first module whose output is not finite is named, or the parameter or input that was not
    finite before. `lossdoctor/forensics-<step>.json` in the output folder has the batch, its lengths and the largest
    activations.

    ## Why it matters
    It decides where to look: an attention kernel, an overflow in one layer, broken weights, or the data.

    ## What it misses
    What only the backward pass makes. Where losses are only read when the Trainer logs (on a GPU), weights may have moved
    since, and a batch that was long ago may be gone. Sharded models are not run again: that would take all processes.
    """

    series = "tensors"
    kinds = ("probe",)
    says = WORDS["output"]
    #: Each process looks once, and what the first ones found is enough.
    most: int = 3

    def __post_init__(self) -> None:
        self._symptoms: list[Symptom] = []

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        place = next((name for name in record.values if name.startswith(FIRST_TENSOR)), None)
        if place is None or len(self._symptoms) >= self.most or any(s.onset == record.step for s in self._symptoms):
            return None
        what, _, name = place.removeprefix(FIRST_TENSOR).partition("/")
        rank = f"-rank{record.values[PROCESS]:.0f}" if record.values.get(PROCESS) else ""
        words = {"name": name.replace("{", "").replace("}", ""), "file": f"lossdoctor/forensics-{record.step}{rank}.json"}
        evidence: dict[str, Any] = {f"{what}/{name}": float(record.step)}
        self._symptoms.append(
            self.symptom("info", record.step, record.step, says=WORDS.get(what, WORDS["output"]), words=words, **evidence)
        )
        return self._symptoms[-1]

    @property
    def settled(self) -> bool:
        return True

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        yield from self._symptoms
