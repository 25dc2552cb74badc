"""What the harness and an adapter say to each other; runs in the peer's own environment, on the standard library alone.

An adapter is a module of this package with a class `Adapter`. `python -m peer.protocol NAME TASK IN OUT` does one task: the
lines of IN are JSON, one per run, and so are those of OUT.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Row = Mapping[str, Any]
LOUD = ("warning", "critical")
#: A log that grows is looked at after every row by a tool that reads it whole; a longer one than this, so many times.
LOOKS = 150
#: Logs over which the cost of one is taken: four of the checks that a peer makes every 25 steps.
BLOCK = 100


class Finding(NamedTuple):
    """What a tool says of a run: `severity` is "info", "warning" or "critical", `step` that of the fault, if it says one."""

    name: str
    severity: str
    step: int | None = None

    @property
    def loud(self) -> bool:
        return self.severity in LOUD


class Judgement(NamedTuple):
    """All that it says of a finished log, and whether it calls the run sick in the end, in its own word."""

    findings: tuple[Finding, ...]
    sick: bool

    @classmethod
    def of(cls, findings: Collection[Finding]) -> Judgement:
        """Of a tool that has no word for the whole: sick if anything is loud."""
        return cls(tuple(findings), any(f.loud for f in findings))


class Tool:
    """One tool, at its defaults. A tool that reads a growing log has `standing`, one that is fed row by row `follow`."""

    title = ""
    #: For pip, with the versions.
    requires: tuple[str, ...] = ()
    #: The package whose version is shown.
    package = ""
    #: Where its way of use is described.
    documentation = ""
    #: Its callback is put into real trainings, for which torch, transformers and accelerate go into its environment.
    in_trainer = False
    #: Its own command line on one log, of which `{state}`, `{jsonl}` and `{csv}` are the file; empty if it has none.
    command: tuple[str, ...] = ()
    #: The families of faults that each of its names speaks of (see `kinds.py`), generously.
    families: Mapping[str, tuple[str, ...]] = {}
    #: Training rows before it says anything of a log that grows.
    least = 1
    #: How it was used, where that needs saying.
    note = ""

    def speaks_of(self, finding: Finding, wanted: Collection[str]) -> bool:
        """Whether a name that it gave fits one of the families that are wanted."""
        return not set(wanted).isdisjoint(self.families.get(finding.name, ()))

    def standing(self, state: Mapping[str, Any]) -> list[Finding]:
        """What it says of a trainer_state.json that ends here."""
        raise NotImplementedError

    def follow(self) -> Callable[[Row], list[Finding]]:
        """A watcher that takes one row after the other and gives what is new."""
        raise NotImplementedError

    def judge(self, path: Path) -> Judgement:
        """Of a finished log."""
        state = read(path)
        if type(self).standing is not Tool.standing:
            return Judgement.of(self.standing(state))
        watcher = self.follow()
        return Judgement.of([finding for row in state["log_history"] for finding in watcher(row)])

    def alarms(self, state: Mapping[str, Any], start: int) -> Iterator[tuple[int, Finding]]:
        """Places in the history, from `start` on, with what was raised there and had not stood before."""
        history = state["log_history"]
        if type(self).standing is Tool.standing:
            watcher = self.follow()
            for place, row in enumerate(history):
                raised = watcher(row)
                if place >= start:
                    yield from ((place, finding) for finding in raised)
            return
        rows, before = 0, set()
        looks = {*range(start - 1, len(history), 1 + len(history) // LOOKS), len(history) - 1}
        for place, row in enumerate(history):
            rows += is_training(row)
            if place not in looks or rows < self.least:
                continue
            found = self.standing({**state, "log_history": history[: place + 1], "global_step": row.get("step", 0)})
            if place >= start:
                yield from ((place, finding) for finding in found if finding[:2] not in before)
            before = {finding[:2] for finding in found}

    def callback(self) -> Any:
        """What is given to a Trainer."""
        raise NotImplementedError

    def heard(self, callback: Any) -> list[Finding]:
        """What that said, with the step at which it was said."""
        raise NotImplementedError

    def logger(self) -> Callable[[int, Row], None] | None:
        """What one log costs: called with every step and row, as a training would; None if it cannot be fed."""
        if self.in_trainer:
            return through_trainer(self.callback())
        if type(self).follow is Tool.follow:
            return None
        watch = self.follow()

        def log(step: int, row: Row) -> None:
            watch(row)

        return log

    def filled(self, rows: Sequence[Row]) -> Callable[[int, Row], None] | None:
        """The same, after a training that has logged all these rows."""
        log = self.logger()
        if log is not None:
            for step, row in enumerate(rows, start=1):
                log(step, row)
        return log


def read(path: Path) -> dict[str, Any]:
    """A trainer_state.json."""
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def is_training(row: Row) -> bool:
    """A row of training, and neither an evaluation nor the summary at the end."""
    return "loss" in row and "train_runtime" not in row


def through_trainer(callback: Any) -> Callable[[int, Row], None]:
    """Calls a callback the way that a Trainer does when it logs."""
    from transformers import TrainerControl, TrainerState, TrainingArguments

    arguments = TrainingArguments(output_dir="nowhere", report_to=[], use_cpu=True)
    state, control = TrainerState(max_steps=10**9), TrainerControl()
    callback.on_train_begin(arguments, state, control)

    def log(step: int, row: Row) -> None:
        state.global_step = step
        state.log_history.append({**row, "step": step})
        callback.on_log(arguments, state, control, logs=dict(row))

    return log


# --- Tasks ------------------------------------------------------------------------------------------------------------


def judged(tool: Tool, request: Mapping[str, Any]) -> dict[str, Any]:
    """One run: what is said of it in the end, and while its log grows when first, in training rows from the onset."""
    path = Path(request["path"])
    began = time.process_time()
    verdict = tool.judge(path)
    answer: dict[str, Any] = {"id": request["id"], "seconds": time.process_time() - began, "sick": verdict.sick}
    answer["findings"] = [list(finding) for finding in verdict.findings]
    if request.get("onset") is not None:
        answer["delay"] = delay(tool, read(path), request["onset"], request["wanted"])
    if request["healthy"]:
        answer["alarmed"] = any(finding.loud for _, finding in tool.alarms(read(path), 0))
    return answer


def delay(tool: Tool, state: Mapping[str, Any], onset: int, wanted: Collection[str]) -> int | None:
    """Training rows from the one of the onset to the first loud alarm of the right name; None if there is none."""
    history = state["log_history"]
    places = [place for place, row in enumerate(history) if is_training(row)]
    for place, finding in tool.alarms(state, places[min(onset, len(places) - 1)]):
        if finding.loud and tool.speaks_of(finding, wanted):
            return sum(p <= place for p in places) - 1 - onset
    return None


def timed(tool: Tool, request: Mapping[str, Any]) -> dict[str, Any]:
    """One file in a process that runs already: processor milliseconds of each round, the first one not counted."""
    taken = []
    for _ in range(request["rounds"] + 1):
        began = time.process_time()
        tool.judge(Path(request["path"]))
        taken.append((time.process_time() - began) * 1e3)
    return {"milliseconds": taken[1:]}


def logged(tool: Tool, request: Mapping[str, Any]) -> dict[str, Any]:
    """One log, after so many: processor microseconds, the mean of a block, of each round."""
    count, taken = request["logs"], []
    rows = sample_rows(count + BLOCK)
    for _ in range(request["rounds"]):
        log = tool.filled(rows[:count])
        if log is None:
            return {"microseconds": None}
        began = time.process_time()
        for step, row in enumerate(rows[count:], start=count + 1):
            log(step, row)
        taken.append((time.process_time() - began) / BLOCK * 1e6)
    return {"microseconds": taken}


def sample_rows(count: int) -> list[dict[str, float]]:
    """Rows of a run that goes well."""
    noise = random.Random(1)
    return [
        {
            "loss": 2 + 100 / (50 + step) + noise.gauss(0, 0.05),
            "grad_norm": 1 + abs(noise.gauss(0, 0.3)),
            "learning_rate": 1e-4 * (1 - step / (count + 1)),
            "epoch": step / count,
        }
        for step in range(1, count + 1)
    ]


def trained(tool: Tool, request: Mapping[str, Any]) -> dict[str, Any]:
    """A real training with the tool in it: what it said, at which step."""
    from peer.trainings import train

    callback = tool.callback()
    log = train(request["kind"], request["seed"], [callback])
    return {"id": request["id"], "findings": [list(f) for f in tool.heard(callback)], "history": log}


def kinds(tool: Tool, request: Mapping[str, Any]) -> dict[str, Any]:
    """The real trainings that there are, with the names that fit and the step of the onset; the healthy ones without a name."""
    from peer.trainings import EVERY, faults

    found = faults(request["seed"])
    return {"every": EVERY, "kinds": {kind: [list(f.wanted), f.at(request["seed"]), f.remark] for kind, f in found.items()}}


def overhead(tool: Tool, request: Mapping[str, Any]) -> dict[str, Any]:
    """The whole step with the tool over that without: one ratio of medians per pair of trainings."""
    from peer.trainings import ratios

    found, plain = ratios(tool.callback, request["pairs"])
    return {"ratios": found, "milliseconds": statistics.median(plain) * 1e3}


TASKS = {"judge": judged, "time": timed, "log": logged, "kinds": kinds, "train": trained, "overhead": overhead}


def main() -> None:
    name, task, given, out = sys.argv[1:]
    tool: Tool = importlib.import_module(f"peer.{name}").Adapter()
    with Path(given).open(encoding="utf-8") as lines, Path(out).open("w", encoding="utf-8") as answers:
        for line in lines:
            request = json.loads(line)
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    answer = TASKS[task](tool, request)
            except Exception as error:  # a tool that cannot read a run has said nothing of it; the table counts these
                answer = {"id": request.get("id"), "error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
