from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, inf, log
from typing import Any

from lossdoctor.base import NO_GRADIENT_NORM, Detector
from lossdoctor.language import say
from lossdoctor.model import Record, Symptom
from lossdoctor.stats import MAD_TO_SD
from lossdoctor.trend import bend_step
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class GradientExplosion(Detector):
    """The gradient norm grows far beyond what it was, and the loss suffers.

    ## What it watches
    `grad_norm`: the median of the last five rows against the lowest median of 31. Ten times that, or more where norms
    scatter, while the loss has risen as well; or a hundred times, and ten times `max_grad_norm`. The absolute size means
    nothing: norms of a million occur in perfectly good runs.

    ## Why it matters
    A norm that grows by orders of magnitude comes before divergence. Clipping bounds the step, but its direction is that of
    a few exploding terms.

    ## What it misses
    Spikes of single steps, which clipping is for, and the slow rise that is usual in LoRA while the loss falls.
    """

    series = "grad_norm"
    incident = "gradient"
    says = (
        "the gradient norm grew from {usual:.3g} to {now:.3g} by step {last:,}, and the loss rose from {best:.4g} to {loss:.4g}"
    )
    says_alone = "the gradient norm grew from {usual:.3g} to {now:.3g} by step {last:,}"
    times: float = 10.0
    #: Over once it is below this many times the usual norm.
    back: float = 4.0
    times_alone: float = 100.0
    times_clip: float = 10.0
    #: In natural logarithms: how many deviations of the change from row to row count as scatter.
    deviations: float = 3.15
    loss_risen: float = 0.15
    rows: int = 10
    #: More of them say nothing new.
    episodes: int = 2
    rows_running: int = 3

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._many: deque[float] = deque(maxlen=31)
        self._usual: float | None = None
        self._seen = self._high = self._near = self._told = 0

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        norm = vitals.grad_norm
        if norm is None or not 0 < norm < inf:
            return None
        self._many.append(norm)
        self._seen += 1
        if self._seen % 8 == 0 and self._seen >= self.rows:
            level = sorted(self._many)[len(self._many) // 2]
            if self._usual is None or level < self._usual:
                self._usual = level
        if self._usual is None or not vitals.loss_tells:
            return None
        if norm > self.back * self._usual:
            self._near = 0
        elif self._symptom is None and not self._high:
            return None
        else:
            self._near += 1
        if self._near > 5 and self._symptom is None:
            self._high = 0
            return None
        many = list(self._many)
        now = sorted(many[-5:])[2]
        if now <= (self.back if self._symptom else self.times) * self._usual:
            self._high = 0
            closed, self._symptom = self._symptom, None
            return replace(closed, open=False, last=vitals.step) if closed else None
        changes = sorted(abs(log(b / a)) for a, b in pairwise(many))
        bar = max(self.times, exp(self.deviations * MAD_TO_SD * changes[len(changes) // 2]))
        if now <= bar * self._usual or self._symptom is not None:
            self._high = 0
            return None
        self._high += 1
        if self._high < self.rows_running or self._told >= self.episodes:
            return None
        self._symptom = self._state(now, vitals)
        self._told += self._symptom is not None
        return self._symptom

    def _state(self, now: float, vitals: Vitals) -> Symptom | None:
        curve, usual = vitals.curve, self._usual or now
        best = curve.lowest
        risen = curve.recent - best > max(self.loss_risen * curve.scale_at(best), 3 * 0.56 * curve.noise)
        clip = vitals.run.get("max_grad_norm") or 1.0
        alone = now > self.times_alone * usual and now > self.times_clip * clip and curve.recent > 0.5 * curve.start
        if not (risen or alone):
            return None
        evidence: dict[str, Any] = {"usual": usual, "now": now, "best": best, "loss": curve.recent, "clip": float(clip)}
        says = self.says if risen else self.says_alone
        onset = max(1, bend_step(vitals.history, "norm") - vitals.usual_window + 1)
        return self.symptom("warning", onset, vitals.step, says=says, **evidence)

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            yield replace(self._symptom, last=vitals.step)

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.has_grad_norm else say(NO_GRADIENT_NORM)
