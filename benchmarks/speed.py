"""What lossdoctor costs: `python benchmarks/speed.py [--quick] [--markdown FILE] [--json FILE]`, one table with medians.

Per record in the engine and how that grows with the log; per log in the callback; a finished log against `json.load` of it;
the start of the command against the imports that any such tool has; many runs on one core and on two; a step of a training
with and without the doctor. What is compared is measured in turn, and a ratio is the median of the ratios of all rounds.
Processes are measured in processor seconds, but for many runs, which are about the clock. Needs a Unix; without transformers
the live rows are left out.
"""

from __future__ import annotations

import argparse
import compileall
import json
import math
import os
import pickle
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from table import PER_MIB, Spread, alternating, machine, markdown, ratio

import lossdoctor
from lossdoctor.engine import Engine
from lossdoctor.model import Fact, Record, Run

LENGTHS = (1_000, 10_000, 100_000, 1_000_000)
FINISHED = (500, 10_000, 100_000, 1_000_000)
KINDS = ("healthy", "noisy", "broken")
#: The last sound row of a broken log.
BREAKS = 250
#: At most so many records have their cost taken together.
BLOCK = 1_000
IMPORTS = "import numpy, click, rich.console, rich.table"
LOAD = "import json, sys; json.load(open(sys.argv[1], encoding='utf-8'))"
WHOLE, CALLS = "lossdoctor analyze ÷ json.load, processes", "analyze() ÷ json.load(), the calls alone"
#: Why a part may be beyond its bar.
REASONS = {
    "observe, all detectors": "where single batches scatter by 15 %, most rows come near to some threshold, and the noise has to "
    "be worked out for them; in a broken log no detector sleeps.",
    CALLS: "rows that no detector has to see are taken together, some thousand at once. Such stretches are short where rows "
    "scatter, and there are none where a run is broken: each of its rows is judged by itself.",
    WHOLE: "the same, and what a process takes to start.",
    "live": "own code is measured by its own clock; of whole steps the machine scatters by more than the effect, as the "
    "quartiles show.",
}
#: The same without what a process costs besides: both in one that has loaded everything.
WITHIN = """
import gc, json, sys, time
import numpy
from lossdoctor import analyze
analyze(sys.argv[2])
gc.disable()
begun = time.process_time()
if sys.argv[1] == "json":
    with open(sys.argv[3], encoding="utf-8") as file:
        json.load(file)
else:
    analyze(sys.argv[3])
print(time.process_time() - begun)
"""


class Row(NamedTuple):
    """A line of the table: what was measured, the value in words, what it is held against, and whether it is beyond that."""

    part: str
    what: str
    value: str
    bar: str = ""
    beyond: bool = False


def values(kind: str, total: int) -> Iterator[dict[str, float]]:
    """The rows of a log: healthy, healthy with single batches that scatter by 15 %, or NaN from row 251 on."""
    noise = random.Random(1)
    scatter = 0.3 if kind == "noisy" else 0.05
    for step in range(1, total + 1):
        dead = kind == "broken" and step > BREAKS
        yield {
            "epoch": 3 * step / total,
            "grad_norm": math.nan if dead else 1.0 + noise.random(),
            "learning_rate": 1e-4 * (1 - step / (total + 1)),
            "loss": 0.0 if dead else round(2.0 + 1.5 * math.exp(-10 * step / total) + noise.gauss(0, scatter), 4),
            "step": step,
        }


def write(path: Path, kind: str, total: int) -> None:
    """A `trainer_state.json` as the Trainer writes it."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{\n  "log_history": [\n')
        for row in values(kind, total):
            lines = ",\n".join(f'      "{name}": {json.dumps(value)}' for name, value in row.items())
            file.write(f"    {{\n{lines}\n    }}{',' * (row['step'] < total)}\n")
        file.write(f'  ],\n  "logging_steps": 1,\n  "max_steps": {total},\n  "num_train_epochs": 3\n}}\n')


def per_record(kind: str, total: int) -> tuple[float, float]:
    """Microseconds of one `observe` with all detectors at the end of a log, and the engine's size pickled in KiB there.

    The cost is the median over blocks of the last tenth of the records, live and without any report.
    """
    facts = {"max_steps": total + 1, "lr_scheduler_type": "linear", "learning_rate": 1e-4, "logging_nan_inf_filter": True}
    engine = Engine(Run(facts={name: Fact(value, "benchmark") for name, value in facts.items()}))
    size = min(BLOCK, total // 50)
    costs: list[float] = []
    block: list[Record] = []
    for row in values(kind, total):
        step, epoch = int(row.pop("step")), row.pop("epoch")
        block.append(Record(step, epoch, "train", row))
        if len(block) < size:
            continue
        begun = time.process_time()
        for record in block:
            engine.observe(record)
        costs.append((time.process_time() - begun) / size * 1e6)
        block.clear()
    return Spread.of(costs[-len(costs) // 10 :]).median, len(pickle.dumps(engine)) / 1024


def cost(command: Sequence[str]) -> tuple[float, float]:
    """Processor seconds and peak memory in MiB of a process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # 1: the log has findings
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / PER_MIB


