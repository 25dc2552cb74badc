"""Fine-tuning curves with faults of known onset, made the way the Trainer writes them; the same seed gives the same curve.

A curve is drawn per optimizer step and then logged: a row holds the mean loss of its steps, but the gradient norm and the
learning rate of the last of them. Nothing here is fitted to a detector: ranges come from what public runs look like.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lossdoctor.model import Fact, Record, Run
from lossdoctor.stats import filtered_share

Steps = NDArray[np.float64]

#: Vocabularies of common models: LLaMA 2, GPT-2, LLaMA 3, Qwen 2, BERT, XLM-R, Gemma.
VOCABULARIES = (32000, 50257, 128256, 151936, 30522, 250002, 256000)
LABELS = (2, 3, 4, 5, 6, 10, 20, 77)
#: A model card has one line per evaluation: this many.
CARD_ROWS = (5, 30)


@dataclass(frozen=True)
class Curve:
    """One simulated run: `onset` is the first step that the fault touches, `end` the last; both None where there is none."""

    kind: str
    seed: int
    rows: int
    logging_steps: int
    records: tuple[Record, ...]
    run: Run
    onset: int | None = None
    end: int | None = None

    @property
    def losses(self) -> list[float]:
        """The logged training losses."""
        return [r.values["loss"] for r in self.records if r.kind == "train"]

    def row_of(self, step: int) -> int:
        """The row, counted from 0, that covers a step."""
        return (step - 1) // self.logging_steps


@dataclass
class Draft:
    """A run while it is drawn, step by step."""

    rng: np.random.Generator
    rows: int
    every: int
    level: Steps  # the loss without noise
    norm: Steps  # the gradient norm without noise
    epochs: float
    schedule: str
    warmup: float
    peak: float
    planned: int  # steps of the schedule; more than there are where the log was cut off
    noise: float  # relative, of one step
    correlation: float  # of the noise of neighbouring steps
    norm_noise: float
    evals: int
    rounded: bool
    logs_norm: bool
    facts: dict[str, Any]
    factor: Steps = field(init=False)  # noise of its own kind, over and above `noise`
    eval_level: Steps | None = None  # where the evaluation loss does not follow `level`
    rate: Steps | None = None  # where the learning rate does not follow the schedule
    held: NDArray[np.intp] | None = None  # the row whose loss each row repeats
    nan_from: int | None = None
    gap: float | None = None  # of the evaluation loss above the training loss; drawn where it is not given
    onset: int | None = None
    end: int | None = None

    def __post_init__(self) -> None:
        self.factor = np.ones(self.steps)

    @property
    def steps(self) -> int:
        return self.rows * self.every

    @property
    def time(self) -> Steps:
        """The share of the run that is done, per step."""
        return (np.arange(self.steps) + 1.0) / self.steps

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def log_uniform(self, low: float, high: float) -> float:
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def one_of(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def step_between(self, low: float, high: float) -> int:
        """A step between two shares of the run, counted from 1."""
        return 1 + min(self.steps - 1, int(self.uniform(low, high) * self.steps))

    def row_between(self, low: float, high: float, least: int = 2) -> int:
        """The first step of a row between two shares of the run; at least `least` rows come before it."""
        row = max(least, int(self.uniform(low, high) * self.rows))
        return min(row, self.rows - 1) * self.every + 1

    def boundaries(self) -> list[int]:
        """The first step of every epoch but the first, counted from 1."""
        length = self.steps / self.epochs
        return [int(length * k) + 1 for k in range(1, math.ceil(self.epochs)) if length * k < self.steps]

    def falls(self, floor: float, tau: float, *, start: float | None = None) -> None:
        """An exponential fall from `start` to `floor` times it, with time constant `tau` (share of the run)."""
        start = float(self.level[0]) if start is None else start
        self.level = start * (floor + (1 - floor) * np.exp(-self.time / tau))

    def row_noise(self, sigma: float) -> Steps:
        """Log-normal noise of mean 1 that all steps of a row share, so that averaging does not remove it."""
        values = np.exp(sigma * self.rng.standard_normal(self.rows) - sigma**2 / 2)
        return np.repeat(values, self.every)

    def since(self, step: int) -> Steps:
        """Rows since a step, per step; negative before it."""
        return (np.arange(self.steps) + 1.0 - step) / self.every


def simulate(kind: str, rows: int, seed: int) -> Curve:
    """The curve of that kind, with that many training rows (model cards have 5 to 30)."""
    rng = np.random.default_rng([crc32(kind.encode()), rows, seed])
    if kind == "model_card":
        rows = min(max(rows, CARD_ROWS[0]), CARD_ROWS[1])
    draft = _draw(rng, rows)
    _KINDS[kind](draft)
    for name in ("num_labels", "vocab_size"):  # a kind that set another level has another number of answers
        if kind in HEALTHY and name in draft.facts and float(draft.level[0]) > 1.1 * math.log(draft.facts[name]):
            del draft.facts[name]
    return _logged(draft, kind, seed)


def pair(
    kind: str,
    rows: int,
    seed: int,
    *,
    spread: float = 0.005,
    other: Callable[[Draft], None] | None = None,
    both: Callable[[Draft], None] | None = None,
) -> tuple[Curve, Curve]:
    """Two seeds of one run of that kind: the same course, with other rows and evaluations, and ends that lie `spread` apart.

    `spread` is the standard deviation of the end of each, as a share. `both` and `other` change both drafts or the second.
    """
    first, second = (_one_of_pair(kind, rows, seed, number, spread, both, other if number else None) for number in (0, 1))
    return first, replace(second, run=first.run)


def _one_of_pair(
    kind: str,
    rows: int,
    seed: int,
    number: int,
    spread: float,
    *changes: Callable[[Draft], None] | None,
) -> Curve:
    rng = np.random.default_rng([crc32(kind.encode()), rows, seed])
    if kind == "model_card":
        rows = min(max(rows, CARD_ROWS[0]), CARD_ROWS[1])
    draft = _draw(rng, rows)
    _KINDS[kind](draft)
    draft.gap = draft.uniform(1.0, 1.15)
    draft.rng = np.random.default_rng([crc32(b"pair"), seed, number])
    blocks = draft.factor.reshape(draft.rows, draft.every)  # which rows are hard, or from which data, is chance
    draft.factor = draft.rng.permutation(blocks).reshape(-1)
    apart = np.exp(spread * float(draft.rng.standard_normal()) * (1 - np.exp(-5 * draft.time)))
    for change in changes:
        if change is not None:
            change(draft)
    draft.level = draft.level * apart
    if draft.eval_level is not None:
        draft.eval_level = draft.eval_level * apart
    return _logged(draft, kind, seed)


def _draw(rng: np.random.Generator, rows: int) -> Draft:
    """A healthy run: everything that varies from run to run."""
    every = int(rng.choice([1, 5, 10, 50]))
    steps = rows * every
    time = (np.arange(steps) + 1.0) / steps
    facts: dict[str, Any] = {}
    task = rng.random()
    if task < 0.25:  # a new head on a classifier starts at chance
        labels = int(rng.choice(LABELS[:6]))
        start, floor = math.log(labels) * rng.uniform(0.97, 1.06), rng.uniform(0.1, 0.7)
        facts["num_labels"] = labels
    elif task < 0.35:  # from scratch, or a new vocabulary
        vocabulary = int(rng.choice(VOCABULARIES))
        start, floor = min(12.0, math.log(vocabulary) * rng.uniform(0.98, 1.03)), rng.uniform(0.15, 0.5)
        facts["vocab_size"] = vocabulary
    else:
        start, floor = math.exp(rng.uniform(math.log(0.7), math.log(9))), rng.uniform(0.15, 0.8)
        facts["vocab_size"] = int(rng.choice(VOCABULARIES))
    if rng.random() < 0.5:
        facts.clear()
    share, tau = rng.uniform(0.2, 0.9), math.exp(rng.uniform(math.log(0.02), math.log(0.3)))
    knee, power = math.exp(rng.uniform(math.log(0.005), math.log(0.1))), rng.uniform(0.3, 1.0)
    shape = share * np.exp(-time / tau) + (1 - share) * (1 + time / knee) ** -power
    adapter = bool(rng.random() < 0.5)
    norm = math.exp(rng.uniform(math.log(0.1), math.log(6)))
    if adapter:
        trend = 1 + (math.exp(rng.uniform(math.log(1.5), math.log(8))) - 1) * (1 - np.exp(-time / rng.uniform(0.05, 0.3)))
    else:
        trend = rng.uniform(0.3, 1.0) ** time
    facts["use_lora"] = adapter
    return Draft(
        rng=rng,
        rows=rows,
        every=every,
        level=start * (floor + (1 - floor) * shape),
        norm=norm * trend,
        epochs=float(rng.choice([1, 1, 2, 3, 4, 5])) if rng.random() < 0.85 else float(rng.uniform(0.2, 1.0)),
        schedule=str(rng.choice(["linear", "cosine", "constant"], p=[0.45, 0.4, 0.15])),
        warmup=float(rng.uniform(0.01, 0.1)) if rng.random() < 0.6 else 0.0,
        peak=math.exp(rng.uniform(math.log(1e-5), math.log(5e-4))),
        planned=steps,
        noise=math.exp(rng.uniform(math.log(0.02), math.log(0.15))),
        correlation=float(rng.uniform(0.05, 0.5)) if rng.random() < 0.4 else 0.0,
        norm_noise=math.exp(rng.uniform(math.log(0.05), math.log(0.4))),
        evals=int(rng.integers(3, 13)) if rng.random() < 0.5 else 0,
        rounded=bool(rng.random() < 0.5),
        logs_norm=bool(rng.random() < 0.85),
        facts=facts,
    )


# --- Healthy families -------------------------------------------------------------------------------------------------


def _standard(draft: Draft) -> None:
    """As drawn: an exponential and a power law, with the noise of its steps."""


def _batch_size_1(draft: Draft) -> None:
    """Every step is one sample: 45 % noise."""
    draft.noise, draft.correlation = 0.45, 0.0


def _natural_stairs(draft: Draft) -> None:
    """The second and third epoch begin some 5 % lower: samples are seen again."""
    draft.epochs = 3.0
    draft.eval_level = draft.level.copy()
    for step in draft.boundaries():
        draft.level[step - 1 :] *= 1 - draft.uniform(0.03, 0.07)


def _slow_power_law(draft: Draft) -> None:
    """A power law of exponent 0.35, which never looks done."""
    floor, knee = draft.uniform(0.2, 0.5), draft.uniform(0.005, 0.03)
    draft.level = draft.level[0] * (floor + (1 - floor) * (1 + draft.time / knee) ** -0.35)


def _fast_then_flat(draft: Draft) -> None:
    """An adapter on a good base: 10–20 % lower within the first rows, then noise and next to no slope."""
    draft.schedule = draft.one_of("linear", "cosine")
    draft.facts["use_lora"] = True
    tau = max(0.02, 0.7 / draft.rows)
    draft.falls(1 - draft.uniform(0.1, 0.2), tau, start=draft.log_uniform(0.8, 3.0))
    draft.level *= 1 - draft.uniform(0.0, 0.04) * draft.time
    draft.noise = draft.uniform(0.05, 0.15)


def _length_tail(draft: Draft) -> None:
    """Now and then a row of long or hard samples, 20–40 % above the others, anywhere in the run."""
    for row in draft.rng.integers(0, draft.rows, size=max(2, int(draft.rng.poisson(0.03 * draft.rows)))):
        draft.factor[row * draft.every : (row + 1) * draft.every] = 1 + draft.uniform(0.2, 0.4)


def _near_zero_easy(draft: Draft) -> None:
    """An easy task, learned to 0.001 with noise as large as half the loss."""
    start = draft.log_uniform(0.6, 3.0)
    draft.falls(0.001 / start, draft.uniform(0.05, 0.12), start=start)
    draft.factor = draft.row_noise(0.47)
    draft.evals = max(draft.evals, 3)  # what tells an easy task from a memorised one
    draft.eval_level = draft.level * (1 + draft.uniform(0.0, 0.5)) + draft.uniform(0.0005, 0.01)


def _warmup_bump(draft: Draft) -> None:
    """The loss rises by up to 5 % in the warm-up, or has a slow hump, and falls afterwards."""
    peak, width = (draft.warmup or 0.05, 0.05) if draft.chance(0.5) else (draft.uniform(0.1, 0.3), draft.uniform(0.05, 0.15))
    fall = np.clip(draft.time - peak, 0, None)
    start, floor = float(draft.level[0]), draft.uniform(0.3, 0.8)
    draft.level = start * (floor + (1 - floor) * np.exp(-fall / draft.uniform(0.1, 0.3)))
    draft.level *= 1 + draft.uniform(0.01, 0.05) * np.exp(-(((draft.time - peak) / width) ** 2))


def _model_card(draft: Draft) -> None:
    """One line per evaluation; the training loss is repeated until it is logged again."""
    held = np.arange(draft.rows) // draft.one_of(1, 1, 2, 3)  # the last row that was logged before each evaluation
    draft.every = draft.one_of(50, 100, 500)
    place = np.linspace(0, len(draft.level) - 1, draft.steps)
    draft.level = np.interp(place, np.arange(len(draft.level)), draft.level)
    draft.norm, draft.factor, draft.logs_norm = np.ones(draft.steps), np.ones(draft.steps), False
    draft.planned, draft.evals, draft.rounded = draft.steps, draft.rows, True
    draft.held = np.searchsorted(held, held)


def _domain_mix(draft: Draft) -> None:
    """Every step is of one of two kinds of data, of which one has the higher loss."""
    ratio, share = draft.uniform(1.3, 3.0), draft.uniform(0.2, 0.5)
    high = draft.rng.random(draft.steps) < share
    draft.factor = np.where(high, ratio, 1.0) / (1 + share * (ratio - 1))


# --- Faults -----------------------------------------------------------------------------------------------------------


def _nan_masked(draft: Draft) -> None:
    """The loss is NaN from a step on, and the Trainer's filter writes 0.0."""
    draft.onset = draft.nan_from = draft.step_between(0.3, 0.8)


