"""What a huge log costs: `lossdoctor analyze` on a log of many rows, or of many megabytes, in each of several dialects.

The bar for a `trainer_state.json` of a million rows: 12 seconds, and twice the memory of `json.load`. The bar for the largest
log that is read, in any dialect: eight times its size in memory. Needs a Unix.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROWS = 1_000_000
LOAD = "import json, sys; json.load(open(sys.argv[1], encoding='utf-8'))"
#: The unit of ru_maxrss: bytes on macOS, KiB elsewhere.
PER_MIB = 2**20 if sys.platform == "darwin" else 2**10
STATE = """\
    {{
      "epoch": {epoch!r},
      "grad_norm": {norm!r},
      "learning_rate": {rate!r},
      "loss": {loss!r},
      "step": {step}
    }}"""
BAR = "\r{percent:3}%|{done:10}| {step}/10000000 [{step}:00<99:59:59,  5.12it/s]"
PRINTED = "{{'loss': '{loss:.4g}', 'grad_norm': '{norm:.4g}', 'learning_rate': '{rate:.4g}', 'epoch': '{epoch:.4g}'}}\n"


class Row(NamedTuple):
    """What a healthy run logs at one step."""

    step: int
    loss: float
    norm: float
    rate: float
    epoch: float


def run() -> Iterator[Row]:
    """A healthy run without end, row by row: a child's peak memory is never below that of its parent."""
    noise = random.Random(1)
    for step in itertools.count(1):
        loss = round(2.0 + 1.5 * math.exp(-step / 2000) + noise.gauss(0, 0.05), 4)
        yield Row(step, loss, 1 + noise.random(), 1e-4 / (1 + step / 1e6), step / 333_333)


def trainer_state() -> Iterator[bytes]:
    """As the Trainer saves it."""
    for row in run():
        yield ("," if row.step > 1 else '{"log_history": [').encode() + b"\n" + STATE.format(**row._asdict()).encode()


def json_lines() -> Iterator[bytes]:
    """A JSON object a line."""
    for row in run():
        names = {"loss": row.loss, "grad_norm": row.norm, "learning_rate": row.rate, "epoch": row.epoch, "step": row.step}
        yield json.dumps(names).encode() + b"\n"


def trainer_stdout(sign: str = "█") -> Iterator[bytes]:
    """What a Trainer prints, with its progress bar before and after every row; the bar's signs are not ASCII."""
    for row in run():
        bar = BAR.format(percent=row.step // 100_000, done=sign * 3, step=row.step)
        yield (bar + "\r" + PRINTED.format(**row._asdict()) + bar).encode()


def with_emoji() -> Iterator[bytes]:
    """The same with a sign for which Python keeps every character of a text in 4 bytes."""
    return trainer_stdout("🤗")


def event_file() -> Iterator[bytes]:
    """As TensorBoard's own writer frames it: four scalars a step."""
    import io

    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    def framed(event: Event) -> bytes:
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        return record.getvalue()

    yield framed(Event(wall_time=1e9, file_version="brain.Event:2"))
    for row in run():
        event = Event(wall_time=1e9 + row.step, step=row.step)
        events = b""
        for name in ("loss", "norm", "rate", "epoch"):
            del event.summary.value[:]
            event.summary.value.add(tag=f"train/{name}", simple_value=getattr(row, name))
            events += framed(event)
        yield events


KINDS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    made.__name__: made for made in (trainer_state, json_lines, trainer_stdout, with_emoji, event_file)
}


def write(path: Path, kind: str, rows: int | None, size: float) -> int:
    """A log of so many rows, or else so many bytes; gives the number of rows."""
    written = count = 0
    with path.open("wb") as file:
        for count, piece in enumerate(KINDS[kind](), 1):
            written += file.write(piece)
            if count == rows or (rows is None and written >= size):
                break
        if kind == "trainer_state":
            file.write(f'\n  ],\n  "logging_steps": 1,\n  "max_steps": {count},\n  "num_train_epochs": 3\n}}\n'.encode())
    return count


def cost(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # 1: the log has findings
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / PER_MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=None)
    parser.add_argument("--megabytes", type=float, default=None, help="the size of the log, instead of its rows")
    parser.add_argument("--kind", action="append", choices=KINDS, help="trainer_state alone, if none is given")
    options = parser.parse_args()
    rows = None if options.megabytes else options.rows or ROWS
    for kind in options.kind or ["trainer_state"]:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "log")
            written = write(log, kind, rows, (options.megabytes or 0) * 1e6)
            size = log.stat().st_size / 2**20
            print(f"{kind}: {written:,} rows, {size:,.0f} MiB")
            us = cost([sys.executable, "-m", "lossdoctor", "analyze", str(log)])
            them = cost([sys.executable, "-c", LOAD, str(log)]) if kind == "trainer_state" else None
        if them:
            print(f"  {'json.load':20} {them[0]:6.2f} s {them[1]:8,.0f} MiB")
        print(f"  {'lossdoctor analyze':20} {us[0]:6.2f} s {us[1]:8,.0f} MiB = {us[1] / size:.1f} × the file")
        if them:
            print(f"  {'ratio':20} {us[0] / them[0]:6.2f} × {us[1] / them[1]:8.2f} ×")


if __name__ == "__main__":
    main()
