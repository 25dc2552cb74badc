"""Rows running in which the logged loss is exactly 0.0, and the witnesses that say whether the zero is real.

A real zero is a loss too small to print; a false one is a NaN that the Trainer's log replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

from lossdoctor.stats import good_steps_before_nan
from lossdoctor.vitals import Vitals

#: A row below this many times the smallest loss the log can print is one that faded.
FADED = 100.0
#: With more of the recent rows than this at or near 0, another 0 is ordinary.
FAINT_SHARE = 0.3


def faded(vitals: Vitals) -> bool:
    """Whether the loss has come down to where 0 is an ordinary value."""
    last = vitals.last_clean
    return (last is not None and abs(last) <= FADED * vitals.loss_resolution) or vitals.faint_share > FAINT_SHARE


def telling_gradient(norm: float | None) -> bool:
    """Whether a norm is one that only a working backward pass gives: finite, not 0, and not DeepSpeed's 1.0 for NaN."""
    return norm is not None and isfinite(norm) and norm not in (0.0, 1.0)


@dataclass
class Before:
    """The row before the zeros: level and noise of the three rows before it, its last step, its steps, its gradient."""

    level: float
    noise: float
    step: int
    window: int
    broken: bool


class ZeroRun:
    """Counts the zeros of one run of them, and what the other columns say beside them."""

    def __init__(self) -> None:
        self.before: Before | None = None
        self.rows = self.not_finite = self.zero_gradient = self.constant = self.moving = self.rate_moves = 0
        self.first = self.last = 0
        self.frozen = self.eval_nan = self.reward_nan = self.from_start = False
        self._faded = False
        self._gradient: float | None = None
        self.last_clean: float | None = None
        self._seen: int | None = None  # where an instrument saw the NaN losses begin

    def add(self, vitals: Vitals) -> None:
        """One more row of 0.0."""
        if not self.rows:
            self.first = vitals.step - vitals.window + 1
            self.from_start = vitals.clean_rows == 0
            self.last_clean, self._seen = vitals.last_clean, vitals.nonfinite_since
            self._faded = faded(vitals)
            if not self.from_start:
                norm = vitals.clean_grad_norm
                broken = norm is not None and not isfinite(norm)
                self.before = Before(vitals.level_before, vitals.noise_before, vitals.clean_step, vitals.clean_window, broken)
        elif vitals.learning_rate is not None and not vitals.rates.repeats:
            self.rate_moves += 1
        self.rows += 1
        self.last = vitals.step
        norm = vitals.grad_norm
        if norm is not None:
            if not isfinite(norm):
                self.not_finite += 1
            elif norm == 0.0:
                self.zero_gradient += 1
            elif norm == self._gradient or norm in (1.0, vitals.run.get("max_grad_norm")):
                self.constant += 1
            else:
                self.moving += 1
            self._gradient = norm
        self.frozen = self.frozen or (not self.from_start and vitals.rate_frozen(moves=1))
        self.reward_nan = self.reward_nan or vitals.reward_nan
        self.see_evaluation(vitals)

    def see_evaluation(self, vitals: Vitals) -> None:
        """Evaluation is not filtered: a NaN there is a witness."""
        self.eval_nan = self.eval_nan or bool(vitals.eval_not_finite)

    def evaluated(self, vitals: Vitals) -> bool:
        """Whether a finite evaluation came after the first zero: then the weights are sound."""
        return (vitals.eval_finite_step or 0) >= self.first and vitals.eval_loss is not None

    def real(self, vitals: Vitals) -> bool:
        """Whether something shows that these zeros are a loss too small to print."""
        if self.moving > self.rows // 2 or (self._faded and not self.not_finite):
            return True
        if self.not_finite or self.frozen or self.eval_nan or self.reward_nan:
            return False
        if self.evaluated(vitals) and vitals.eval_loss is not None:
            return vitals.eval_loss <= max(FADED * vitals.loss_resolution, 0.2 * (self.last_clean or 0.0))
        return False

    def first_nan(self, vitals: Vitals) -> tuple[int, int, int]:
        """The step of the first NaN loss: best guess, earliest, latest.

        A non-finite norm in the row before the zeros says that it lies in that row; so does, without norms, a row that is
        off the level. Without a known accumulation that row may be inflated as well as depressed: any step of it is possible.
        """
        before, last = self.before, self.last_clean
        seen = self._seen
        if seen is not None and seen <= self.first and (before is None or seen > before.step - before.window):
            return seen, seen, seen
        if before is None or last is None or before.window == 1 or (vitals.has_grad_norm and not before.broken):
            return self.first, self.first, self.first
        start = before.step - before.window + 1
        if not before.level:
            return (start, start, before.step) if before.broken else (self.first, start, self.first)
        known = vitals.run.get("gradient_accumulation_steps")
        good = good_steps_before_nan(last, before.level, before.window, int(known or 1), before.noise)
        best, least, most = (start + min(n, before.window - 1 if before.broken else before.window) for n in good)
        inflated = last > before.level + 3 * before.noise
        if not known and (before.broken or inflated or last < before.level - 3 * before.noise):
            return (start if inflated else best), start, before.step
        return best, max(start, least - 1), most

    def evidence(self, vitals: Vitals) -> dict[str, Any]:
        """The numbers that causes weigh."""
        onset, least, most = self.first_nan(vitals)
        half_nan = self.before is not None and onset < self.first  # then the rows before that row tell the level
        return {
            "zero_rows": float(self.rows),
            "level_before": self.before.level if self.before and half_nan and self.before.level else self.last_clean or 0.0,
            "first_nan_earliest": float(least),
            "first_nan_latest": float(most),
            "from_first_row": float(self.from_start),
            "gradient_not_finite_rows": float(self.not_finite),
            "gradient_zero_rows": float(self.zero_gradient),
            "gradient_constant_rows": float(self.constant),
            "learning_rate_frozen": float(self.frozen),
            "learning_rate_moves": float(self.rate_moves),
            "eval_loss_not_finite": float(self.eval_nan),
        }