def _lr_frozen(draft: Draft) -> None:
    """The scheduler stands still, and with it the loss: no optimizer step is taken any more."""
    draft.schedule = draft.one_of("linear", "cosine")
    draft.onset = draft.step_between(0.3, 0.6)
    draft.rate = _schedule(draft)
    draft.rate[draft.onset - 1 :] = draft.rate[draft.onset - 1]
    draft.level[draft.onset - 1 :] = draft.level[draft.onset - 1]
    if draft.chance(0.5):  # the loss scaler skips every step because of its gradient
        draft.norm[draft.onset - 1 :], draft.logs_norm = math.inf, True


def _spike_recovering(draft: Draft) -> None:
    """50–250 % higher for 1–4 rows, then back exponentially."""
    draft.onset = draft.row_between(0.25, 0.8, least=4)
    height, rows, tau = draft.uniform(0.5, 2.5), int(draft.rng.integers(1, 5)), draft.uniform(0.3, 1.5)
    since = draft.since(draft.onset)
    bump = np.where(since < 0, 0.0, np.exp(-np.clip(since - rows, 0, None) / tau))
    draft.level = draft.level * (1 + height * bump)
    draft.end = min(draft.steps, draft.onset + math.ceil((rows + 3 * tau) * draft.every) - 1)
    if draft.chance(0.5):
        draft.norm = draft.norm * (1 + draft.uniform(1.0, 15.0) * bump)


