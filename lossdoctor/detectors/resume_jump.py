from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from lossdoctor.base import Detector
from lossdoctor.model import Record, Symptom
from lossdoctor.stats import median
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class ResumeJump(Detector):
    """The loss jumps where the run was resumed.

    ## What it watches
    `loss` before and after a restart: where the steps or the epoch of the log go back, or a learning rate that was falling
    starts again. Three rows after it are compared with the level before. A jump up is a warning, and more so if it ends
    where the run began; a jump down is a note.

    ## Why it matters
    A resumed run goes on where it was, within noise. Back at the first loss: the adapter or the weights were not loaded.
    Somewhat higher: the optimizer and its state were lost, or the rate is back at its peak. Lower until the epoch ends: the
    data starts from the beginning, and the model sees again what it has just learned.

    ## What it misses
    Restarts that leave no trace in the log, which is what a resume through the Trainer looks like when all goes well.
    """

    incident = "rise"
    says = "the loss jumps from {before:.4g} to {after:.4g} where run or learning rate start anew, step {onset:,}"
    says_start = (
        "the loss jumps from {before:.4g} back to {after:.4g} (it began at {start:.4g}) where run or learning rate start anew, "
        "step {onset:,}"
    )
    says_down = "the loss drops from {before:.4g} to {after:.4g} where run or learning rate start anew, step {onset:,}"
    jump: float = 0.10
    deviations: float = 4.0
    rows: int = 3
    #: Level with the start: closer to it than this share of the way from the level before.
    back_at_start: float = 0.3

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._down: Symptom | None = None
        self._base = self._noise = self._start = 0.0
        self._onset = 0
        self._rows: list[float] = []

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        loss, curve = vitals.loss, vitals.curve
        if (not self._onset and vitals.restarted != vitals.step) or loss is None or not abs(loss) < float("inf"):
            return None
        if vitals.restarted == vitals.step and curve.rows > 3 and vitals.loss_tells:
            self._base, self._noise, self._start = curve.recent_before, curve.noise, curve.start
            self._onset, self._rows, self._symptom = max(1, vitals.step - vitals.window + 1), [], None
        if self._onset and len(self._rows) < self.rows:
            self._rows.append(loss)
            return self._judge(vitals) if len(self._rows) == self.rows else None
        if self._symptom is not None and curve.recent < self._base + 0.25 * (median(self._rows) - self._base):
            closed, self._symptom = replace(self._symptom, open=False, last=vitals.step), None
            return closed
        return None

    def _judge(self, vitals: Vitals) -> Symptom | None:
        after = median(self._rows)
        up = after - self._base
        bar = max(self.jump * max(abs(self._base), 0.2 * (self._start - self._base)), self.deviations * 0.7 * self._noise)
        evidence: dict[str, Any] = {"before": self._base, "after": after, "start": self._start}
        if up > bar:
            whole = self._start - self._base
            begun = whole > bar and abs(self._start - after) < self.back_at_start * whole
            says = self.says_start if begun else self.says
            self._symptom = self.symptom("warning", self._onset, vitals.step, says=says, back_at_start=float(begun), **evidence)
            return self._symptom
        if -up > bar:
            down = self.symptom("info", self._onset, vitals.step, says=self.says_down, back_at_start=0.0, **evidence)
            self._down = replace(down, open=False)  # nothing to tell while it runs: it is over as soon as it is seen
        return None

    @property
    def settled(self) -> bool:
        return self._symptom is None and (not self._onset or len(self._rows) == self.rows)

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._down is not None:
            yield self._down
        if self._symptom is not None:
            yield replace(self._symptom, last=vitals.step)
