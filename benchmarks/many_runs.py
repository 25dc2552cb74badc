"""What many logs cost: `lossdoctor analyze` on 2,000 runs of 1,000 rows, on one core and on two, whole processes in turn.

The bar: two cores take at most 1 / 1.6 of the time of one. Needs a Unix.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from table import PER_MIB, Spread, alternating, ratio

RUNS, ROWS, ROUNDS = 2_000, 1_000, 3


def write(folder: Path, seed: int, rows: int) -> None:
    """The output folder of a run; one in twenty breaks in the second half."""
    noise = random.Random(seed)
    breaks = noise.randrange(rows // 2, rows) if seed % 20 == 0 else rows
    level, speed, rate = noise.uniform(1.2, 2.5), noise.uniform(0.05, 0.3), 10 ** noise.uniform(-5, -3.5)
    log = []
    for step in range(1, rows + 1):
        lost = step > breaks
        loss = level + 1.5 * math.exp(-step / (speed * rows)) + noise.gauss(0, 0.05)
        log.append({
            "epoch": 3 * step / rows,
            "grad_norm": math.nan if lost else 1 + noise.random(),
            "learning_rate": rate * (1 - step / (rows + 1)),
            "loss": 0.0 if lost else round(loss, 4),
            "step": 10 * step,
        })  # fmt: skip
    state = {"log_history": log, "logging_steps": 10, "max_steps": 10 * rows, "num_train_epochs": 3}
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps(state, indent=2, sort_keys=True))


def write_all(top: Path, runs: int, rows: int) -> None:
    """So many output folders, in ten groups."""
    for seed in range(runs):
        write(top / f"group-{seed % 10}" / f"run-{seed:05}", seed, rows)


def seconds(folder: Path, jobs: int) -> float:
    """The clock's seconds for all of them."""
    return cost(folder, jobs)[0]


def cost(folder: Path, jobs: int, *options: str) -> tuple[float, float]:
    """Seconds, and the peak memory in MiB of the process itself, which collects what its workers find."""
    command = [sys.executable, "-m", "lossdoctor", "analyze", str(folder), "--jobs", str(jobs), "--fail-on", "never", *options]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / PER_MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=RUNS)
    parser.add_argument("rows", nargs="?", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--formats", action="store_true", help="also the size and the cost of each format")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder, "runs")
        write_all(top, given.runs, given.rows)
        times = alternating({jobs: partial(seconds, top, jobs) for jobs in (1, 2)}, given.rounds)
        for jobs, taken in times.items():
            rate = given.runs * given.rows / Spread.of(taken).median
            told = f"{Spread.of(taken).text()} s, {rate:,.0f} rows a second"
            print(f"{given.runs:,} runs × {given.rows:,} rows, {jobs} core(s): {told}")
        print(f"ratio {ratio(times[1], times[2]).text()}")
        if given.formats:
            for name in ("text", "jsonl", "json", "markdown", "html", "junit", "github"):
                report = Path(folder, f"report.{name}")
                taken_by, peak = cost(top, 2, "--output-format", name, "-o", str(report))
                print(f"{name:9} {taken_by:6.2f} s {peak:6.0f} MiB {report.stat().st_size / 2**20:8.2f} MiB written")


if __name__ == "__main__":
    main()