def _spike_not_recovering(draft: Draft) -> None:
    """40–150 % higher from one step to the next; less than a third of it is made good."""
    draft.onset = draft.step_between(max(0.25, 4 / draft.rows), 0.75)
    height, back, tau = draft.uniform(0.4, 1.5), draft.uniform(0.0, 0.33), draft.uniform(1.0, 8.0)
    since = draft.since(draft.onset)
    jump = np.where(since < 0, 0.0, 1 - back * (1 - np.exp(-np.clip(since, 0, None) / tau)))
    draft.level = draft.level * (1 + height * jump)
    if draft.chance(0.5):
        draft.norm = draft.norm * (1 + draft.uniform(0.5, 5.0) * np.exp(-np.clip(since, 0, None) / tau) * (since >= 0))


def _divergence(draft: Draft) -> None:
    """A smooth climb from the best level by 40 % or more; in two of five runs to more than the start."""
    draft.onset = draft.step_between(max(0.2, 3 / draft.rows), 0.6)
    length = draft.uniform(0.1, 0.4) * draft.steps
    best, start = float(draft.level[draft.onset - 1]), float(draft.level[0])
    height = draft.uniform(0.4, 1.2)
    if draft.chance(0.4):
        height = max(height, draft.uniform(1.1, 1.6) * start / best - 1)
    climb = np.clip((np.arange(draft.steps) + 1 - draft.onset) / length, 0, 1)
    climb = climb**2 * (3 - 2 * climb) if draft.chance(0.5) else climb
    draft.level[draft.onset - 1 :] = (best * (1 + height * climb))[draft.onset - 1 :]
    draft.norm = draft.norm * (1 + draft.uniform(0, 4) * climb)


