"""Real fine-tunes of a few seconds with a fault put in, on which no threshold was ever set; and the cost of a callback in one.

A tiny GPT-2 learns a language of random word pairs, the base, and is then fine-tuned on one that differs in a quarter of them.
Everything comes from seeds, so that two environments with the same torch and transformers train the same run to the last digit.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

torch.set_num_threads(1)
transformers.utils.logging.set_verbosity_error()
WORDS, LENGTH, STEPS = 64, 16, 120
#: Steps between two rows of the log.
EVERY = 3
#: Rows, steps of the base and batch of a fine-tune.
ROWS, BASE, BATCH = 2400, 250, 8
#: The steps that are timed, and those before them.
TIMED, WARM = 100, 10


class Pairs(Dataset[dict[str, torch.Tensor]]):
    """Sequences in which each word is followed by one of eight others, some more often than others."""

    def __init__(self, language: int, rows: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(1)
        followers = torch.stack([torch.randperm(WORDS, generator=draw)[:8] for _ in range(WORDS)])
        if language > 1:  # one word in four is used in another way
            draw = torch.Generator().manual_seed(language)
            followers[::4] = torch.stack([torch.randperm(WORDS, generator=draw)[:8] for _ in range(WORDS)])[::4]
        often = torch.tensor([0.4, 0.2, 0.15, 0.1, 0.05, 0.05, 0.03, 0.02])
        draw = torch.Generator().manual_seed(1000 + seed)
        words = [torch.randint(0, WORDS, (rows,), generator=draw)]
        for _ in range(LENGTH - 1):
            which = torch.multinomial(often, rows, replacement=True, generator=draw)
            words.append(followers[words[-1], which])
        self.words = torch.stack(words, dim=1)
        self.labels = self.words.clone()
        self.labels[:, 0] = -100  # nothing stands before it; the Trainer would count it all the same

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.words[row], "labels": self.labels[row]}


class Faulty(Trainer):
    """A Trainer in which a batch or a loss is spoilt, as the fault asks."""

    fault: Fault

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        step = self.state.global_step + 1
        if model.training:
            inputs = self.fault.batch(step, inputs)
        found = super().compute_loss(model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch)
        if not model.training:
            return found
        return (self.fault.loss(step, found[0]), found[1]) if return_outputs else self.fault.loss(step, found)


@dataclass(frozen=True)
class Fault:
    """A kind of run: what is changed about a healthy one, what names fit, and the step of the onset."""

    wanted: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    at: Callable[[int], int] = lambda seed: 1
    rows: int = ROWS
    scratch: bool = False
    remark: bool = False  # harmless in itself: worth a word, and no warning
    batch: Callable[[int, Any], Any] = lambda step, inputs: inputs
    loss: Callable[[int, Any], Any] = lambda step, loss: loss


def _middle(seed: int) -> int:
    """A step in the middle of the run."""
    return 49 + 13 * seed % 29


def faults(seed: int) -> dict[str, Fault]:
    """Every kind, by name; the healthy ones have no wanted names."""
    at = _middle(seed)
    worse = ("spike", "divergence")
    draw = torch.Generator().manual_seed(seed)

    def at_random(steps: Callable[[int], bool], step: int, inputs: Any) -> Any:
        labels = torch.randint(0, WORDS, inputs["labels"].shape, generator=draw)
        labels[:, 0] = -100
        return {**inputs, "labels": labels} if steps(step) else inputs

    def hidden(step: int, loss: Any) -> Any:
        return loss * 0 + math.nan if step == at else loss

    def poisoned(step: int, loss: Any) -> Any:
        return loss * math.nan if step >= at else loss

    def masked(step: int, inputs: Any) -> Any:
        return {**inputs, "labels": torch.full_like(inputs["labels"], -100)}

    return {
        "linear schedule": Fault(),
        "cosine with warm-up": Fault(settings={"lr_scheduler_type": "cosine", "warmup_steps": 15}),
        "constant rate": Fault(settings={"lr_scheduler_type": "constant"}),
        "batches of 1": Fault(settings={"per_device_train_batch_size": 1, "learning_rate": 5e-4}),
        "from scratch": Fault(scratch=True, settings={"learning_rate": 3e-3}),
        "two epochs": Fault(rows=75 * BATCH),
        "rate far too high": Fault((*worse, "flat", "large gradient", "rate", "oscillation"), {"learning_rate": 0.5}),
        "SGD without clipping": Fault(
            (*worse, "not finite", "large gradient", "flat", "rate", "zero loss"),
            {"optim": "sgd", "learning_rate": 30.0, "max_grad_norm": 0.0},
        ),
        "rate far too low": Fault(("flat", "rate"), {"learning_rate": 1e-9}),
        "rate of zero": Fault(("flat", "rate"), {"learning_rate": 0.0}),
        "NaN for good": Fault(("not finite", "zero loss"), at=lambda s: at, loss=poisoned),
        "NaN in one step": Fault(("not finite", "zero loss"), at=lambda s: at, loss=hidden, remark=True),
        "labels masked": Fault(("zero loss", "not finite", "small gradient", "flat"), batch=masked),
        "labels at random": Fault(("flat",), batch=functools.partial(at_random, lambda step: True)),
        "bad data from a step on": Fault(worse, at=lambda s: at, batch=functools.partial(at_random, lambda step: step >= at)),
        "ten bad batches": Fault(worse, at=lambda s: at, batch=functools.partial(at_random, lambda step: at <= step < at + 10)),
        "too little data": Fault(("overfitting", "memorisation"), {"learning_rate": 3e-3}, rows=24),
        "frozen": Fault(("flat", "small gradient"), loss=lambda step, loss: loss * 0 + loss.detach()),
    }


@functools.cache
def base() -> Any:
    """The model that all are fine-tuned from: it knows the first language."""
    model = fresh()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        Trainer(model, settings(folder, max_steps=BASE, learning_rate=3e-3), train_dataset=Pairs(1, ROWS, 0)).train()
    return model


def fresh() -> Any:
    """That model before it knew anything."""
    torch.manual_seed(0)
    shape = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 32, "vocab_size": WORDS}
    return GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0, loss_type="ForCausalLM"))


def settings(folder: str, **changes: Any) -> TrainingArguments:
    """The arguments of a healthy fine-tune; `changes` win."""
    usual = {
        "output_dir": folder,
        "max_steps": STEPS,
        "learning_rate": 1e-3,
        "per_device_train_batch_size": BATCH,
        "optim": "adamw_torch",
        "logging_steps": EVERY,
        "save_strategy": "no",
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
    }
    return TrainingArguments(**{**usual, **changes})  # type: ignore[arg-type]


def train(kind: str, seed: int, callbacks: Sequence[TrainerCallback] = ()) -> list[dict[str, Any]]:
    """The log of one training."""
    fault = faults(seed)[kind]
    model = fresh() if fault.scratch else copy.deepcopy(base())
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        arguments = settings(
            folder, seed=seed, eval_strategy="steps", eval_steps=12, per_device_eval_batch_size=64, **fault.settings
        )
        data = {"train_dataset": Pairs(2, fault.rows, seed), "eval_dataset": Pairs(2, 64, 500 + seed)}
        trainer = Faulty(model, arguments, **data, callbacks=list(callbacks))
        trainer.fault = fault
        trainer.train()
    return list(trainer.state.log_history)


# --- The cost of a callback in a training -----------------------------------------------------------------------------


class Clock(TrainerCallback):
    """The time from one step to the next; stands in the runs with and without a tool."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.now = now
        self.times: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.times.append(self.now())

    def steps(self, warm: int = WARM) -> list[float]:
        """Seconds per step, without the first ones."""
        return [after - before for before, after in zip(self.times[warm:], self.times[warm + 1 :], strict=False)]


def ratios(callback: Callable[[], TrainerCallback], pairs: int) -> tuple[list[float], list[float]]:
    """Of each pair of trainings, with a callback and without, the order alternating: their steps' ratio, and the plain step.

    Processor seconds of the whole process, the mean over a training: what is done now and then counts in full.
    """
    found, plain = [], []
    for pair in range(pairs):
        means = {}
        for watched in (pair % 2 == 0, pair % 2 != 0):
            clock = Clock(time.process_time)
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
                arguments = settings(folder, max_steps=TIMED + WARM, logging_steps=5)
                extra: Iterable[TrainerCallback] = [callback()] if watched else []
                Trainer(wider(), arguments, train_dataset=Pairs(2, ROWS, 0), callbacks=[clock, *extra]).train()
            means[watched] = statistics.fmean(clock.steps())
        found.append(means[True] / means[False])
        plain.append(means[False])
    return found, plain


def wider() -> Any:
    """A GPT-2 of 0.6 million parameters: a step of 10 to 20 ms on one core."""
    torch.manual_seed(0)
    shape = {"n_embd": 128, "n_layer": 3, "n_head": 4, "n_positions": 64, "vocab_size": 256}
    return GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0, loss_type="ForCausalLM"))
