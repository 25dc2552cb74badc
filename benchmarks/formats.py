"""A long healthy run in every format that is read: what the benchmarks of the readers have in common."""

from __future__ import annotations

import io
import itertools
import json
import math
import random
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # what writes files as W&B does


class Row(NamedTuple):
    """What a healthy run logs at one step."""

    step: int
    loss: float
    norm: float
    rate: float
    epoch: float


class Lines(NamedTuple):
    """A text format: what stands before all rows, a row, and what stands after them; `total` is the number of rows."""

    row: str
    head: str = ""
    tail: str = ""


def run(total: int | None = None) -> Iterator[Row]:
    """A healthy run row by row, without end if there is no total: a child's peak memory is never below that of its parent."""
    noise = random.Random(1)
    for step in itertools.count(1) if total is None else range(1, total + 1):
        loss = round(2.0 + 1.5 * math.exp(-step / 2000) + noise.gauss(0, 0.05), 4)
        yield Row(step, loss, 1 + noise.random(), 1e-4 / (1 + step / 1e6), step / 333_333)


_BAR = "{percent:3}%|███       | {step}/{total} [07:12<59:59,  5.12it/s"
_DICT = "{{'loss': '{loss:.4g}', 'grad_norm': '{norm:.4g}', 'learning_rate': '{rate:.4g}', 'epoch': '{epoch:.4g}'}}"
_NUMBERS = (
    '   "epoch": {epoch!r},\n   "grad_norm": {norm!r},\n   "learning_rate": {rate!r},\n   "loss": {loss!r},\n   "step": {step}\n'
)
_HEAD, _TAIL = '{{\n "log_history": [\n', '  {{}}\n ],\n "max_steps": {total},\n "num_train_epochs": 3\n}}\n'
#: The last row of a JSON array has no comma: an empty object stands behind it.
TEXTS: Mapping[str, Lines] = {
    "trainer_state": Lines(f"  {{{{\n{_NUMBERS}  }}}},\n", _HEAD, _TAIL),
    "json_lines": Lines('{{"loss": {loss}, "grad_norm": {norm}, "learning_rate": {rate}, "epoch": {epoch}, "step": {step}}}\n'),
    "llama_factory": Lines(
        '{{"current_steps": {step}, "total_steps": {total}, "loss": {loss}, "lr": {rate}, "epoch": {epoch}, "percentage": 1.5, '
        '"elapsed_time": "0:04:02", "remaining_time": "0:33:29"}}\n'
    ),
    "trainer_stdout": Lines(f"\r{_BAR}]\r{' ' * 40}\r{_DICT}\n\r{_BAR}]"),
    "deepspeed": Lines(
        "[2025-01-10 03:12:07,118] [INFO] [logging.py:96:log_dist] [Rank 0] step={step}, skipped=0, lr=[{rate}], "
        "mom=[[0.9, 0.95]]\n"
        "steps: {step} loss: {loss:.4f} iter time (s): 1.204 samples/sec: 13.287\n"
    ),
    "megatron": Lines(
        " [2025-01-10 15:26:21] iteration {step:8}/{total:8} | consumed samples: {step:12} | "
        "elapsed time per iteration (ms): 812.4 | learning rate: {rate:.6E} | global batch size:    32 | lm loss: {loss:.6E} | "
        "loss scale: 1.0 | grad norm: {norm:.3f} | "
        "number of skipped iterations:   0 | number of nan iterations:   0 |\n"
    ),
    "torchtune": Lines("Step {step} | loss:{loss} lr:{rate} grad_norm:{norm} tokens_per_second_per_gpu:1028.5 \n"),
    "mmengine": Lines(
        "2025/01/10 17:21:38 - mmengine - INFO - Iter(train) [{step}/{total}]  lr: {rate:.4e}  eta: 1:02:03  time: 3.75  "
        "data_time: 0.02  memory: 10721  loss: {loss:.4f}  grad_norm: {norm:.4f}\n"
    ),
    "progress_bar": Lines("\rsteps: " + _BAR + ", avr_loss={loss:.4f}]"),
    "key_value": Lines("step {step}: loss {loss:.4f}, lr {rate:.3e}, grad_norm {norm:.3f}, time 412.2ms\n"),
    "notebook_table": Lines("{step}\t{loss:.6f}\n", "Step\tTraining Loss\n"),
    "markdown_table": Lines("| {loss:.4f} | {epoch:.4f} | {step} |\n", "| Training Loss | Epoch | Step |\n|:---:|:---:|:---:|\n"),
    "html_table": Lines(
        "<tr>\n<td>{step}</td>\n<td>{loss:.6f}</td>\n</tr>\n",
        "<table>\n<thead>\n<tr><th>Step</th>\n<th>Training Loss</th>\n</tr>\n</thead>\n<tbody>\n",
        "</tbody>\n</table>\n",
    ),
    "jupyter_notebook": Lines(
        "{step}\\t{loss:.6f}\\n",
        '{{"cells": [{{"cell_type": "code", "source": "trainer.train()", "outputs": [{{"output_type": "stream", '
        '"name": "stdout", "text": "Step\\tTraining Loss\\n',
        '"}}]}}], "metadata": {{}}, "nbformat": 4, "nbformat_minor": 5}}\n',
    ),
    "lightning_csv": Lines("{epoch:.0f},{rate},{step},{loss},\n", "epoch,lr-AdamW,step,train_loss,val_loss\n"),
    "wandb_csv": Lines(
        '"{step}","{loss}","{loss}","{loss}"\n', '"Step","a - train/loss","a - train/loss__MIN","a - train/loss__MAX"\n'
    ),
    "plain_csv": Lines("{step},{loss},{rate},{norm}\n", "step,loss,lr,grad_norm\n"),
    "text_table": Lines("{step} {loss} {rate}\n", "step loss lr\n"),
    "verl": Lines(
        "step:{step} - actor/entropy:0.4 - actor/pg_loss:{loss} - actor/grad_norm:{norm} - actor/lr:{rate} - "
        "training/global_step:{step} - training/epoch:{epoch:.3f} - critic/rewards/mean:0.4\n"
    ),
    "bare_columns": Lines("{step} {loss}\n"),
}  # fmt: skip