def _plateau_high(draft: Draft) -> None:
    """Less than 1 % of improvement in the whole run, away from the loss of guessing."""
    guesses = np.log([*range(2, 11), *VOCABULARIES])
    level = draft.log_uniform(0.75, 12)
    while np.min(np.abs(guesses / level - 1)) < 0.04:
        level = draft.log_uniform(0.75, 12)
    draft.level = level * (1 - draft.uniform(0, 0.01) * draft.time)
    draft.onset = 1


def _guessing(draft: Draft) -> tuple[float, float]:
    """The loss of guessing, with the size of the answer known in half of the runs, and the noise of a row around it."""
    labelled = draft.chance(0.5)
    size = int(draft.rng.choice(LABELS if labelled else VOCABULARIES))
    known = draft.chance(0.5)
    for name in ("num_labels", "vocab_size"):
        draft.facts.pop(name, None)
    if known:
        draft.facts["num_labels" if labelled else "vocab_size"] = size
    # Few labels in a small batch scatter more; without knowing the labels nobody could tell.
    return math.log(size), draft.uniform(0.005, 0.02) if labelled and known and draft.chance(0.5) else draft.uniform(0.001, 0.005)


def _stuck_at_chance(draft: Draft) -> None:
    """The loss of guessing from the first row to the last."""
    level, noise = _guessing(draft)
    draft.level = np.full(draft.steps, level * draft.uniform(0.998, 1.002))
    draft.noise, draft.factor, draft.onset = 0.0, draft.row_noise(noise), 1


