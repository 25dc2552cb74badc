"""What the doctor costs: per record in the engine, per log in the callback, per row of a finished file."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from lossdoctor.engine import Engine, examine
from lossdoctor.model import Fact, Record, Run

ROUNDS = 5_000


def log(rows: int, broken_at: int | None = None) -> list[Record]:
    """A fine-tuning log with loss, gradient norm and learning rate, healthy or NaN for ever from some row."""
    noise = random.Random(1)
    records = []
    for step in range(1, rows + 1):
        dead = broken_at is not None and step >= broken_at
        loss = 0.0 if dead else 2.0 + 1.5 * math.exp(-step / 200) + noise.gauss(0, 0.05)
        norm = math.nan if dead else 1.0 + noise.random()
        values = {"loss": loss, "grad_norm": norm, "learning_rate": 1e-4 * (1 - step / (rows + 1))}
        records.append(Record(step, step / rows, "train", values))
    return records


FACTS = {"max_steps": ROUNDS + 1, "lr_scheduler_type": "linear", "learning_rate": 1e-4, "logging_nan_inf_filter": True}
RUN = Run(facts={name: Fact(value, "benchmark") for name, value in FACTS.items()})


@pytest.mark.parametrize("kind", ["healthy", "broken"])
def test_engine_per_record(benchmark: Any, kind: str) -> None:
    """One `observe` with every detector, in the middle of a long run. The bar is 10 µs."""
    records = log(ROUNDS, broken_at=ROUNDS // 4 if kind == "broken" else None)
    engine = Engine(RUN)
    for record in records[: ROUNDS // 3]:
        engine.observe(record)
    rest = iter(records[ROUNDS // 3 :])
    benchmark.pedantic(engine.observe, setup=lambda: ((next(rest),), {}), rounds=ROUNDS // 2)


def test_callback_per_log(benchmark: Any, tmp_path: Any) -> None:
    """One `on_log` of the callback, as the Trainer calls it. The goal is 25 µs."""
    pytest.importorskip("transformers")
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from lossdoctor import LossDoctorCallback

    args = TrainingArguments(output_dir=str(tmp_path), report_to=[])
    state, control = TrainerState(max_steps=ROUNDS + 1), TrainerControl()
    callback = LossDoctorCallback(sinks=[])
    callback.on_train_begin(args, state, control)
    rows = iter(log(ROUNDS))

    def next_log() -> tuple[tuple[Any, ...], dict[str, Any]]:
        record = next(rows)
        state.global_step = record.step
        return (args, state, control), {"logs": {**record.values, "epoch": record.epoch}}

    benchmark.pedantic(callback.on_log, setup=next_log, rounds=ROUNDS // 2)
    assert callback.failure is None


@pytest.mark.parametrize("rows", [500, 50_000])
def test_a_finished_log(benchmark: Any, rows: int) -> None:
    """All rows of a finished log and its report."""
    records = log(rows)
    benchmark.pedantic(examine, args=(records, RUN), rounds=5 if rows > 1000 else 50)
