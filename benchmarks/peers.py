"""lossdoctor beside its peers on the same runs: what is found, named, falsely accused, how late, and at what cost.

python benchmarks/peers.py                                  # simulated runs, real trainings, costs: about twenty minutes
python benchmarks/peers.py FOLDER --seen OTHER              # and the labelled or unlabelled logs of folders
python benchmarks/peers.py --quick --tools trainproof       # a few minutes

Each tool is used as its README says, at its defaults, in an environment of its own below .venv-peers, which is made when it is
missing; the adapters in benchmarks/peer say how. Every tool gets the same trainer_state.json and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from peer import costs, environments, page, scoring
from peer.environments import ask
from peer.protocol import Tool
from peer.runs import FRESH, Case, Group, labelled, simulated, written
from peer.scoring import OURS, Line
from table import machine

NAMES = (OURS, "trainproof", "finetune_doctor", "trainpulse", "training_doctor", "adwin", "lightning", "olmo")
WORKERS = 2
SEEN = "these runs were before the eyes of those who set lossdoctor's thresholds"
UNSEEN = "no threshold of lossdoctor was set on these runs"


def available(names: Sequence[str], install: bool) -> tuple[dict[str, Tool], dict[str, str]]:
    """The tools, and of those that cannot be had why."""
    tools, missing = {}, {}
    for name in names:
        tool: Tool = importlib.import_module(f"peer.{name}").Adapter()
        if not environments.ready(name, tool) and install:
            say(f"installing {tool.title}")
        why = environments.make(name, tool) if install else "" if environments.ready(name, tool) else "not installed"
        if why:
            missing[tool.title] = why
        else:
            tools[name] = tool
    return tools, missing


def say(words: str) -> None:
    """Progress, beside the tables."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def together(names: Sequence[str], of: Callable[[str], Any]) -> dict[str, Any]:
    """One answer per tool, a few at a time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return dict(zip(names, pool.map(of, names), strict=True))


def by_id(answers: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {str(answer["id"]): answer for answer in answers}


# --- Real trainings ---------------------------------------------------------------------------------------------------


def trainings(tools: Mapping[str, Tool], quick: bool, folder: Path) -> tuple[Group, Group, dict[str, Any], list[str]]:
    """Fine-tunes with each tool in them: as logs, as trainings, what was said live, and where the runs were not the same."""
    requests, told = [], {}
    for seed in (1,) if quick else (1, 2):
        known = ask(OURS, "kinds", [{"seed": seed}])[0]
        for kind, (wanted, onset, remark) in list(known["kinds"].items())[:: 2 if quick else 1]:
            requests.append({"id": f"{kind}-{seed}", "kind": kind, "seed": seed})
            told[f"{kind}-{seed}"] = (
                kind,
                tuple(wanted),
                onset,
                "remark" if remark else "fault" if wanted else "healthy",
                known["every"],
            )
    inside = [name for name, tool in tools.items() if tool.in_trainer]
    answers = together(inside, lambda name: by_id(ask(name, "train", requests)))
    finished, running = [], []
    for id_, (kind, wanted, onset, sort, every) in told.items():
        history = answers[OURS][id_]["history"]
        state = {"global_step": history[-1]["step"], "max_steps": history[-1]["step"], "logging_steps": every}
        path = written(folder, id_, {**state, "log_history": history})
        finished.append(Case(id_, kind, sort, path, wanted, (onset - 1) // every if wanted else None))
        running.append(Case(id_, kind, sort, path, wanted, onset if wanted else None))
    other = [f"{tools[name].title}, {id_}" for name in inside for id_ in told if not same(answers, name, id_)]
    note = f"{len(finished)} fine-tunes of a tiny GPT-2, made by this command; {UNSEEN}"
    return Group("trained", note, tuple(finished)), Group("live", note, tuple(running)), answers, other


def same(answers: Mapping[str, Any], name: str, id_: str) -> bool:
    """Whether a tool's training was the same as lossdoctor's, to the last digit: neither may change what it watches."""

    def numbers(tool: str) -> str:
        rows = answers[tool][id_].get("history", [])
        return json.dumps([[row.get("loss"), row.get("grad_norm"), row.get("eval_loss")] for row in rows])

    return numbers(name) == numbers(OURS)


# --- All of it --------------------------------------------------------------------------------------------------------


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Everything that is shown."""
    names = [OURS, *(name for name in (given.tools or NAMES) if name != OURS)]
    tools, missing = available(names, not given.no_install)
    if OURS not in tools:
        raise SystemExit(f"lossdoctor has no environment: {missing}")
    sizes, seeds = ((100,), 1) if given.quick else ((30, 100, 300), 5)
    rows: list[Line] = []
    kinds: dict[str, list[Line]] = {}
    notes: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        groups = [
            Group("simulated, known seeds", SEEN, tuple(simulated(folder / "seen", sizes, seeds, 0))),
            Group(
                "simulated, fresh seeds", f"{UNSEEN}, but on other seeds", tuple(simulated(folder / "fresh", sizes, seeds, FRESH))
            ),
        ]
        say("training")
        finished, running, heard, other = trainings(tools, given.quick, folder / "trained")
        groups.append(finished)
        groups += [Group(path.name, UNSEEN_FOLDER, tuple(labelled(path))) for path in given.folders]
        groups += [Group(path.name, SEEN, tuple(labelled(path))) for path in given.seen]
        for group in groups:
            say(f"judging {len(group.cases)} runs, {group.name}")
            requests = [case.request() for case in group.cases]
            answers = together(list(tools), lambda name, asked=requests: by_id(ask(name, "judge", asked)))
            rows += scoring.lines(group, tools, answers)
            notes[group.name] = group.note
            if group is groups[0] or group is groups[1] or group is finished:
                kinds[group.name] = scoring.by_kind(group, tools, answers)
            if group.of("unknown"):
                notes[group.name] += f". Agreement with lossdoctor on what to flag: {scoring.agreement(group, tools, answers)}"
            if given.answers:
                keep(given.answers, group, answers)
        rows += scoring.live(running, tools, heard)
        notes[running.name] = (
            f"each tool's callback in the same trainings: {differing(other)}. The loss of a row is the mean of three steps, "
            "and what a tool sees besides is its own affair"
        )
        if given.answers:
            keep(given.answers, running, heard)
        say("costs")
        measure = (
            {"rounds": 2, "logs": (200, 1000), "pairs": 2} if given.quick else {"rounds": 7, "logs": (1000, 20000), "pairs": 10}
        )
        rows += costs.measured(tools, folder, **measure)  # type: ignore[arg-type]
    notes[costs.SECTION] = (
        f"processor time of one core, medians; what differs by less than {scoring.NOISE:.0%} counts as the same"
    )
    return {"tools": tools, "missing": missing, "rows": rows, "kinds": kinds, "notes": notes}