def _chance_after_drop(draft: Draft) -> None:
    """A fall that ends at the loss of guessing: the model answers the same to everything."""
    level, noise = _guessing(draft)
    start, tau = draft.uniform(1.1, 1.6), draft.uniform(0.02, 0.08)
    draft.falls(1 / start, tau, start=level * start)
    draft.noise, draft.factor = 0.0, draft.row_noise(noise)
    draft.onset = 1 + int(np.argmax(draft.level < 1.01 * level))


def _converged(draft: Draft) -> None:
    """Falls, and is flat for the last 60 %."""
    floor = draft.uniform(0.2, 0.8)
    draft.falls(floor, draft.uniform(0.04, 0.08))
    draft.onset = 1 + int(np.argmax(draft.level < 1.01 * draft.level[-1]))


def _still_falling(draft: Draft) -> None:
    """Stopped too early: the rate has hardly decayed, at most 1.5 epochs, and the second half improves by 5 % or more."""
    draft.epochs = draft.uniform(0.2, 1.5)
    if draft.chance(0.5):
        draft.schedule = "constant"
    else:
        draft.planned = int(draft.steps * draft.uniform(3, 8))
    bend, start = draft.uniform(0.5, 1.0), float(draft.level[0])
    fall = draft.uniform(0.05, 0.3) / (1 - 0.5**bend)  # what the second half improves, of the start
    draft.level = start * (1 - min(fall, 0.85) * draft.time**bend)


