"""What the doctor costs a training that goes on: `python benchmarks/live.py [--pairs 30]`. CPU; for a GPU see gpu.py.

The whole step with and without `LossDoctorCallback()`: trainings in pairs, one with and one without, the order alternating, in
one process. A pair gives the ratio of their median steps; the result is the median of the pairs with its quartiles. Beside it
the time that is spent in our own code, summed up by the clock. And the cost of one log, over 100,000 of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import torch
from fp16_collapse import Counting, arguments
from peer.trainings import WARM, Clock
from peer.trainings import wider as model
from table import Spread, machine
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState

from lossdoctor import LossDoctorCallback

torch.set_num_threads(1)
STEPS = 100
LOGS, BLOCK = 100_000, 10_000


def run(doctor: TrainerCallback | None, folder: str) -> list[float]:
    """One training; the seconds of each of its steps."""
    clock = Clock()
    settings = {"max_steps": STEPS + WARM, "logging_steps": 10, "save_strategy": "no", "per_device_train_batch_size": 4}
    args = arguments(folder, **settings, disable_tqdm=True, fp16=False, learning_rate=1e-4)
    trainer = Trainer(model(), args, train_dataset=Counting(512), callbacks=[clock, *([doctor] if doctor else [])])
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return clock.steps()


def whole_step(folder: str, pairs: int) -> tuple[Spread, Spread]:
    """Seconds of a step without the doctor, and the ratio of the median steps with and without, over all pairs."""
    ratios, plain = [], []
    for pair in range(pairs):
        medians = {}
        for watched in (pair % 2 == 0, pair % 2 != 0):
            doctor = LossDoctorCallback(sinks=[]) if watched else None
            medians[watched] = statistics.median(run(doctor, folder))
        ratios.append(medians[True] / medians[False])
        plain.append(medians[False])
    return Spread.of(plain), Spread.of(ratios)


def own_time(folder: str) -> tuple[float, float]:
    """Seconds in our own code per step, and their share of it: every hook of the callback, and what follows `training_step`."""
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
    return spent[0] / (STEPS + WARM), share


def logs(folder: str, total: int = LOGS) -> list[float]:
    """Microseconds of one log, the median of every block of so many logs."""
    args, state, control = arguments(folder, fp16=False), TrainerState(max_steps=total + 1), TrainerControl()
    doctor = LossDoctorCallback(sinks=[])
    doctor.on_train_begin(args, state, control, model=model())
    noise = torch.randn(total, generator=torch.Generator().manual_seed(1)).tolist()
    blocks, costs = [], []
    for step in range(1, total + 1):
        state.global_step = step
        row = {"loss": 2 + 100 / (50 + step) + 0.05 * noise[step - 1], "grad_norm": 1 + abs(noise[-step]), "epoch": step / total}
        row["learning_rate"] = 1e-4 * (1 - step / (total + 1))
        start = time.perf_counter()
        doctor.on_log(args, state, control, logs=row)
        costs.append(time.perf_counter() - start)
        if step % BLOCK == 0:
            blocks.append(statistics.median(costs) * 1e6)
            costs.clear()
    assert doctor.failure is None, doctor.failure
    return blocks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30, help="pairs of trainings, about two seconds each")
    pairs = parser.parse_args().pairs
    print(f"{machine('torch', 'transformers')}; one thread")
    with tempfile.TemporaryDirectory() as folder:
        blocks = logs(folder)
        print(f"one log, medians of {BLOCK:,}: first {blocks[0]:.1f} µs, last {blocks[-1]:.1f} µs, highest {max(blocks):.1f} µs")
        spent, share = own_time(folder)
        print(f"own time: {spent * 1e6:.0f} µs per step, {share:.2%} of it")
        step, ratios = whole_step(folder, pairs)
        print(f"whole step: {step.median * 1e3:.1f} ms; with the doctor × {ratios.text('.4f')}, {pairs} alternating pairs")


if __name__ == "__main__":
    main()