def seconds(*command: str) -> float:
    return cost(command)[0]


def within(what: str, small: Path, path: Path) -> float:
    command = [sys.executable, "-c", WITHIN, what, str(small), str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "lossdoctor", *words]


def records(lengths: Sequence[int], rounds: int) -> Iterator[Row]:
    """The cost of one record, its growth, and the memory."""
    part = "observe, all detectors"
    for kind in KINDS:
        taken = [{length: per_record(kind, length) for length in lengths} for _ in range(rounds)]
        for length in lengths:
            spread, memory = Spread.of(one[length][0] for one in taken), taken[0][length][1]
            value = f"{spread.text()} µs; state {memory:,.0f} KiB"
            yield Row(part, f"{kind}, record {length:,}", value, "≤ 10 µs", spread.median > 10)
        growth = Spread.of(one[lengths[-1]][0] / one[lengths[0]][0] for one in taken)
        what = f"{kind}, record {lengths[-1]:,} ÷ record {lengths[0]:,}"
        yield Row(part, what, f"{growth.text()} ×", "≤ 1.25 ×", growth.median > 1.25)


def finished(folder: Path, lengths: Sequence[int], rounds: int) -> Iterator[Row]:
    """A finished log against `json.load` of it: whole processes, and the calls alone."""
    small = folder / "small.json"
    write(small, "healthy", 500)
    for kind, length in [*(("healthy", length) for length in lengths), *((kind, lengths[-1]) for kind in KINDS[1:])]:
        path = folder / "trainer_state.json"
        write(path, kind, length)
        peaks: dict[str, float] = {}

        def measured(name: str, *words: str, peaks: dict[str, float] = peaks) -> float:
            taken, peaks[name] = cost(words)
            return taken

        whole = alternating(
            {
                "ours": partial(measured, "ours", *command("analyze", str(path))),
                "json": partial(measured, "json", sys.executable, "-c", LOAD, str(path)),
            },
            rounds,
        )
        calls = alternating({what: partial(within, what, small, path) for what in ("ours", "json")}, rounds)
        ours, theirs = Spread.of(whole["ours"]).median, Spread.of(whole["json"]).median
        log = f"{kind}, {length:,} rows"
        bar, times = "≤ 2 ×" if length > 100_000 else "", ratio(whole["ours"], whole["json"])
        value = f"{ours:.2f} s ÷ {theirs:.2f} s = {times.text()} ×; memory {peaks['ours'] / peaks['json']:.2f} ×"
        yield Row(WHOLE, log, value, bar, bool(bar) and times.median > 2)
        ours, theirs = Spread.of(calls["ours"]).median, Spread.of(calls["json"]).median
        bar, times = "≤ 2 ×" if length >= 100_000 else "", ratio(calls["ours"], calls["json"])
        yield Row(CALLS, log, f"{ours:.3f} s ÷ {theirs:.3f} s = {times.text()} ×", bar, bool(bar) and times.median > 2)


def start(folder: Path, rounds: int) -> Iterator[Row]:
    """The start of the command against the imports."""
    path = folder / "small.json"
    write(path, "healthy", 500)
    compileall.compile_dir(Path(lossdoctor.__file__).parent, quiet=1)  # as pip does when it installs
    verbs = {"`lossdoctor --help`": ("--help",), "`lossdoctor analyze`, 500 rows": ("analyze", str(path))}
    measures: dict[str, Callable[[], float]] = {name: partial(seconds, *command(*words)) for name, words in verbs.items()}
    taken = alternating({**measures, "floor": partial(seconds, sys.executable, "-c", IMPORTS)}, rounds)
    for name in verbs:
        ours, theirs = Spread.of(taken[name]).median, Spread.of(taken["floor"]).median
        times = ratio(taken[name], taken["floor"])
        value = f"{ours * 1e3:.0f} ms ÷ {theirs * 1e3:.0f} ms = {times.text()} ×"
        yield Row(f"start ÷ {IMPORTS}", name, value, "≤ 1.5 ×", times.median > 1.5)