def _overfit(draft: Draft) -> None:
    """The evaluation loss has its minimum and rises by 5–30 %, while the training loss falls."""
    draft.epochs = float(draft.rng.integers(2, 11))
    draft.evals = int(draft.rng.integers(4, min(20, draft.rows) + 1))
    start = float(draft.level[0])
    best, rise = draft.uniform(0.3, 0.6), draft.uniform(0.05, 0.3)
    floor = draft.uniform(0.4, 0.8)
    draft.falls(draft.uniform(0.1, 0.4), draft.uniform(0.3, 0.8))
    time = draft.time
    fall = start * (floor + (1 - floor) * np.clip(1 - time / best, 0, None) ** 2)
    draft.eval_level = fall * (1 + rise * np.clip((time - best) / (1 - best), 0, None) ** draft.uniform(1.0, 1.5))
    draft.onset = min(_eval_steps(draft), key=lambda step: float(draft.eval_level[step - 1]))  # type: ignore[index]


def _memorisation_stairs(draft: Draft) -> None:
    """A fall of 12–35 % at every new epoch and little in between: samples are recognised."""
    draft.epochs = float(draft.rng.integers(3, 8))
    start, within = float(draft.level[0]), draft.uniform(0.0, 0.04)
    draft.falls(draft.uniform(0.7, 0.95), draft.uniform(0.03, 0.1), start=start)
    draft.level *= 1 - within * (draft.time * draft.epochs % 1)
    draft.eval_level = draft.level.copy()
    drop = draft.uniform(0.12, 0.35)
    for step in draft.boundaries():
        draft.level[step - 1 :] *= 1 - min(0.35, max(0.12, drop * draft.uniform(0.8, 1.2)))
    draft.onset = draft.boundaries()[0]


def _gradient_explosion(draft: Draft) -> None:
    """The gradient norm grows 30–1000 times, and the loss gets worse."""
    draft.onset = draft.step_between(0.25, 0.6)
    ramp = np.clip((np.arange(draft.steps) + 1 - draft.onset) / (draft.uniform(0.1, 0.4) * draft.steps), 0, 1)
    draft.norm, draft.logs_norm = draft.norm * draft.log_uniform(30, 1000) ** ramp, True
    best = float(draft.level[draft.onset - 1])
    draft.level[draft.onset - 1 :] = (best * (1 + draft.uniform(0.3, 1.2) * ramp))[draft.onset - 1 :]


def _gradient_vanishing(draft: Draft) -> None:
    """The gradient norm falls to a three-hundredth, while the loss stays above half of its start."""
    draft.onset = draft.step_between(0.15, 0.5)
    ramp = np.clip((np.arange(draft.steps) + 1 - draft.onset) / (draft.uniform(0.05, 0.3) * draft.steps), 0, 1)
    draft.norm, draft.logs_norm = draft.norm * (1 / 300) ** ramp, True
    start, floor = float(draft.level[0]), draft.uniform(0.6, 0.95)
    draft.falls(floor, draft.uniform(0.05, 0.3), start=start)


def _always_clipped(draft: Draft) -> None:
    """The norm is 3–10 times max_grad_norm throughout."""
    limit = draft.one_of(0.3, 0.5, 1.0, 1.0)
    draft.facts["max_grad_norm"] = limit
    draft.norm = limit * draft.uniform(3, 10) * np.exp(draft.uniform(-0.1, 0.1) * draft.time)
    draft.norm_noise, draft.logs_norm, draft.onset = draft.uniform(0.05, 0.25), True, 1


def _oscillation(draft: Draft) -> None:
    """Up and down by 8–25 % with a period of 4–24 rows, as a sine or a saw-tooth, or every other row."""
    amplitude = draft.uniform(0.08, 0.25)
    row = np.arange(draft.steps) // draft.every
    place = np.arange(draft.steps) / draft.every
    shape = draft.one_of("sine", "sine", "saw", "zigzag")
    if shape == "zigzag":
        wave = np.where(row % 2 == 0, 1.0, -1.0)
    else:
        phase = place / draft.uniform(4, max(4.0, min(24.0, draft.rows / 3))) + draft.uniform(0, 1)
        wave = np.sin(2 * np.pi * phase) if shape == "sine" else 1 - 2 * (phase % 1)
    draft.factor = 1 + amplitude * wave
    # A wave below the noise of the rows could not be told from it.
    draft.noise = min(draft.noise, draft.uniform(0.2, 0.6) * amplitude * math.sqrt(draft.every))
    draft.onset = 1


def _noisy(draft: Draft) -> None:
    """Row to row the loss scatters by more than 30 %."""
    draft.factor, draft.onset = draft.row_noise(draft.uniform(0.35, 0.6)), 1


