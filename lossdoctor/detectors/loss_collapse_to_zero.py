from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from lossdoctor.base import Detector
from lossdoctor.model import Record, Severity, Symptom
from lossdoctor.stats import good_steps_before_nan
from lossdoctor.vitals import Vitals


@dataclass
class LossCollapseToZero(Detector):
    """The training loss is exactly 0.0 from some row on.

    ## What it watches
    `loss`, together with the gradient norm, the learning rate and the evaluation loss of the same rows. With a non-finite
    gradient norm or evaluation loss one row is enough; without any such witness it waits for several. The row before the
    zeros averages good and NaN steps: the step of the first NaN is solved for from it.

    ## Why it matters
    A cross-entropy is never exactly 0. The Trainer replaces a NaN loss by 0.0 in its log (`logging_nan_inf_filter`), so
    this is how a destroyed run looks: every step after it is wasted, and every checkpoint after it is useless.

    ## What it misses
    A loss that faded to 0 row by row, zeros with a finite and changing gradient norm, zeros beside a finite evaluation loss
    and the zero losses of reinforcement learning and preference tuning are real zeros and are left alone.
    """

    says = "the loss, {level_before:.4g} before, is exactly 0.0 from step {onset:,} on"
    says_about = "the loss, {level_before:.4g} before, is exactly 0.0 from about step {onset:,} on"
    says_from_start = "the loss is exactly 0.0 from the first row on"
    rows_from_start: int = 2
    rows_without_witness: int = 3
    rows_with_zero_gradient: int = 6
    rows_to_heal: int = 2
    #: A last row below this many times the smallest loss the log can print is a loss that faded, not one that broke.
    faded: float = 100.0

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._reset()

    def _reset(self) -> None:
        self._zeros = self._not_finite = self._zero_gradient = self._constant = self._moving = self._rate_moves = 0
        self._first = self._last = self._healing = 0
        self._gradient: float | None = None
        self._frozen = self._eval_nan = self._from_start = False
        self._last_clean: float | None = None
        self._before: tuple[float, float, int, int, bool] | None = None

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if record.kind == "eval":
            return self._judge(vitals) if self._zeros else None
        if record.kind != "train" or vitals.loss is None:
            return None
        if vitals.loss != 0.0:
            return self._not_zero(vitals)
        self._healing = 0
        self._count(vitals)
        return self._judge(vitals)

    def _not_zero(self, vitals: Vitals) -> Symptom | None:
        """A row with a number in it: the run is well, or one good step got into a window of NaN steps."""
        norm = vitals.grad_norm
        broken = norm is not None and not isfinite(norm)
        healed = self._symptom
        if healed is not None:
            self._healing = 0 if broken else self._healing + 1
            if self._healing < self.rows_to_heal:
                return None
        if self._zeros:
            self._reset()
        self._symptom = None
        if vitals.loss is not None and isfinite(vitals.loss):
            self._before = (vitals.level_before, vitals.noise_before, vitals.step, vitals.window, broken)
        return replace(healed, open=False, last=vitals.previous_step) if healed else None

    def _count(self, vitals: Vitals) -> None:
        if not self._zeros:
            self._first = vitals.step - vitals.window + 1
            self._from_start = vitals.clean_rows == 0
            self._last_clean = vitals.last_clean
        elif vitals.learning_rate is not None and not vitals.rate_repeats:
            self._rate_moves += 1
        self._zeros += 1
        self._last = vitals.step
        norm = vitals.grad_norm
        if norm is not None:
            if not isfinite(norm):
                self._not_finite += 1
            elif norm == 0.0:
                self._zero_gradient += 1
            elif norm == self._gradient or norm in (1.0, vitals.run.get("max_grad_norm")):
                self._constant += 1
            else:
                self._moving += 1
            self._gradient = norm
        self._frozen = self._frozen or (not self._from_start and vitals.rate_frozen(moves=1))
        nan_at = vitals.eval_not_finite_step
        self._eval_nan = nan_at is not None and not (vitals.eval_finite_step or 0) > nan_at

    def _judge(self, vitals: Vitals) -> Symptom | None:
        nan_at = vitals.eval_not_finite_step
        self._eval_nan = self._eval_nan or (nan_at is not None and nan_at >= self._first)
        if self._symptom is None:
            if self._broken(vitals, end=False):
                self._symptom = self._state("critical", vitals)
                return self._symptom
        elif self._real(vitals):
            closed = replace(self._symptom, open=False, last=self._last)
            self._symptom = None
            return closed
        return None

    def _real(self, vitals: Vitals) -> bool:
        """Whether something shows that these zeros are a loss too small to print."""
        if self._not_finite or self._frozen or self._eval_nan:
            return False
        if self._moving > self._zeros // 2:
            return True
        if (vitals.eval_finite_step or 0) >= self._first:
            return True
        faded = self.faded * vitals.loss_resolution
        return self._last_clean is not None and abs(self._last_clean) <= faded

    def _broken(self, vitals: Vitals, end: bool) -> bool:
        if self._not_finite:
            return True
        if not vitals.supervised or self._real(vitals):
            return False
        if self._eval_nan or self._frozen:
            return True
        if self._from_start:
            return self._zeros >= self.rows_from_start
        if self._zero_gradient and not end:
            return self._zeros >= self.rows_with_zero_gradient
        return self._zeros >= (2 if end else self.rows_without_witness)

    def _state(self, severity: Severity, vitals: Vitals) -> Symptom:
        onset, least, most = self._first_nan(vitals)
        level = self._last_clean or 0.0
        if self._before and onset < self._first:  # the last row is half NaN: the ones before it tell the level
            level = self._before[0]
        evidence: dict[str, Any] = {
            "zero_rows": float(self._zeros),
            "level_before": level,
            "first_nan_earliest": float(least),
            "first_nan_latest": float(most),
            "from_first_row": float(self._from_start),
            "gradient_not_finite_rows": float(self._not_finite),
            "gradient_zero_rows": float(self._zero_gradient),
            "gradient_constant_rows": float(self._constant),
            "learning_rate_frozen": float(self._frozen),
            "learning_rate_moves": float(self._rate_moves),
            "eval_loss_not_finite": float(self._eval_nan),
        }
        if self._last_clean is not None:
            evidence["last_loss_before"] = self._last_clean
        known = self.says if least == most else self.says_about
        says = self.says_from_start if self._from_start else known
        return self.symptom(severity, onset, self._last, says=says, **evidence)

    def _first_nan(self, vitals: Vitals) -> tuple[int, int, int]:
        """The step of the first NaN loss: best guess, earliest, latest."""
        if self._before is None or self._last_clean is None:
            return self._first, self._first, self._first
        level, noise, step, window, broken = self._before
        if window == 1 or not level or (vitals.has_grad_norm and not broken):
            return self._first, self._first, self._first
        accumulation = vitals.run.get("gradient_accumulation_steps") or 1
        good = good_steps_before_nan(self._last_clean, level, window, int(accumulation), noise)
        best, least, most = (step - window + 1 + g for g in good)
        return best, least, most

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            yield replace(self._state("critical", vitals), onset=self._symptom.onset)
        elif self._zeros and self._broken(vitals, end=True):
            yield self._state("critical", vitals)
        elif self._zeros and vitals.supervised and not self._real(vitals):
            alone = vitals.rows == 1 and (self._zero_gradient or self._constant)
            yield self._state("critical" if alone else "warning", vitals)

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.has_loss else "no training loss was logged"