def many(folder: Path, runs: int, length: int, rounds: int) -> Iterator[Row]:
    """Many runs on one core and on two, by the clock."""
    import many_runs

    top = folder / "runs"
    many_runs.write_all(top, runs, length)
    taken = alternating({jobs: partial(many_runs.seconds, top, jobs) for jobs in (1, 2)}, rounds)
    for jobs, found in taken.items():
        spread = Spread.of(found)
        told = f"{spread.text()} s; {runs / spread.median:,.0f} runs, {runs * length / spread.median:,.0f} rows a second"
        yield Row("many runs", f"{runs:,} runs × {length:,} rows, {jobs} core{'s' * (jobs > 1)}", told)
    times = ratio(taken[1], taken[2])
    yield Row("many runs", "one core ÷ two", f"{times.text()} ×", "≥ 1.6 ×", times.median < 1.6)


def training(folder: Path, pairs: int, logs: int) -> Iterator[Row]:
    """What a training pays that goes on."""
    try:
        import live
    except ImportError as error:
        yield Row("live", "left out", f"{error.name} is not installed")
        return
    blocks = live.logs(str(folder), logs)
    told = f"first {blocks[0]:.1f} µs, last {blocks[-1]:.1f} µs, highest {max(blocks):.1f} µs"
    yield Row("live", f"on_log, {logs:,} logs in blocks of {live.BLOCK:,}", told, "≤ 25 µs", max(blocks) > 25)
    spent, share = live.own_time(str(folder))
    yield Row("live", "own code, per step", f"{spent * 1e6:.0f} µs, {share:.2%} of the step")
    step, ratios = live.whole_step(str(folder), pairs)
    what = f"whole step of {step.median * 1e3:.1f} ms, with ÷ without"
    yield Row("live", what, f"{ratios.text('.4f')} × ({pairs} pairs)", "≤ 1.01 ×", ratios.median > 1.01)


def beyond(rows: Sequence[Row]) -> str:
    """What does not keep its bar, and why, as Markdown."""
    missed = [row for row in rows if row.beyond]
    lines = [f"- {row.part}: {row.what}: {row.value.split(';')[0]}, bar {row.bar}." for row in missed]
    reasons = [f"{part}: {why}" for part, why in REASONS.items() if any(row.part == part for row in missed)]
    return "\n".join(["## Beyond the bar", "", *(lines or ["Nothing."]), "", *reasons, ""])


def measured(quick: bool) -> Iterator[Row]:
    """All lines, as they are measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lengths, logs = (LENGTHS[:3], FINISHED[:3]) if quick else (LENGTHS, FINISHED)
        rounds = 1 if quick else 3
        yield from records(lengths, rounds)
        yield from finished(folder, logs, 3 if quick else 5)
        yield from start(folder, 5 if quick else 15)
        yield from many(folder, *((100, 500) if quick else (2_000, 1_000)), rounds)
        yield from training(folder, *((4, 20_000) if quick else (30, 100_000)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter logs and fewer rounds: a few minutes")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to this file as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="and what it says as JSON")
    options = parser.parse_args()
    where = machine("numpy", "torch", "transformers")
    print(where, flush=True)
    rows = []
    for row in measured(options.quick):
        rows.append(row)
        print(f"{row.part}: {row.what}: {row.value}" + (f" (bar: {row.bar})" if row.bar else ""), flush=True)
    table = markdown(("part", "what", "median (quartiles)", "bar"), (row[:4] for row in rows))
    print(f"\n{table}\n{beyond(rows)}")
    if options.markdown:
        again = "python benchmarks/speed.py" + " --quick" * options.quick
        told = f"Measured with `{again}` on {where}. Medians, with quartiles where there are several rounds.\n"
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(f"# Speed\n\n{told}\n{table}\n{beyond(rows)}", encoding="utf-8")
    if options.json:
        found: dict[str, Any] = {"machine": where, "quick": options.quick, "rows": [row._asdict() for row in rows]}
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