# --- Steps to rows ----------------------------------------------------------------------------------------------------


def _schedule(draft: Draft) -> Steps:
    """The learning rate of every step, as transformers computes it; older versions log it after the scheduler has moved."""
    done = np.arange(draft.steps) + (1.0 if draft.rounded else 0.0)
    warm = math.ceil(draft.warmup * draft.planned)
    share = np.clip((done - warm) / max(1, draft.planned - warm), 0, 1)
    factors = {"linear": 1 - share, "cosine": 0.5 * (1 + np.cos(np.pi * share)), "constant": np.ones(draft.steps)}
    return np.asarray(draft.peak * np.where(done < warm, done / max(1, warm), factors[draft.schedule]))


def _eval_steps(draft: Draft) -> list[int]:
    """Evenly spread over the run, at rows; the last at its end."""
    if not draft.evals:
        return []
    rows = np.unique(np.linspace(0, draft.rows, draft.evals + 1).round().astype(int)[1:])
    return [int(row) * draft.every for row in rows]


def _correlated(draft: Draft) -> Steps:
    """Normal noise of unit variance in which neighbouring steps are alike (an autoregressive process of order one)."""
    weights = draft.correlation ** np.arange(24) if draft.correlation else np.ones(1)
    white = draft.rng.standard_normal(draft.steps + len(weights) - 1)
    return np.convolve(white, weights / math.sqrt(float((weights**2).sum())), mode="valid")


def step_losses(draft: Draft) -> Steps:
    """The loss of every step, noise and all; its mean is that of `level` times `factor`."""
    scatter = np.exp(draft.noise * _correlated(draft) - draft.noise**2 / 2)
    return draft.level * draft.factor * scatter


def averaged(steps: Steps, every: int) -> Steps:
    """What is logged of a series: the mean of each window."""
    return steps.reshape(-1, every).mean(axis=1)


def _logged(draft: Draft, kind: str, seed: int) -> Curve:
    losses = averaged(step_losses(draft), draft.every)
    ends = np.arange(draft.every - 1, draft.steps, draft.every)
    norms = draft.norm[ends] * np.exp(draft.norm_noise * draft.rng.standard_normal(draft.rows))
    rates = (_schedule(draft) if draft.rate is None else draft.rate)[ends]
    if draft.nan_from is not None:
        _mask(draft, losses, norms)
    if draft.held is not None:
        losses = losses[draft.held]
    evaluations = _evaluations(draft)
    records: list[Record] = []
    for row, step in enumerate(ends + 1):
        epoch = float(step / draft.steps * draft.epochs)
        epoch = round(epoch, 2) if draft.rounded else epoch
        loss = round(float(losses[row]), 4) if draft.rounded else float(losses[row])
        values = {"loss": loss}
        if draft.logs_norm:
            values["grad_norm"] = float(np.float32(norms[row]))
        if kind != "model_card":
            values["learning_rate"] = float(rates[row])
        records.append(Record(int(step), epoch, "train", values))
        if (evaluation := evaluations.get(int(step))) is not None:
            evaluation = round(evaluation, 4) if kind == "model_card" else evaluation
            records.append(Record(int(step), epoch, "eval", {"eval_loss": evaluation}))
    run = Run(kind="model_card" if kind == "model_card" else "trainer_state", facts=_facts(draft, kind))
    return Curve(kind, seed, draft.rows, draft.every, tuple(records), run, draft.onset, draft.end)


def _mask(draft: Draft, losses: Steps, norms: Steps) -> None:
    """What the Trainer logs once every step is NaN: a share of the first row, and 0.0 from then on."""
    assert draft.nan_from is not None
    row, good = divmod(draft.nan_from - 1, draft.every)
    losses[row] = losses[row] * filtered_share(good, draft.every) if good else 0.0
    losses[row + 1 :] = 0.0
    norms[row:] = math.nan


