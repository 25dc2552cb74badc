from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import Any

from lossdoctor.base import Detector
from lossdoctor.language import say
from lossdoctor.model import Record, Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LossNotFinite(Detector):
    """The training loss is NaN or infinite.

    ## What it watches
    `loss` of every training row, and the average `train_loss` at the end. Live, also the loss of every micro-batch before the
    Trainer filters it: four steps running without a finite one (eight in fp16, where a scaler may skip some) are enough,
    however long it is until the next row.

    ## Why it matters
    A NaN loss gives NaN gradients, and unless a loss scaler skips the step they turn every weight into NaN.

    ## What it misses
    With `logging_nan_inf_filter` on (the default) a NaN never reaches the log as such: see `loss-collapse-to-zero`. With
    the filter off the Trainer's sum stays NaN once it was NaN, so the log cannot tell one NaN step from many: finite
    gradient norms in the rows that follow then lower this to a warning.
    """

    kinds = ("train", "summary", "probe")
    says = "the loss is {value} from step {onset:,} on"
    says_log_only = (
        "the logged loss is {value} from step {onset:,} on, while the gradient norm stays finite: "
        "the Trainer's running sum keeps the NaN of one step"
    )
    says_average = "the average training loss of the run is {value}"
    rows_to_heal: int = 5
    finite_gradients: int = 3

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._rows = self._finite_again = self._between = self._finite_gradients = self._bad_gradients = 0
        self._summary: tuple[int, float] | None = None
        self._live = self._frozen = False  # the symptom is one that the micro-batches showed; the rate stood still in it

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if record.kind == "summary":
            average = record.values.get("train_loss", 0.0)
            if not isfinite(average):
                self._summary = (record.step, average)
            return None
        if record.kind == "probe":
            return self._seen_inside(record, vitals)
        if self._live:
            return self._row_of_live(vitals)
        if vitals.loss is None:
            return None
        if isfinite(vitals.loss):
            return self._finite(vitals)
        return self._not_finite(vitals)

    def _seen_inside(self, record: Record, vitals: Vitals) -> Symptom | None:
        """The losses of one step, as an instrument saw them: what the log makes of them does not count."""
        if self._symptom is not None or not vitals.nonfinite_for_good or record.step != vitals.nonfinite_last:
            return None
        self._live, self._rows, onset = True, vitals.nonfinite_steps, vitals.nonfinite_since or record.step
        self._symptom = self.symptom(
            "critical",
            onset,
            record.step,
            value=nan,
            not_finite_rows=float(self._rows),
            from_first_row=float(onset <= 1),
            level_before=vitals.level,
            learning_rate_frozen=0.0,
            seen_live=1.0,
        )
        return self._symptom

    def _row_of_live(self, vitals: Vitals) -> Symptom | None:
        """A row of the log while the symptom stands: witness of the gradient, or of steps that are well again."""
        norm = vitals.grad_norm
        if norm is not None and vitals.step <= vitals.nonfinite_last:
            self._bad_gradients += not isfinite(norm)
            self._frozen = self._frozen or vitals.rate_frozen(moves=1)
        if self._symptom is None or vitals.step - vitals.nonfinite_last < self.rows_to_heal:
            return None
        closed = replace(self._symptom, open=False, last=vitals.nonfinite_last)
        self._symptom, self._live, self._frozen = None, False, False
        self._rows = self._bad_gradients = self._finite_gradients = 0
        return closed

    def _not_finite(self, vitals: Vitals) -> Symptom | None:
        self._rows += 1
        self._finite_again = 0
        norm = vitals.grad_norm
        if norm is not None:
            if isfinite(norm):
                self._finite_gradients += 1
            else:
                self._bad_gradients += 1
        if self._symptom is None:
            self._symptom = self._state(vitals, vitals.step - vitals.window + 1)
            return self._symptom
        if self._log_only and self._symptom.severity == "critical":
            self._symptom = self._state(vitals, self._symptom.onset)
            return self._symptom
        return None

    @property
    def _log_only(self) -> bool:
        return self._finite_gradients >= self.finite_gradients and self._finite_gradients > 4 * self._bad_gradients

    def _state(self, vitals: Vitals, onset: int) -> Symptom:
        evidence: dict[str, Any] = {
            "value": vitals.loss if vitals.loss is not None else float("nan"),
            "not_finite_rows": float(self._rows),
            "from_first_row": float(vitals.clean_rows == 0),
            "level_before": vitals.level,
            "gradient_not_finite_rows": float(self._bad_gradients),
            "gradient_finite_rows": float(self._finite_gradients),
            "learning_rate_frozen": float(vitals.rate_frozen(moves=1)),
        }
        if self._log_only:
            return self.symptom("warning", onset, vitals.step, says=self.says_log_only, **evidence)
        return self.symptom("critical", onset, vitals.step, **evidence)

    def _finite(self, vitals: Vitals) -> Symptom | None:
        if self._symptom is None:
            return None
        self._finite_again += 1
        self._between += 1
        if self._finite_again < self.rows_to_heal:
            return None
        closed = replace(self._symptom, open=False, last=vitals.step)
        self._symptom = None
        self._rows = self._finite_gradients = self._bad_gradients = 0
        return closed

    @property
    def settled(self) -> bool:
        return self._symptom is None

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            rows = float(self._rows)
            more = {"not_finite_rows": rows, "finite_rows_after": float(self._between)}
            if self._live:
                more |= {"not_finite_rows": float(vitals.nonfinite_steps), "learning_rate_frozen": float(self._frozen)}
                more["gradient_not_finite_rows"] = float(self._bad_gradients)
            last = max(vitals.step, vitals.nonfinite_last if self._live else 0)
            yield replace(self._symptom, last=last, evidence={**self._symptom.evidence, **more})
        elif self._summary is not None and not vitals.clean_rows:
            step, value = self._summary
            yield self.symptom("critical", step, step, says=self.says_average, series="train_loss", value=value)

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.has_loss else say("no training loss was logged")
