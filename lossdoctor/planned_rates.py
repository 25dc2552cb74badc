"""Learning-rate schedules as they are planned: the rate at each optimizer step, before the first of them was taken.

Shapes as in `transformers.optimization` and, for `WarmupLR` and `WarmupCosineLR`, in DeepSpeed's `lr_schedules`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lossdoctor.model import Run
from lossdoctor.schedules import warmup_steps

#: Schedules that end at (nearly) no rate, and those that never fall.
DECAYING = ("linear", "cosine", "polynomial", "cosine_with_restarts", "cosine_with_min_lr", "warmup_stable_decay")
STANDING = ("constant", "constant_with_warmup")
#: The Trainer's own defaults.
SCHEDULE, RATE = "linear", 5e-5


@dataclass(frozen=True, slots=True)
class PlannedRate:
    """The rate over `total` optimizer steps: `peak`, so many steps of `warmup`, and then the shape called `name`.

    `floor` is the share of the peak at which the decay ends; `stable` the steps on the plateau (warmup_stable_decay), `power`
    the exponent of a polynomial, `cycles` those of a cosine.
    """

    name: str
    peak: float
    total: int
    warmup: int = 0
    floor: float = 0.0
    stable: int = 0
    power: float = 1.0
    cycles: float = 0.5

    def at(self, step: float) -> float:
        """The rate with which the optimizer step after `step` others is taken."""
        if self.name == "constant":
            return self.peak
        if step < self.warmup:
            return self.peak * step / max(1, self.warmup)
        return self.peak * self._shape(step)

    def _shape(self, step: float) -> float:
        """The share of the peak after the warm-up."""
        if self.name in STANDING:
            return 1.0
        if self.name == "inverse_sqrt":  # its time scale is the warm-up, or 10,000 steps
            scale = self.warmup or 10_000
            return math.sqrt(scale / max(1.0, step + scale - self.warmup))
        done = min(1.0, max(0.0, (step - self.warmup) / max(1, self.total - self.warmup)))
        if self.name == "cosine_with_restarts":
            return 0.0 if done >= 1 else 0.5 * (1 + math.cos(math.pi * (max(1.0, self.cycles) * done % 1)))
        if self.name == "polynomial":
            return self.floor + (1 - self.floor) * math.pow(1 - done, self.power)
        if self.name == "warmup_stable_decay":
            if step < self.warmup + self.stable:
                return 1.0
            rest = max(1, self.total - self.warmup - self.stable)
            done = min(1.0, (step - self.warmup - self.stable) / rest)
            return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))
        if self.name == "linear":
            return max(0.0, 1 - done)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * 2 * self.cycles * done))

    @property
    def last(self) -> float:
        """The rate of the last step."""
        return self.at(self.total - 1) if self.total > 0 else self.peak

    def mean(self, points: int = 400) -> float:
        """The mean rate over all steps."""
        return sum(self.at(self.total * (place + 0.5) / points) for place in range(points)) / points


def planned(run: Run, total: int | None) -> PlannedRate | None:
    """The rates that a run is going to have in so many steps; None where its schedule or its length is not known.

    A rate or a schedule that nobody named is the Trainer's default, unless DeepSpeed, which has no such defaults, decides.
    """
    name = str(run.get("lr_scheduler_type") or SCHEDULE).lower()
    peak = run.get("learning_rate", RATE)
    if not total or not isinstance(peak, (int, float)) or peak <= 0 or name not in (*DECAYING, *STANDING, "inverse_sqrt"):
        return None
    more = run.get("lr_scheduler_kwargs")
    more = more if isinstance(more, dict) else {}
    floor = _share(more, float(peak))
    decay = more.get("num_decay_steps")
    warmup = warmup_steps(run, total) or 0
    stable = more.get("num_stable_steps", total - warmup - decay if isinstance(decay, int) else 0)
    cycles = _number(more.get("num_cycles"), 1.0 if name == "cosine_with_restarts" else 0.5)
    if name == "polynomial" and "lr_end" not in more:
        floor = min(1.0, 1e-7 / float(peak))
    return PlannedRate(name, float(peak), total, warmup, floor, int(_number(stable, 0)), _number(more.get("power"), 1.0), cycles)


def _share(more: dict[str, Any], peak: float) -> float:
    """The lowest rate as a share of the peak, as the schedules that have one call it."""
    for name in ("min_lr_rate", "min_lr_ratio", "cos_min_ratio"):
        if name in more:
            return min(1.0, _number(more[name], 0.0))
    for name in ("min_lr", "lr_end"):
        if name in more:
            return min(1.0, _number(more[name], 0.0) / peak)
    return 0.0


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and value >= 0 else default
