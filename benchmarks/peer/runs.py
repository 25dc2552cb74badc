"""The runs that every tool is given: simulated, trained, and those of a folder; each a trainer_state.json and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from accuracy import jobs
from simulator import FAULTS, HEALTHY, REMARKS, Curve, simulate

from peer.kinds import SIMULATED
from peer.lossdoctor import Adapter
from peer.protocol import is_training, read

Sort = Literal["fault", "remark", "healthy", "either", "unknown"]
#: The seeds that benchmarks/accuracy.py shows while thresholds are set begin with 0; no one has looked at these.
FRESH = 7_000_000


@dataclass(frozen=True)
class Case:
    """One run: `wanted` are the families of a right name, `onset` the training row of the fault, where it is known."""

    id: str
    kind: str
    sort: Sort
    path: Path
    wanted: tuple[str, ...] = ()
    onset: int | None = None

    def request(self) -> dict[str, Any]:
        dated = self.onset if self.sort == "fault" else None
        healthy = self.sort == "healthy"
        return {"id": self.id, "path": str(self.path), "wanted": self.wanted, "onset": dated, "healthy": healthy}


@dataclass(frozen=True)
class Group:
    """Runs that are counted together, and how far lossdoctor's thresholds had to do with them."""

    name: str
    note: str
    cases: tuple[Case, ...]

    def of(self, *sorts: Sort) -> list[Case]:
        return [case for case in self.cases if case.sort in sorts]


def written(folder: Path, name: str, state: Mapping[str, Any]) -> Path:
    """A log in a folder of its own, as a Trainer leaves it."""
    path = folder / re.sub(r"\W+", "-", name) / "trainer_state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(state), encoding="utf-8")
    return path


def simulated(folder: Path, sizes: Sequence[int], seeds: int, first: int) -> Iterable[Case]:
    """Curves of benchmarks/simulator.py, with every kind and size; `first` is the first seed."""
    for kind, rows, seed in jobs([*HEALTHY, *FAULTS], sizes, seeds):
        curve = simulate(kind, rows, first + seed)
        name = f"{kind}-{rows}-{first + seed}"
        sort: Sort = "healthy" if kind in HEALTHY else "remark" if kind in REMARKS else "fault"
        onset = None if curve.onset is None else curve.row_of(curve.onset)
        yield Case(name, kind, sort, written(folder, name, state_of(curve)), SIMULATED.get(kind, ()), onset)


def state_of(curve: Curve) -> dict[str, Any]:
    """What the Trainer would have written of a simulated run; what it knows besides is in no log, and is left out."""
    history = [{"epoch": r.epoch, **r.values, "step": r.step} for r in curve.records]
    names = ("max_steps", "num_train_epochs", "logging_steps")
    facts = {name: curve.run.facts[name].value for name in names if name in curve.run.facts}
    if "per_device_train_batch_size" in curve.run.facts:
        facts["train_batch_size"] = curve.run.facts["per_device_train_batch_size"].value
    last = curve.records[-1]
    return {"epoch": last.epoch, "global_step": last.step, **facts, "log_history": history}


def labelled(folder: Path) -> Iterable[Case]:
    """The runs of a folder: with a truth.jsonl the ones that it names, and else every log of a Trainer below it."""
    truth = folder / "truth.jsonl"
    if not truth.exists():
        for path in sorted(folder.rglob("*.json")):
            if '"log_history"' in path.read_text(encoding="utf-8", errors="ignore"):
                yield Case(str(path.relative_to(folder)), "unknown", "unknown", path)
        return
    for line in truth.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        path = place(folder, told.get("id") or told["name"])
        if path is not None:
            yield of_truth(told, path)


def place(folder: Path, name: str) -> Path | None:
    """Where a run of that name lies."""
    places = (folder / "runs" / f"{name}.json", folder / f"{name}.json", folder / name / "trainer_state.json")
    return next((path for path in places if path.exists()), None)


def of_truth(told: Mapping[str, Any], path: Path) -> Case:
    """A line of truth.jsonl: `verdict` lists what would be right, `any_of` the symptoms of which one must be seen."""
    calm, sick = {"healthy", "insufficient"}, {"warning", "critical"}
    right = set(told["verdict"])
    sort: Sort = "fault" if not right & calm else "healthy" if not right & sick else "either"
    wanted = {family for slug in told["any_of"] for family in Adapter.families.get(slug, ())}
    step = told.get("onset", told.get("first_bad_step"))
    onset = None
    if sort == "fault" and step is not None:
        steps = [row.get("step", 0) for row in read(path)["log_history"] if is_training(row)]
        onset = next((row for row, seen in enumerate(steps) if seen >= step), None)
    kind = told.get("class") or ("/".join(told["any_of"][:2]) if sort == "fault" else sort)
    return Case(told.get("id") or told["name"], kind, sort, path, tuple(sorted(wanted)), onset)
