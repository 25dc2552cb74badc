"""What a huge log costs: `lossdoctor analyze` on a `trainer_state.json` of many rows, beside a process that only parses it.

The bar for a million rows: 12 seconds, and twice the memory of `json.load`. Needs a Unix.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = 1_000_000
LOAD = "import json, sys; json.load(open(sys.argv[1], encoding='utf-8'))"
#: The unit of ru_maxrss: bytes on macOS, KiB elsewhere.
PER_MIB = 2**20 if sys.platform == "darwin" else 2**10
ROW = """\
    {{
      "epoch": {epoch!r},
      "grad_norm": {norm!r},
      "learning_rate": {rate!r},
      "loss": {loss!r},
      "step": {step}
    }}"""


def write(path: Path, rows: int) -> None:
    """A healthy run as the Trainer writes it, row by row: a child's peak memory is never below that of its parent."""
    noise = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{\n  "epoch": 3.0,\n  "global_step": {rows},\n  "log_history": [\n')
        for step in range(1, rows + 1):
            loss = round(2.0 + 1.5 * math.exp(-step / 2000) + noise.gauss(0, 0.05), 4)
            rate = 1e-4 * (1 - step / (rows + 1))
            row = ROW.format(epoch=3 * step / rows, norm=1 + noise.random(), rate=rate, loss=loss, step=step)
            file.write(row + (",\n" if step < rows else "\n"))
        file.write(f'  ],\n  "logging_steps": 1,\n  "max_steps": {rows},\n  "num_train_epochs": 3\n}}\n')


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
    parser.add_argument("rows", nargs="?", type=int, default=ROWS)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "trainer_state.json")
        write(log, rows)
        print(f"{rows:,} rows, {log.stat().st_size / 2**20:,.0f} MiB")
        them = cost([sys.executable, "-c", LOAD, str(log)])
        us = cost([sys.executable, "-m", "lossdoctor", "analyze", str(log)])
    for name, (seconds, peak) in (("json.load", them), ("lossdoctor analyze", us)):
        print(f"{name:20} {seconds:6.2f} s {peak:8,.0f} MiB")
    print(f"{'ratio':20} {us[0] / them[0]:6.2f} × {us[1] / them[1]:8.2f} ×")


if __name__ == "__main__":
    main()