def _evaluations(draft: Draft) -> dict[int, float]:
    """The evaluation loss by step: a little above the training loss, and much less noisy."""
    level = draft.level if draft.eval_level is None else draft.eval_level
    drawn, noise = draft.uniform(1.0, 1.15), draft.uniform(0.001, 0.004)
    gap = draft.gap or drawn
    found: dict[int, float] = {}
    for step in _eval_steps(draft):
        value = float(level[step - 1]) * gap * math.exp(noise * float(draft.rng.standard_normal()))
        found[step] = math.nan if draft.nan_from is not None and step >= draft.nan_from else value
    return found


def _facts(draft: Draft, kind: str) -> dict[str, Fact]:
    """What trainer_state.json says, and in half of the runs also what the arguments and the model's configuration say."""
    facts: dict[str, Any] = dict(draft.facts)
    if kind == "model_card":
        facts = {name: value for name, value in facts.items() if name == "num_labels"}
    else:
        facts["max_steps"], facts["logging_steps"] = draft.planned, float(draft.every)
        facts["num_train_epochs"] = float(math.ceil(draft.epochs * draft.planned / draft.steps))
        facts["per_device_train_batch_size"] = 1 if kind == "batch_size_1" else draft.one_of(1, 2, 4, 8, 16)
        if draft.chance(0.5):
            facts |= {"learning_rate": draft.peak, "warmup_steps": float(math.ceil(draft.warmup * draft.planned))}
            facts["lr_scheduler_type"] = _scheduler_name(draft)
            facts.setdefault("max_grad_norm", 1.0)
        else:
            facts.pop("use_lora", None)
    return {name: Fact(value, "simulator") for name, value in facts.items()}


def _scheduler_name(draft: Draft) -> str:
    return "constant_with_warmup" if draft.schedule == "constant" and draft.warmup else draft.schedule


_HEALTHY: Mapping[str, Callable[[Draft], None]] = {
    "standard": _standard,
    "batch_size_1": _batch_size_1,
    "natural_stairs": _natural_stairs,
    "slow_power_law": _slow_power_law,
    "fast_then_flat": _fast_then_flat,
    "length_tail": _length_tail,
    "near_zero_easy": _near_zero_easy,
    "warmup_bump": _warmup_bump,
    "model_card": _model_card,
    "domain_mix": _domain_mix,
}
_WORSE = ("loss-spike", "loss-divergence")
_FAULTS: Mapping[str, tuple[Callable[[Draft], None], tuple[str, ...]]] = {
    "nan_masked": (_nan_masked, ("loss-collapse-to-zero", "gradient-not-finite")),
    "lr_frozen": (_lr_frozen, ("learning-rate-frozen", "skipped-steps")),
    "spike_recovering": (_spike_recovering, _WORSE),
    "spike_not_recovering": (_spike_not_recovering, _WORSE),
    "divergence": (_divergence, _WORSE),
    "plateau_high": (_plateau_high, ("loss-plateau",)),
    "stuck_at_chance": (_stuck_at_chance, ("loss-at-chance",)),
    "chance_after_drop": (_chance_after_drop, ("loss-at-chance",)),
    "converged": (_converged, ("loss-converged",)),
    "still_falling": (_still_falling, ("loss-still-falling",)),
    "overfit": (_overfit, ("eval-loss-rising",)),
    "memorisation_stairs": (_memorisation_stairs, ("epoch-staircase",)),
    "gradient_explosion": (_gradient_explosion, ("gradient-explosion",)),
    "gradient_vanishing": (_gradient_vanishing, ("gradient-vanishing",)),
    "always_clipped": (_always_clipped, ("gradient-always-clipped",)),
    "oscillation": (_oscillation, ("loss-oscillation",)),
    "noisy": (_noisy, ("loss-noise",)),
}
_KINDS: Mapping[str, Callable[[Draft], None]] = {**_HEALTHY, **{kind: draw for kind, (draw, _) in _FAULTS.items()}}

#: The families in which nothing is wrong: every warning is a false alarm.
HEALTHY: tuple[str, ...] = tuple(_HEALTHY)
#: The symptoms of which any one counts as having found a fault.
FAULTS: Mapping[str, frozenset[str]] = {kind: frozenset(slugs) for kind, (_, slugs) in _FAULTS.items()}
#: Faults of which a remark (severity info) is all that they deserve; a warning about them would be too loud.
REMARKS: frozenset[str] = frozenset({"converged", "still_falling", "always_clipped", "noisy"})
