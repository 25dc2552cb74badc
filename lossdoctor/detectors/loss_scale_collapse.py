from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf, log2

from lossdoctor.base import Detector
from lossdoctor.model import RANK, Record, Severity, Symptom
from lossdoctor.probe_columns import LOSS_SCALE
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LossScaleCollapse(Detector):
    """The loss scale of fp16 training falls and falls.

    ## What it watches
    `loss_scale` where a trainer logs it, and live the scale of the GradScaler or of DeepSpeed in every step: below 1 it is
    critical, and so is 1 where `skipped_steps` says that no step since the row before was made; four halvings net within 200
    steps, after the first 40 steps, are a warning.

    ## Why it matters
    The scaler halves its scale on every overflow. Finding its level at the start costs about log2(65536 / level) steps; a
    scale that falls later, and below 1, says that every step overflows and no step is made.

    ## What it misses
    The Trainer does not log the scale itself: afterwards there is nothing to see, unless DeepSpeed printed it between the rows.
    """

    series = "loss_scale"
    kinds = ("train", "probe")
    says = "the loss scale fell to {value:.4g} by step {last:,}: every step overflows"
    says_falling = "the loss scale was halved {halvings:.0f} times within {steps} steps, down to {value:.6g}"
    floor: float = 1.0
    halvings_to_warn: float = 4.0
    steps: int = 200
    startup_steps: int = 40

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._recent: deque[tuple[int, float]] = deque(maxlen=256)

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        values, step = record.values, record.step
        scale = values.get(LOSS_SCALE, values.get("loss_scale", values.get("grad_scale")))
        if scale is None or not 0 <= scale < inf:
            return None
        if scale < self.floor or (scale == self.floor and values.get("skipped_steps", 0.0) >= vitals.window):
            return self._see("critical", scale, 0.0, record, vitals)
        if step <= self.startup_steps:
            return None
        while self._recent and self._recent[0][0] < step - self.steps:
            self._recent.popleft()
        self._recent.append((step, scale))
        halvings = log2(self._recent[0][1] / scale)
        if halvings >= self.halvings_to_warn:
            return self._see("warning", scale, halvings, record, vitals)
        if self._symptom and len(self._recent) > 1 and halvings <= 0:
            closed, self._symptom = self._symptom, None
            return replace(closed, open=False, last=step)
        return None

    def _see(self, severity: Severity, scale: float, halvings: float, record: Record, vitals: Vitals) -> Symptom | None:
        known = self._symptom
        if known is None or RANK[severity] > RANK[known.severity]:
            says = self.says if severity == "critical" else self.says_falling
            first = record.step if record.kind == "probe" else vitals.step - vitals.window + 1
            self._symptom = self.symptom(
                severity,
                known.onset if known else first,
                record.step,
                says=says,
                words={"steps": str(self.steps)},
                value=scale,
                halvings=halvings,
            )
            return self._symptom
        return None

    @property
    def settled(self) -> bool:
        return self._symptom is None and not self._recent

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            yield replace(self._symptom, last=max(self._symptom.last, vitals.step))
