"""Learning-rate schedules turned round: how many scheduler steps lie behind a logged learning rate.

An optimizer step that GradScaler skips does not advance the scheduler, so the schedule lags the step counter by exactly
the skipped steps. Shapes as in `transformers.optimization.get_scheduler`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lossdoctor.model import Run

#: Schedules whose value tells the step on both sides of the peak, or only during the warm-up (`constant_with_warmup`).
INVERTIBLE = ("linear", "cosine", "polynomial", "constant_with_warmup", "constant")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule with all its numbers: `peak` rate, `warmup` and `total` optimizer steps, `power` and `end` (polynomial)."""

    name: str
    peak: float
    warmup: int
    total: int
    power: float = 1.0
    end: float = 1e-7

    @classmethod
    def of(cls, run: Run) -> Schedule | None:
        """The schedule of a run, or None where a number that it needs is not known."""
        name, peak, total = run.get("lr_scheduler_type"), run.get("learning_rate"), run.get("max_steps")
        if name not in INVERTIBLE or not _positive(peak) or not _positive(total):
            return None
        warmup = warmup_steps(run, total)
        more = run.get("lr_scheduler_kwargs")
        more = more if isinstance(more, dict) else {}
        return cls(
            name, float(peak), int(warmup or 0), int(total), _number(more.get("power"), 1.0), _number(more.get("lr_end"), 1e-7)
        )

    def steps_behind(self, rate: float, falling: bool) -> float | None:
        """Scheduler steps taken when the rate was `rate`; None where this part of the schedule does not tell.

        `falling` chooses the side of the peak. Fractions are kept: rounded logs give fractions.
        """
        if rate < 0 or rate > self.peak * (1 + 1e-9):
            return None
        part = min(rate / self.peak, 1.0)
        if not falling:
            return part * self.warmup if self.warmup and part < 1 else None
        decay = self.total - self.warmup
        if decay <= 0 or part >= 1:
            return None
        if self.name == "linear":
            return self.total - part * decay
        if self.name == "cosine":
            return self.warmup + decay * math.acos(2 * part - 1) / math.pi
        if self.name == "polynomial" and self.peak > self.end:
            left = max(0.0, (rate - self.end) / (self.peak - self.end))
            return float(self.total - decay * left ** (1 / self.power))
        return None


def warmup_steps(run: Run, total: float) -> int | None:
    """The steps of the warm-up of a run with so many; None where nothing is said of it. A number of steps wins over a share."""
    steps, share = run.get("warmup_steps"), run.get("warmup_ratio")
    if isinstance(steps, float) and 0 < steps < 1:  # transformers 5 takes a share here as well
        steps, share = 0, steps
    if not _positive(steps) and isinstance(share, (int, float)) and 0 < share < math.inf:
        return math.ceil(total * share)
    return None if steps is None else int(steps)


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and value > 0 else default


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