UNSEEN_FOLDER = "given by the user"


def differing(other: Sequence[str]) -> str:
    return "the same to the last digit in every environment" if not other else f"not the same run for {', '.join(other)}"


def keep(folder: Path, group: Group, answers: Mapping[str, Any]) -> None:
    """What every tool said, for a look at single runs."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = {case.id: [case.kind, case.sort, case.wanted, case.onset] for case in group.cases}
    said = {tool: {i: {k: v for k, v in a.items() if k != "history"} for i, a in of.items()} for tool, of in answers.items()}
    (folder / f"{group.name}.json").write_text(json.dumps({"cases": cases, "answers": said}), encoding="utf-8")


def document(found: Mapping[str, Any], command: str) -> str:
    """The page."""
    tools: Mapping[str, Tool] = found["tools"]
    rows: Sequence[Line] = found["rows"]
    sections = list(dict.fromkeys(line.section for line in rows))
    parts = [
        "# lossdoctor beside its peers\n",
        f"Written by `{command}` on {datetime.date.today().isoformat()}; nothing here is edited by hand.\n",
        f"Machine: {machine()}. "
        + "; ".join(f"{t.title}: {t.package} {environments.version(n, t.package)}" for n, t in tools.items())
        + ".\n",
        *(f"{title} is left out: {why}.\n" for title, why in found["missing"].items()),
        COUNTING,
    ]
    for section in sections:
        parts.append(f"## {section[0].upper()}{section[1:]}\n")
        parts.append(f"{notes_sentence(found['notes'][section])}\n")
        parts.append(page.table([line for line in rows if line.section == section], tools))
    for section, lines in found["kinds"].items():
        parts.append(f"## By kind: {section}\n")
        parts.append(
            "Faults that are rightly named, as a warning or worse; what deserves a remark, at all; healthy runs accused.\n"
        )
        parts.append(page.table(lines, tools, "kind"))
    parts.append("## Where a peer is ahead\n")
    parts.append(page.listed(page.ahead([*rows, *(line for lines in found["kinds"].values() for line in lines)], tools)))
    parts.append("## How each tool is used\n")
    parts += [f"- {t.title}: {t.documentation or 'this checkout'}. {t.note}\n".replace("\n", "") for t in tools.values()]
    return "\n".join(parts) + "\n"


COUNTING = """\
- Found: any finding of warning or worse on a faulty run counts, whatever it says; one on a healthy run is an accusation.
- Rightly named: one of them has a name that can mean the fault. What each name can mean, generously, is in `families` of the
  adapters in `benchmarks/peer`.