def pieces(kind: str, total: int | None = None) -> Iterator[bytes]:
    """A text format, piece by piece: its head, its rows (without end if there is no total), and its tail."""
    lines, known = TEXTS[kind], {"total": total or 10_000_000}
    if lines.head:
        yield lines.head.format(**known).encode()
    for row in run(total):
        yield lines.row.format(**row._asdict(), **known, percent=100 * row.step // known["total"]).encode()
    yield lines.tail.format(**known).encode()


def events(total: int | None = None) -> Iterator[bytes]:
    """An event file as TensorBoard's own writer frames it: four scalars a step."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    def framed(event: Event) -> bytes:
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        return record.getvalue()

    yield framed(Event(wall_time=1e9, file_version="brain.Event:2"))
    for row in run(total):
        event = Event(wall_time=1e9 + row.step, step=row.step)
        written = b""
        for tag, value in _columns(row, "train/").items():
            del event.summary.value[:]
            event.summary.value.add(tag=tag, simple_value=value)
            written += framed(event)
        yield written


def _columns(row: Row, prefix: str = "") -> dict[str, float]:
    names = {"loss": row.loss, "grad_norm": row.norm, "learning_rate": row.rate, "epoch": row.epoch}
    return {prefix + name: value for name, value in names.items()}


def _event_files(path: Path, total: int) -> None:
    with path.open("wb") as file:
        file.writelines(events(total))


def _wandb_run(path: Path, total: int) -> None:
    from wandb_writer import framed, history

    rows = (history({**_columns(row, "train/"), "train/global_step": row.step, "_step": row.step}) for row in run(total))
    path.write_bytes(framed(rows))


def _mlflow_store(path: Path, total: int) -> None:
    with sqlite3.connect(path) as database:
        database.execute("create table runs (run_uuid text, name text, lifecycle_stage text, start_time integer)")
        database.execute(
            "create table metrics (key text, value real, timestamp integer, run_uuid text, step integer, is_nan boolean)"
        )
        database.execute("insert into runs values ('a', 'a run', 'active', 1)")
        values = ((name, value, row.step, row.step) for row in run(total) for name, value in _columns(row).items())
        database.executemany("insert into metrics values (?, ?, ?, 'a', ?, 0)", values)


def _trackio_store(path: Path, total: int) -> None:
    with sqlite3.connect(path) as database:
        database.execute(
            "create table metrics (id integer primary key, timestamp text, run_name text, step integer, metrics text)"
        )
        rows = ((row.step, json.dumps({**_columns(row, "train/"), "train/global_step": row.step})) for row in run(total))
        database.executemany("insert into metrics (timestamp, run_name, step, metrics) values ('', 'a run', ?, ?)", rows)


def _mlflow_folder(path: Path, total: int) -> None:
    folder = path / "0" / "a" / "metrics"
    folder.mkdir(parents=True)
    (path / "0" / "meta.yaml").write_text("experiment_id: '0'\n")
    (path / "0" / "a" / "meta.yaml").write_text("lifecycle_stage: active\nrun_id: a\nrun_name: a run\n")
    for name in _columns(next(run())):
        with (folder / name).open("w") as file:
            file.writelines(f"{row.step} {_columns(row)[name]} {row.step}\n" for row in run(total))


def _dvclive(path: Path, total: int) -> None:
    folder = path / "plots" / "metrics"
    folder.mkdir(parents=True)
    for name in _columns(next(run())):
        with (folder / f"{name}.tsv").open("w") as file:
            file.write(f"step\t{name}\n")
            file.writelines(f"{row.step}\t{_columns(row)[name]}\n" for row in run(total))


STORES: Mapping[str, Callable[[Path, int], None]] = {
    "event_files": _event_files,
    "wandb_run": _wandb_run,
    "mlflow_store": _mlflow_store,
    "mlflow_folder": _mlflow_folder,
    "trackio_store": _trackio_store,
    "dvclive": _dvclive,
}


def write(kind: str, path: Path, total: int) -> None:
    """A log of so many rows in that format, at `path`: a file, or a folder where the format is one."""
    if kind in STORES:
        STORES[kind](path, total)
        return
    with path.open("wb") as file:
        file.writelines(pieces(kind, total))
