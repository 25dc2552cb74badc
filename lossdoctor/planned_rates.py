"""Learning-rate schedules as they are planned: the rate at each optimizer step, before the first of them was taken.

Shapes as in `transformers.optimization`; DeepSpeed's `WarmupLR`, `WarmupDecayLR` and `WarmupCosineLR` are those without their
logarithmic warm-up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lossdoctor.language import say
from lossdoctor.model import Run
from lossdoctor.schedules import warmup_steps

#: Schedules that end at (nearly) no rate, and those that never fall.
DECAYING = (
    "linear",
    "cosine",
    "polynomial",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
)
STANDING = ("constant", "constant_with_warmup")
#: The Trainer's own defaults.
SCHEDULE, RATE = "linear", 5e-5
#: What DeepSpeed's JSON can state: a configuration of nothing else says nothing of what the Trainer is told.
_OF_DEEPSPEED = {
    *("deepspeed", "fp16", "bf16", "loss_scale", "initial_scale_power", "zero_stage", "overlap_comm", "contiguous_gradients"),
    *("learning_rate", "weight_decay", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "max_steps"),
    *("gradient_accumulation_steps", "per_device_train_batch_size", "total_train_batch_size", "max_grad_norm"),
}
#: A mean over more steps than these is taken over as many points.
_POINTS = 2000


@dataclass(frozen=True, slots=True)
class PlannedRate:
    """The rate over `total` optimizer steps: `peak`, so many steps of `warmup`, and then the shape called `name`.

    `floor` is the share of the peak at which the decay ends; `stable` and `decay` are the steps on the plateau and after it
    (warmup_stable_decay), `power` the exponent of a polynomial, `cycles` those of a cosine, `scale` the steps after which
    inverse_sqrt has fallen by √2, `start` the share of the peak at which the warm-up begins, where it is not the usual one.
    `bends` are the shapes of warm-up and decay of warmup_stable_decay. `assumed` names what nobody stated.
    """

    name: str
    peak: float
    total: int
    warmup: int = 0
    floor: float = 0.0
    stable: int = 0
    power: float = 1.0
    cycles: float = 0.5
    decay: int | None = None
    scale: int | None = None
    start: float | None = None
    bends: tuple[str, str] = ("linear", "cosine")
    assumed: tuple[str, ...] = ()

    def at(self, step: float) -> float:
        """The rate with which the optimizer step after `step` others is taken."""
        if self.name == "constant":
            return self.peak
        if step < self.warmup:
            return self.peak * self._rise(step)
        return self.peak * max(0.0, self._shape(step))

    def _rise(self, step: float) -> float:
        """The share of the peak in the warm-up."""
        done = step / max(1, self.warmup)
        if self.name == "warmup_stable_decay":
            return self.floor + (1 - self.floor) * _fall(self.bends[0], 1 - done, 0.5)
        if self.name == "cosine_warmup_with_min_lr":
            if self.start is None:
                return (step + 1) / max(1, self.warmup)
            return self.start + (1 - self.start) * step / max(1, self.warmup - 1)
        return done

    def _shape(self, step: float) -> float:
        """The share of the peak after the warm-up."""
        if self.name in STANDING:
            return 1.0
        if self.name == "inverse_sqrt":  # its time scale is the warm-up, or 10,000 steps
            scale = self.scale or self.warmup or 10_000
            return math.sqrt(scale / max(1.0, step + scale - self.warmup))
        if self.name == "warmup_stable_decay":
            return self._after_the_plateau(step)
        ahead = 1 if self.name == "cosine_warmup_with_min_lr" else 0
        done = min(1.0, max(0.0, (step - self.warmup + ahead) / max(1, self.total - self.warmup)))
        if self.name == "cosine_with_restarts":
            return 0.0 if done >= 1 else 0.5 * (1 + math.cos(math.pi * (self.cycles * done % 1)))
        if self.name == "polynomial":
            return self.floor + (1 - self.floor) * math.pow(1 - done, self.power)
        if self.name == "linear":
            return 1 - done
        return self.floor + (1 - self.floor) * _fall("cosine", done, self.cycles)

    def _after_the_plateau(self, step: float) -> float:
        begin = self.warmup + self.stable
        if step < begin:
            return 1.0
        rest = self.total - begin if self.decay is None else self.decay
        done = min(1.0, (step - begin) / max(1, rest))
        return self.floor if step >= begin + rest else self.floor + (1 - self.floor) * _fall(self.bends[1], done, self.cycles)

    @property
    def last(self) -> float:
        """The rate of the last step."""
        return self.at(self.total - 1) if self.total > 0 else self.peak

    def mean(self) -> float:
        """The mean rate over all steps."""
        if self.total <= _POINTS:
            return math.fsum(self.at(step) for step in range(self.total)) / max(1, self.total)
        return math.fsum(self.at(self.total * (place + 0.5) / _POINTS) for place in range(_POINTS)) / _POINTS

    @property
    def travel(self) -> float:
        """The sum of the rates of all steps: AdamW moves no weight much further than that."""
        return self.mean() * self.total


def _fall(bend: str, done: float, cycles: float) -> float:
    """What is left of a decay of which so much is done."""
    if bend == "linear":
        return 1 - done
    return 1 - math.sqrt(done) if bend == "1-sqrt" else 0.5 * (1 + math.cos(math.pi * 2 * cycles * done))


def planned(run: Run, total: int | None) -> PlannedRate | None:
    """The rates that a run is going to have in so many steps; None where its schedule or its length is not known.

    A rate or a schedule that nobody named is the Trainer's default, unless DeepSpeed or a trainer with other defaults decides.
    """
    name, peak, assumed = _named(run)
    if not total or name is None or peak is None or name not in (*DECAYING, *STANDING, "inverse_sqrt"):
        return None
    more = run.get("lr_scheduler_kwargs")
    more = more if isinstance(more, dict) else {}
    floor = _share(more, peak)
    warmup = warmup_steps(run, total) or 0
    decay = more.get("num_decay_steps")
    decay = decay if isinstance(decay, int) and decay >= 0 else None
    stable = more.get("num_stable_steps", total - warmup - decay if decay is not None else 0)
    if name == "polynomial" and "lr_end" not in more:
        floor = min(1.0, 1e-7 / peak)
    return PlannedRate(
        name,
        peak,
        total,
        warmup,
        floor,
        stable=int(_number(stable, 0)),
        power=_number(more.get("power"), 1.0),
        cycles=_number(more.get("num_cycles"), 1.0 if name == "cosine_with_restarts" else 0.5),
        decay=decay,
        scale=int(_number(more.get("timescale"), 0)) or None,
        start=_number(more["warmup_lr_rate"], 0.0) if more.get("warmup_lr_rate") is not None else None,
        bends=(str(more.get("warmup_type", "linear")), str(more.get("decay_type", "cosine"))),
        assumed=assumed,
    )


def _named(run: Run) -> tuple[str | None, float | None, tuple[str, ...]]:
    """The schedule and the peak rate, and which of them are assumed; None where no default is certain."""
    stated, peak = run.get("lr_scheduler_type"), run.get("learning_rate")
    name, assumed = str(stated).lower() if stated else None, []
    if name is None and trainers_defaults(run):
        name = SCHEDULE
        assumed.append(say("{schedule} decay, the Trainer's default", schedule=SCHEDULE))
    if peak is None and trainers_defaults(run) and not _other_trainer(run):
        peak = RATE
        assumed.append(say("a learning rate of {rate:g}, the Trainer's default", rate=RATE))
    known = isinstance(peak, (int, float)) and not isinstance(peak, bool) and 0 < peak < math.inf
    return name, float(peak) if known and peak is not None else None, tuple(assumed)


def trainers_defaults(run: Run) -> bool:
    """Whether what nobody stated is as the Trainer has it: not with axolotl, nor in a JSON of DeepSpeed alone."""
    return "axolotl" not in run.words("framework") and not (run.get("deepspeed") and set(run.facts) <= _OF_DEEPSPEED)


def _other_trainer(run: Run) -> bool:
    """Whether it is one of TRL's trainers, which have learning rates of their own."""
    name = run.words("trainer")
    return bool(name) and "trainingarguments" not in name and name != "trainer" and "factory" not in run.words("framework")


def _share(more: dict[str, Any], peak: float) -> float:
    """The lowest rate as a share of the peak, as the schedules that have one call it."""
    for name in ("min_lr_rate", "min_lr_ratio", "cos_min_ratio"):
        if more.get(name) is not None:
            return min(1.0, _number(more[name], 0.0))
    for name in ("min_lr", "lr_end"):
        if more.get(name) is not None:
            return min(1.0, _number(more[name], 0.0) / peak)
    return 0.0


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 1e18 else default
