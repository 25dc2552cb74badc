"""From what the tools said to figures: a row of a table is one question, with the answer of every tool."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from peer.protocol import Finding, Tool
from peer.runs import Case, Group

OURS = "lossdoctor"
#: Costs that differ by less than this share are the same.
NOISE = 0.03
Answers = Mapping[str, Mapping[str, Any]]  # of one tool, by the run's id


@dataclass(frozen=True)
class Cell:
    """A figure and how it is shown; None where the tool has none."""

    value: float | None
    text: str

    @classmethod
    def share(cls, of: Sequence[bool]) -> Cell:
        return cls(sum(of) / len(of), f"{sum(of)}/{len(of)}") if of else cls(None, "–")

    @classmethod
    def none(cls) -> Cell:
        return cls(None, "–")


@dataclass(frozen=True)
class Line:
    """One row: whether more or less is better, and a cell per tool."""

    section: str
    name: str
    better: Literal["more", "less"]
    cells: Mapping[str, Cell]
    noisy: bool = False

    def ahead(self) -> list[str]:
        """The tools that do better than lossdoctor."""
        ours = self.cells[OURS].value
        if ours is None:
            return []
        sign, margin = 1 if self.better == "more" else -1, NOISE * ours if self.noisy else 1e-9
        return [name for name, cell in self.cells.items() if cell.value is not None and sign * (cell.value - ours) > margin]


def findings(answer: Mapping[str, Any]) -> list[Finding]:
    return [Finding(*finding) for finding in answer.get("findings", ())]


def loud(answer: Mapping[str, Any]) -> bool:
    """Anything that is a warning or worse counts as having found the fault."""
    return any(finding.loud for finding in findings(answer))


def named(tool: Tool, case: Case, answer: Mapping[str, Any], aloud: bool = True) -> bool:
    """Whether it gives a name that fits, loudly where it is a fault."""
    return any((finding.loud or not aloud) and tool.speaks_of(finding, case.wanted) for finding in findings(answer))


def alarmed(answer: Mapping[str, Any]) -> bool:
    """At some time, if not in the end."""
    return bool(answer.get("alarmed", False)) or loud(answer)


def critical(answer: Mapping[str, Any]) -> bool:
    return any(finding.severity == "critical" for finding in findings(answer))


def late(cases: Sequence[Case], answers: Answers) -> Cell:
    """The median of the rows to the alarm over all faults of known onset; one without an alarm counts as endlessly late."""
    dated = [answers[case.id].get("delay") for case in cases if case.onset is not None and case.id in answers]
    if not dated:
        return Cell.none()
    middle = statistics.median_low([math.inf if rows is None else rows for rows in dated])
    return Cell(middle, "never" if middle == math.inf else f"{middle:g}")


def lines(group: Group, tools: Mapping[str, Tool], answers: Mapping[str, Answers]) -> list[Line]:
    """The questions on one group of runs."""

    def asked(name: str, better: Literal["more", "less"], of: Callable[[str], Cell]) -> Line:
        return Line(group.name, name, better, {tool: of(tool) for tool in tools})

    def share(cases: Iterable[Case], of: Callable[[Tool, Case, Mapping[str, Any]], bool]) -> Callable[[str], Cell]:
        kept = list(cases)
        return lambda name: Cell.share([of(tools[name], case, answers[name].get(case.id, {})) for case in kept])

    faults, remarks, healthy = group.of("fault"), group.of("remark"), group.of("healthy")
    unknown, dated = group.of("unknown"), [case for case in faults if case.onset is not None]
    found = [
        asked("faults found", "more", share(faults, lambda tool, case, answer: loud(answer))),
        asked("faults rightly named", "more", share(faults, named)),
        asked("rows from onset to the right name, median", "less", lambda name: late(faults, answers[name])),
        asked("named while the log grows", "more", share(dated, lambda tool, case, answer: answer.get("delay") is not None)),
        asked("healthy runs accused", "less", share(healthy, lambda tool, case, answer: loud(answer))),
        asked("healthy runs accused while the log grows", "less", share(healthy, lambda tool, case, answer: alarmed(answer))),
        asked("healthy runs called critical", "less", share(healthy, lambda tool, case, answer: critical(answer))),
        asked("healthy runs sick in its last word", "less", share(healthy, lambda tool, case, answer: answer.get("sick", False))),
        asked("found less accused, in points", "more", lambda name: advantage(faults, healthy, answers[name])),
        asked(
            "what deserves a remark, named",
            "more",
            share(remarks, lambda tool, case, answer: named(tool, case, answer, aloud=False)),
        ),
        asked("what deserves a remark, made loud", "less", share(remarks, lambda tool, case, answer: loud(answer))),
        asked("runs that it could not read", "less", share(group.cases, lambda tool, case, answer: "error" in answer)),
        asked("runs flagged (no labels: neither good nor bad)", "less", share(unknown, lambda tool, case, answer: loud(answer))),
    ]
    return [line for line in found if any(cell.text != "–" for cell in line.cells.values())]


def advantage(faults: Sequence[Case], healthy: Sequence[Case], answers: Answers) -> Cell:
    """The share of faults found less the share of healthy runs accused: 0 for a tool that flags at random, 100 at best."""
    if not faults or not healthy:
        return Cell.none()
    right = Cell.share([loud(answers.get(case.id, {})) for case in faults]).value or 0.0
    wrong = Cell.share([loud(answers.get(case.id, {})) for case in healthy]).value or 0.0
    return Cell(right - wrong, f"{100 * (right - wrong):.0f}")


def by_kind(group: Group, tools: Mapping[str, Tool], answers: Mapping[str, Answers]) -> list[Line]:
    """Per kind: of faults how many are rightly named, loudly; of remarks, at all; of healthy runs how many are accused."""
    kinds: dict[tuple[str, str], list[Case]] = {}
    for case in group.of("fault", "remark", "healthy"):
        kinds.setdefault((case.sort, case.kind), []).append(case)
    found = []
    for (sort, kind), cases in kinds.items():
        cells = {}
        for name, tool in tools.items():
            given = [(case, answers[name].get(case.id, {})) for case in cases]
            if sort == "healthy":
                cells[name] = Cell.share([loud(answer) for _, answer in given])
            else:
                cells[name] = Cell.share([named(tool, case, answer, aloud=sort == "fault") for case, answer in given])
        words = {"fault": kind, "remark": f"{kind} (a remark)", "healthy": f"{kind} (healthy: accused)"}
        found.append(Line(group.name, words[sort], "less" if sort == "healthy" else "more", cells))
    return found


def live(group: Group, tools: Mapping[str, Tool], answers: Mapping[str, Answers]) -> list[Line]:
    """The questions on the real trainings in which the tools sat; the onset of their cases is a step."""
    heard = {name: tool for name, tool in tools.items() if tool.in_trainer}
    dated = {name: {**answers[name]} for name in heard}
    for name, tool in heard.items():
        for case in group.of("fault"):
            said = [f.step for f in findings(answers[name].get(case.id, {})) if f.loud and tool.speaks_of(f, case.wanted)]
            after = [step - (case.onset or 0) for step in said if step is not None and step >= (case.onset or 0)]
            dated[name][case.id] = {**answers[name].get(case.id, {}), "delay": min(after, default=None)}
    found = []
    for line in lines(group, heard, dated):
        if "last word" not in line.name and "log grows" not in line.name:
            cells = {name: line.cells.get(name, Cell.none()) for name in tools}
            found.append(Line(line.section, line.name.replace("rows", "steps"), line.better, cells))
    return found


def agreement(group: Group, tools: Mapping[str, Tool], answers: Mapping[str, Answers]) -> str:
    """For runs without labels: how often each tool flags what lossdoctor flags, and leaves what it leaves."""
    cases = group.of("unknown")
    ours = [loud(answers[OURS].get(case.id, {})) for case in cases]
    words = []
    for name in tools:
        theirs = [loud(answers[name].get(case.id, {})) for case in cases]
        if name != OURS:
            words.append(f"{tools[name].title} {sum(a == b for a, b in zip(ours, theirs, strict=True))}/{len(cases)}")
    return ", ".join(words)
