from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite, isinf

from lossdoctor.base import NO_GRADIENT_NORM, Detector, Streak
from lossdoctor.language import say
from lossdoctor.model import RANK, Record, Severity, Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class GradientNotFinite(Detector):
    """The gradient norm is NaN or infinite.

    ## What it watches
    `grad_norm` of every training row: that of the last step the row covers. One such row with a normal loss is a note, two
    running or several scattered ones a warning; three running over more than 20 steps, or one beside a zero or NaN loss
    (three steps where fp16 is known to be on), are critical. Before the first finite norm a loss scaler may still be
    finding its level.

    ## Why it matters
    Without a loss scaler this step turns the weights into NaN. With one it is skipped, and nothing is learned from it; when
    every step is skipped the run stands still.

    ## What it misses
    Steps inside a logging window: the log shows only the last norm of each. DeepSpeed prints a NaN norm as a constant.
    """

    series = "grad_norm"
    says = "the gradient norm is {value} in {rows:.0f} rows running from step {onset:,}"
    says_startup = "the gradient norm is {value} in the first {rows:.0f} rows, before the first finite one"
    says_scattered = "the gradient norm is not finite in {rows:.0f} of the last {recent:.0f} rows"
    rows_to_warn: int = 2
    rows_to_condemn: int = 3
    #: A loss scaler that starts anew, after a resume for one, finds its level within log2(65536) = 16 steps.
    steps_to_condemn: int = 20
    #: In fp16 the scaler skips a step that overflows; one or two of them beside a zero loss heal by themselves.
    steps_in_fp16: int = 3
    startup_steps: int = 40
    recent: int = 20
    scattered_to_warn: int = 4
    rows_to_heal: int = 3

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._streak = Streak()
        self._finite_again = 0
        self._rows = 0
        self._words = ""
        self._startup = False
        self._window: deque[bool] = deque(maxlen=self.recent)

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        norm = vitals.grad_norm
        if norm is None:
            return None
        if isfinite(norm):
            self._window.append(False)
            return self._finite(vitals) if self._symptom else None
        self._window.append(vitals.step > self.startup_steps)
        self._finite_again = 0
        self._rows = max(self._rows, self._streak.add(self._first(vitals), vitals.step))
        severity, says = self._severity(vitals)
        known = self._symptom
        if known is not None and RANK[severity] <= RANK[known.severity]:
            return None
        onset = known.onset if known else self._streak.first
        self._startup = self._startup if known else not vitals.finite_gradients
        self._words = says
        self._symptom = self._state(severity, onset, norm, vitals)
        return self._symptom

    @staticmethod
    def _first(vitals: Vitals) -> int:
        """The first step that this row covers; the norm is that of its last one."""
        return vitals.step - vitals.window + 1

    def _severity(self, vitals: Vitals) -> tuple[Severity, str]:
        loss = vitals.loss
        steps = self._streak.last - self._streak.first + 1
        if loss is not None and ((loss == 0.0 and vitals.supervised) or not isfinite(loss)):
            skipped = vitals.run.get("fp16") is True and steps < self.steps_in_fp16
            return ("warning" if skipped else "critical"), self.says
        if not vitals.finite_gradients and vitals.step <= self.startup_steps:
            return "info", self.says_startup
        if self._streak.rows >= self.rows_to_condemn and steps > self.steps_to_condemn:
            return "critical", self.says
        if sum(self._window) >= self.scattered_to_warn:
            return "warning", self.says_scattered
        return ("warning" if self._streak.rows >= self.rows_to_warn else "info"), self.says

    def _state(self, severity: Severity, onset: int, value: float, vitals: Vitals) -> Symptom:
        rows = sum(self._window) if self._words == self.says_scattered else self._rows
        return self.symptom(
            severity,
            onset,
            vitals.step,
            says=self._words,
            value=value,
            rows=float(rows),
            recent=float(len(self._window)),
            infinite=float(isinf(value)),
            at_startup=float(self._startup),
            finite_rows_after=float(self._finite_again),
            from_first_row=float(self._rows == vitals.rows),
            loss=vitals.loss if vitals.loss is not None else float("nan"),
            level_before=vitals.level_before,
            learning_rate_frozen=float(vitals.rate_frozen(moves=1)),
        )

    def _finite(self, vitals: Vitals) -> Symptom | None:
        self._finite_again += 1
        self._streak.stop()
        if self._finite_again < self.rows_to_heal or self._symptom is None:
            return None
        symptom = self._symptom
        closed = replace(self._state(symptom.severity, symptom.onset, symptom.evidence["value"], vitals), open=False)
        self._symptom, self._rows = None, 0
        return closed

    @property
    def settled(self) -> bool:
        return self._symptom is None and len(self._window) == self.recent and not any(self._window)

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        symptom = self._symptom
        if symptom is None:
            return
        severity = symptom.severity
        if not vitals.finite_gradients and not vitals.has_loss:
            severity = "warning"  # nothing but non-finite norms: no loss says that the run is well
        yield self._state(severity, symptom.onset, symptom.evidence["value"], vitals)

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.has_grad_norm else say(NO_GRADIENT_NORM)
