"""What the doctor costs a training that goes on: `python benchmarks/live.py [--pairs 30]`. CPU; for a GPU see gpu.py.

The whole step with and without `LossDoctorCallback()`: trainings in pairs, one with and one without, the order alternating, in
one process. A pair gives the ratio of their median steps; the result is the median of the pairs with its quartiles. Beside it
the time that is spent in our own code, summed up by the clock. And the cost of one log, over 100,000 of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import torch
import transformers
from fp16_collapse import Counting, arguments
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainerControl, TrainerState

from lossdoctor import LossDoctorCallback

torch.set_num_threads(1)
STEPS, WARM = 100, 10
LOGS, BLOCK = 100_000, 10_000


class Clock(TrainerCallback):
    """The time from one step to the next; stands in the runs with and without the doctor."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter())

    def steps(self) -> list[float]:
        """Seconds per step, without the first ones."""
        return [after - before for before, after in zip(self.times[WARM:], self.times[WARM + 1 :], strict=False)]


def model() -> Any:
    """A GPT-2 of 0.6 million parameters: a step of 10 to 20 ms on one core."""
    torch.manual_seed(0)
    shape = {"n_embd": 128, "n_layer": 3, "n_head": 4, "n_positions": 64, "vocab_size": 256}
    return GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0, loss_type="ForCausalLM"))


def run(doctor: TrainerCallback | None, folder: str) -> list[float]:
    """One training; the seconds of each of its steps."""
    clock = Clock()
    settings = {"max_steps": STEPS + WARM, "logging_steps": 10, "save_strategy": "no", "per_device_train_batch_size": 4}
    args = arguments(folder, **settings, disable_tqdm=True, fp16=False, learning_rate=1e-4)
    trainer = Trainer(model(), args, train_dataset=Counting(512), callbacks=[clock, *([doctor] if doctor else [])])
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return clock.steps()


def whole_step(pairs: int, folder: str) -> None:
    """Prints the ratio of the median steps, with the quartiles over all pairs."""
    ratios, plain = [], []
    for pair in range(pairs):
        medians = {}
        for watched in (pair % 2 == 0, pair % 2 != 0):
            doctor = LossDoctorCallback(sinks=[]) if watched else None
            medians[watched] = statistics.median(run(doctor, folder))
        ratios.append(medians[True] / medians[False])
        plain.append(medians[False])
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"whole step: {statistics.median(plain) * 1e3:.1f} ms; with the doctor × {middle:.4f}"
          f" (quartiles {low:.4f} to {high:.4f}, {pairs} alternating pairs)")  # fmt: skip


def own_time(folder: str) -> None:
    """Prints the time inside our own code per step: every hook of the callback, and what follows `training_step`."""
    spent = [0.0]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[0] += time.perf_counter() - start

        return clocked

    from lossdoctor.probes import trainer as probe

    class Clocked(LossDoctorCallback):
        on_step_end = timed(LossDoctorCallback.on_step_end)
        on_optimizer_step = timed(LossDoctorCallback.on_optimizer_step)
        on_log = timed(LossDoctorCallback.on_log)

    original = probe.TrainingStep.__init__, probe.Calls.__call__
    probe.TrainingStep.__init__ = lambda self, trainer, see: original[0](self, trainer, timed(see))  # type: ignore[method-assign]
    probe.Calls.__call__ = timed(original[1])  # type: ignore[method-assign]
    steps = run(Clocked(sinks=[]), folder)
    probe.TrainingStep.__init__, probe.Calls.__call__ = original  # type: ignore[method-assign]
    share = spent[0] / (sum(steps) * (STEPS + WARM) / len(steps))
    print(f"own time: {spent[0] / (STEPS + WARM) * 1e6:.0f} µs per step, {share:.2%} of it")


def logs(folder: str) -> None:
    """Prints the cost of one log in the first and the last block of 100,000, and the largest block."""
    args, state, control = arguments(folder, fp16=False), TrainerState(max_steps=LOGS + 1), TrainerControl()
    doctor = LossDoctorCallback(sinks=[])
    doctor.on_train_begin(args, state, control, model=model())
    noise = torch.randn(LOGS, generator=torch.Generator().manual_seed(1)).tolist()
    blocks, costs = [], []
    for step in range(1, LOGS + 1):
        state.global_step = step
        row = {"loss": 2 + 100 / (50 + step) + 0.05 * noise[step - 1], "grad_norm": 1 + abs(noise[-step]), "epoch": step / LOGS}
        row["learning_rate"] = 1e-4 * (1 - step / (LOGS + 1))
        start = time.perf_counter()
        doctor.on_log(args, state, control, logs=row)
        costs.append(time.perf_counter() - start)
        if step % BLOCK == 0:
            blocks.append(statistics.median(costs) * 1e6)
            costs.clear()
    assert doctor.failure is None, doctor.failure
    print(f"one log, medians of {BLOCK:,}: first {blocks[0]:.1f} µs, last {blocks[-1]:.1f} µs, highest {max(blocks):.1f} µs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30, help="pairs of trainings, about two seconds each")
    pairs = parser.parse_args().pairs
    print(f"{platform.machine()}, one thread; torch {torch.__version__}, transformers {transformers.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        logs(folder)
        own_time(folder)
        whole_step(pairs, folder)


if __name__ == "__main__":
    main()