- Rows from the onset: to the first such alarm, with the log given row by row. A fault without one counts as endlessly late, so
  that a tool which finds few is not called fast.
- Found less accused: the share of the faults found less that of the healthy runs accused; 0 for a tool that flags at random.
"""


def notes_sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}."


def a_folder(name: str) -> Path:
    """A folder of logs by its whole name, since the tools work elsewhere."""
    if not (path := Path(name).resolve()).is_dir():
        raise argparse.ArgumentTypeError(f"{name} is no folder; expected one with logs of a Trainer")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=a_folder, help="logs of a Trainer, with labels in truth.jsonl or without")
    parser.add_argument(
        "--seen", action="append", default=[], type=a_folder, metavar="FOLDER", help="the same, on which thresholds were set"
    )
    parser.add_argument("--tools", type=lambda text: text.split(","), help=f"by comma, of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="few runs and rounds: to see that it works")
    parser.add_argument("--no-install", action="store_true", help="leave out tools whose environment is not there")
    parser.add_argument("--markdown", type=Path, help="write the page here too")
    parser.add_argument("--json", type=Path, help="and all figures here")
    parser.add_argument("--answers", type=Path, help="and what every tool said of every run, into this folder")
    given = parser.parse_args()
    if unknown := sorted({*(given.tools or ())} - {*NAMES}):
        parser.error(f"no such tool: {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    found = run(given)
    words = [
        *(f"--{n}" for n in ("quick",) if getattr(given, n)),
        *(p.name for p in given.folders),
        *(f"--seen {p.name}" for p in given.seen),
    ]
    text = document(found, " ".join(["python benchmarks/peers.py", *words]))
    print(text)
    if given.markdown:
        given.markdown.parent.mkdir(parents=True, exist_ok=True)
        given.markdown.write_text(text, encoding="utf-8")
    if given.json:
        lines = [*found["rows"], *(line for lines in found["kinds"].values() for line in lines)]
        cells = [
            [x.section, x.name, x.better, {n: [c.value if c.value != float("inf") else None, c.text] for n, c in x.cells.items()}]
            for x in lines
        ]
        given.json.write_text(json.dumps({"machine": machine(), "lines": cells}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
