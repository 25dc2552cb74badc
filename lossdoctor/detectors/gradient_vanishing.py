from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf

from lossdoctor.base import NO_GRADIENT_NORM, Detector
from lossdoctor.language import say
from lossdoctor.model import Record, Symptom
from lossdoctor.trend import bend_step
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class GradientVanishing(Detector):
    """The gradient norm fades to nothing while the loss is still high.

    ## What it watches
    `grad_norm`: the median of the last five rows below a hundredth of the highest such median, in three rows running,
    while the loss is still more than half of what it was at the start.

    ## Why it matters
    The weights still get steps, since Adam scales small gradients up, but they follow rounding and noise. Saturated
    activations, a loss at chance, or a scale that underflows in fp16 look like this.

    ## What it misses
    Single layers without gradient: the norm is that of all of them together. A gradient that fades together with the loss
    is a fit that succeeds, and is left alone.
    """

    series = "grad_norm"
    incident = "gradient"
    says = "the gradient norm faded from {high:.3g} to {now:.3g} by step {last:,} while the loss stands at {loss:.4g}"
    share: float = 0.01
    rows_running: int = 3
    rows: int = 8
    #: The highest norm counts up to this many times that of the first rows.
    first_rows: int = 15
    most_above_first: float = 10.0
    #: It is back above this share.
    back: float = 0.03
    #: More of them say nothing new.
    episodes: int = 2
    loss_left: float = 0.5

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._five: deque[float] = deque(maxlen=5)
        self._first_norms: list[float] = []
        self._high = self._usual = 0.0
        self._seen = self._low = self._first = self._told = 0

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        norm = vitals.grad_norm
        if norm is None or not 0 < norm < inf:
            return None
        five = self._five
        five.append(norm)
        self._seen += 1
        if self.share * self._high < norm <= self._high and not self._low and self._seen > self.first_rows:
            return None
        if self._seen <= self.first_rows:
            self._first_norms.append(norm)
            self._usual = sorted(self._first_norms)[self._seen // 4]
        if norm > self._high:  # only now may the highest median have grown; an explosion is not what is usual
            self._high = min(max(self._high, sorted(five)[len(five) // 2]), self.most_above_first * self._usual)
        if norm > (self.back if self._symptom else self.share) * self._high:
            closed, self._symptom = self._symptom, None
            self._low = 0
            return replace(closed, open=False, last=vitals.previous_step) if closed else None
        self._low += 1
        if self._low == 1:
            self._first = vitals.step - vitals.window + 1
        if self._symptom is None and self._low >= self.rows_running and self._seen >= self.rows and self._told < self.episodes:
            self._symptom = self._state(vitals)
            self._told += self._symptom is not None
            return self._symptom
        return None

    def _state(self, vitals: Vitals) -> Symptom | None:
        curve = vitals.curve
        if not vitals.loss_tells or curve.recent < self.loss_left * curve.start:
            return None
        now = sorted(self._five)[len(self._five) // 2]
        onset = max(1, bend_step(vitals.history, "norm", up=False) - vitals.usual_window + 1)
        return self.symptom(
            "warning", min(onset, self._first), vitals.step, high=self._high, now=now, loss=curve.recent, start=curve.start
        )

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            yield replace(self._symptom, last=vitals.step)

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.has_grad_norm else say(NO_GRADIENT_NORM)
