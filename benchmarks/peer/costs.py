"""What the tools cost: a log, a step of a real training, a file. Processor time, so that a busy machine distorts less."""

from __future__ import annotations

import csv
import json
import resource
import statistics
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from table import Spread, alternating

from peer.environments import ask, own_command, surroundings
from peer.protocol import Tool, sample_rows
from peer.scoring import Cell, Line

SECTION = "cost"
#: Rows of the file, and how many steps apart.
FILE_ROWS, EVERY = 500, 10


def files(folder: Path) -> dict[str, str]:
    """One log of a run that goes well, as each command line takes it."""
    rows = [{**row, "step": EVERY * place} for place, row in enumerate(sample_rows(FILE_ROWS), start=1)]
    state = {"global_step": EVERY * FILE_ROWS, "max_steps": EVERY * FILE_ROWS, "logging_steps": EVERY, "log_history": rows}
    paths = {name: folder / file for name, file in (("state", "trainer_state.json"), ("jsonl", "log.jsonl"), ("csv", "log.csv"))}
    paths["state"].write_text(json.dumps(state), encoding="utf-8")
    paths["jsonl"].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with paths["csv"].open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, ["step", *[name for name in rows[0] if name != "step"]])
        table.writeheader()
        table.writerows(rows)
    return {name: str(path) for name, path in paths.items()}


def children() -> float:
    """Processor seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def whole_process(command: list[str]) -> Callable[[], float]:
    """Its processor seconds, when it is called."""

    def measure() -> float:
        before = children()
        done = subprocess.run(command, capture_output=True, text=True, env={**surroundings(), "PYTHONPATH": ""})
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-300:]}")
        return children() - before

    return measure


def spread(values: list[float] | None, form: str, unit: str) -> Cell:
    if not values:
        return Cell.none()
    found = Spread.of(values)
    return Cell(found.median, f"{found.median:{form}}{unit}")


def measured(tools: Mapping[str, Tool], folder: Path, *, rounds: int, logs: tuple[int, int], pairs: int) -> list[Line]:
    """The rows of the table of costs."""

    def per_log(count: int) -> Line:
        cells = {}
        for name in tools:
            request = {"logs": count, "rounds": max(1, rounds // 2) if count > logs[0] else rounds}
            answer = ask(name, "log", [request])[0]
            cells[name] = spread(answer.get("microseconds"), ".3g", " µs")
        return Line(SECTION, f"one log, after {count:,} others", "less", cells, noisy=True)

    given = files(folder)
    commands = {name: own_command(name, tool.command, given) for name, tool in tools.items() if tool.command}
    for command in commands.values():
        whole_process(command)()  # compiles what is imported
    taken = alternating({name: whole_process(command) for name, command in commands.items()}, rounds)
    inside = {
        name: ask(name, "time", [{"path": given["state"], "rounds": 4 * rounds}])[0].get("milliseconds")
        for name, tool in tools.items()
        if tool.command
    }
    process = {name: spread([1e3 * s for s in taken.get(name, ())], ".0f", " ms") for name in tools}
    return [
        per_log(logs[0]),
        per_log(logs[1]),
        overhead(tools, pairs),
        Line(SECTION, f"a file of {FILE_ROWS} rows, whole process of its command", "less", process, noisy=True),
        Line(
            SECTION,
            "the same file, in a process that runs",
            "less",
            {n: spread(inside.get(n), ".2g", " ms") for n in tools},
            noisy=True,
        ),
    ]


def overhead(tools: Mapping[str, Tool], pairs: int) -> Line:
    """Whole steps of a real training, with over without, in as many pairs; the tools take turns at the quiet hours."""
    ratios: dict[str, list[float]] = {name: [] for name, tool in tools.items() if tool.in_trainer}
    for turn in range(0, pairs, 5):
        for name in ratios:
            answer: dict[str, Any] = ask(name, "overhead", [{"pairs": min(5, pairs - turn)}])[0]
            if "error" in answer:
                raise RuntimeError(f"{name}: {answer['error']}")
            ratios[name] += answer["ratios"]
    cells = {}
    for name in tools:
        found = Spread.of(ratios[name]) if name in ratios else None
        cells[name] = Cell(round(found.median, 2), f"× {found.text('.3f')}") if found else Cell.none()
    return Line(SECTION, f"a whole step of a real training, median of {pairs} pairs (quartiles)", "less", cells, noisy=True)


def seconds(answers: Mapping[str, Mapping[str, Any]]) -> float:
    """The median of what judging one run took."""
    return statistics.median([answer["seconds"] for answer in answers.values() if "seconds" in answer] or [0.0])
