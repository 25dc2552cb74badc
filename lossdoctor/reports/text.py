"""The report for people: verdict first, then the curve, what was seen, why, and what to change."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lossdoctor import disagreements, slips
from lossdoctor.model import RANK, Diagnosis, Remedy, Report, Run, Symptom
from lossdoctor.reports.spark import sparkline

STYLES = {"critical": "bold red", "warning": "bold yellow", "info": "cyan", "healthy": "bold green", "insufficient": "bold"}
MARKS = {"critical": "✖", "warning": "▲", "info": "·", "healthy": "✔", "insufficient": "?"}
WIDEST, NARROWEST = 100, 40
#: Candidates shown with all they have; the others get one line.
IN_FULL = 2


def render(reports: Sequence[Report], *, color: bool | None = None, width: int | None = None) -> str:
    """All reports as text; several get a summary table first. `color` None leaves it to the terminal and NO_COLOR."""
    console = _console(color, width)
    with console.capture() as captured:
        if len(reports) > 1:
            console.print(_summary(reports))
        for place, report in enumerate(reports):
            if len(reports) == 1 or report.verdict in ("critical", "warning"):
                if place or len(reports) > 1:
                    console.print()
                _print(console, report)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _console(color: bool | None, width: int | None) -> Console:
    terminal = sys.stdout.isatty() if color is None else color
    columns = width or (shutil.get_terminal_size().columns if terminal or "COLUMNS" in os.environ else 80)
    return Console(
        width=max(NARROWEST, min(WIDEST, columns)),
        force_terminal=terminal,
        force_jupyter=False,  # in a notebook rich would display every print by itself
        no_color=None if color is None else not color,
        highlight=False,
        soft_wrap=False,
        emoji=False,
    )


def _summary(reports: Sequence[Report]) -> Table:
    """One line a run: its verdict, its path without what all paths share, and what was found."""
    shared = os.path.commonpath([os.path.dirname(r.run.path) for r in reports]) if _comparable(reports) else ""  # noqa: PTH120
    title = Text(f"in {shared}", "dim") if shared else None
    table = Table(box=None, pad_edge=False, show_edge=False, title=title, title_justify="left")
    table.add_column("verdict", no_wrap=True)
    table.add_column("run", overflow="fold")
    table.add_column("rows", justify="right")
    table.add_column("finding")
    for report in reports:
        worst, cause = _worst(report), _likeliest(report)
        words = f"{worst.slug} from step {worst.onset:,}" if worst and report.verdict in ("critical", "warning") else ""
        if words and cause and cause.confidence != "low":
            words += f": {cause.title}"
        path = report.run.path[len(shared) :].lstrip("/\\") if shared else report.run.path
        verdict = Text(f"{MARKS[report.verdict]} {report.verdict}", STYLES[report.verdict])
        table.add_row(verdict, Text(path), f"{report.rows:,}", Text(words))
    return table


def _comparable(reports: Sequence[Report]) -> bool:
    return len({os.path.isabs(report.run.path) for report in reports}) == 1  # noqa: PTH117


def _print(console: Console, report: Report) -> None:
    console.print(_headline(report, console.width))
    console.print(_verdict(report))
    for line in _curve(report, console.width):
        console.print(line, no_wrap=True, overflow="crop")
    shown = [s for s in report.symptoms if s.severity != "info" or s.open or not report.diagnoses]
    if shown:
        _heading(console, "Seen")
        for symptom in sorted(shown, key=lambda s: (-RANK[s.severity], s.onset)):
            _bullet(console, MARKS[symptom.severity], STYLES[symptom.severity], _seen(symptom))
    sick = [d for d in report.diagnoses if not d.normal and not d.mechanism]
    mechanisms = [d for d in report.diagnoses if d.mechanism]
    if sick or mechanisms:
        calm = report.verdict in ("healthy", "insufficient")
        _heading(console, "Worth knowing" if calm else "Why" if len(sick) < 2 else "Why: candidates, the likeliest first")
    told: list[Remedy] = []
    for place, diagnosis in enumerate(sick, 1):
        _diagnosis(console, place, diagnosis, told, report.run, in_full=place <= IN_FULL)
    for diagnosis in mechanisms:
        _mechanism(console, diagnosis, alone=not sick)
    normal = [d for d in report.diagnoses if d.normal]
    if normal:
        _heading(console, "Looks alarming, is expected")
        for diagnosis in normal:
            _bullet(console, "·", "cyan", Text(f"{_title(diagnosis)}. {diagnosis.explanation}"))
    if report.verdict == "critical":
        _bullet(console, "↺", "bold", _good(report), before=1)
    if told_apart := disagreements.told(report.run):
        _heading(console, "Sources that disagree")
        for words in told_apart:
            _bullet(console, "≠", "yellow", Text(words))
    if report.not_judged:
        _heading(console, "Not judged")
        for item in report.not_judged:
            _bullet(console, "-", "dim", Text(f"{item.what}: {item.why}", "dim"))


def _headline(report: Report, width: int) -> Text:
    """The path and what is in it; on lines of their own where one line is too short for both."""
    parts = [f"{report.rows:,} row" + "s" * (report.rows != 1)]
    if report.first_step is not None and report.last_step is not None:
        parts.append(f"steps {report.first_step:,} to {report.last_step:,}")
    if report.epochs:
        parts.append(f"epoch {slips.in_epochs(report.epochs)}")
    path, rest = report.run.path or "this run", ", ".join(parts)
    fits = cell_len(path) + 2 + len(rest) <= width
    return Text.assemble((path if fits else _folded(path, width), "bold"), "  " if fits else "\n  ", (rest, "dim"))


def _folded(path: str, width: int) -> str:
    """A path in as many lines as it needs, each of them broken after a separator."""
    lines = [""]
    for part in re.split(r"(?<=[/\\])", path):
        if lines[-1] and cell_len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _verdict(report: Report) -> Text:
    style = STYLES[report.verdict]
    worst, cause = _worst(report), _likeliest(report)
    told = worst is not None and worst.open and worst.severity != "info"
    if cause and report.verdict == "warning" and not told:
        words = _sentence(cause.title)
    elif worst is not None and report.verdict in ("critical", "warning"):
        words = _sentence(worst.message)
        if cause and cause.confidence != "low":
            words += f" Most likely: {cause.title}."
    elif report.verdict == "healthy":
        words = "Nothing wrong found in this log."
        if cause and cause.confidence != "low":
            words = f"Nothing broken in this log. Worth knowing: {cause.title}."
        elif any(s.severity != "info" and not s.open for s in report.symptoms):
            words = "Nothing wrong at the end of this log; what was seen on the way has healed."
    else:
        words = "Too few rows to judge; nothing broken in them."
        if any(symptom.open for symptom in report.symptoms):
            words = "Too few rows to judge; see what was seen in them."
        elif cause and cause.confidence != "low":
            words = f"Too few rows to judge. Worth knowing: {cause.title}."
    return Text.assemble((f"{MARKS[report.verdict]} {report.verdict.upper()}  ", style), words)


def _curve(report: Report, width: int) -> Iterator[Text]:
    points = [(r.step, r.values["loss"]) for r in report.records if r.kind == "train" and "loss" in r.values]
    if len(points) < 3:
        return
    first, last = f"  loss {points[0][1]:.4g} ", f" {points[-1][1]:.4g}"
    line, ends = sparkline(points, width - len(first) - len(last) - 1)
    worst = _worst(report)
    yield Text("")
    yield Text(first + line + last)
    if worst is not None and worst.severity != "info":
        place = next((i for i, end in enumerate(ends) if end >= worst.onset), len(ends) - 1)
        label = f"step {worst.onset:,}"
        column = len(first) + place
        words = f"▲ {label}" if column + len(label) + 2 < width else f"{label} ▲"
        start = column if words.startswith("▲") else max(0, column - len(label) - 1)
        yield Text(" " * start + words, STYLES[worst.severity])


def _seen(symptom: Symptom) -> Text:
    healed = "" if symptom.open else " (healed)"
    return Text.assemble((symptom.slug, "bold"), f": {symptom.message}{healed}")


def _mechanism(console: Console, diagnosis: Diagnosis, alone: bool) -> None:
    """Why the log looks as it does; in full only where no cause tells it already."""
    _bullet(console, "·", "cyan", Text.assemble((_title(diagnosis), "bold"), f" ({diagnosis.slug}): {diagnosis.explanation}"))
    if alone and diagnosis.decide_by:
        _bullet(console, "To decide:", "bold", Text(diagnosis.decide_by), indent=5)


def _diagnosis(console: Console, place: int, diagnosis: Diagnosis, told: list[Remedy], run: Run, in_full: bool) -> None:
    title = Text.assemble((_title(diagnosis), "bold"), f" ({diagnosis.slug}, {diagnosis.confidence} confidence)")
    _bullet(console, f"{place}.", "bold", title)
    if not in_full:
        return
    for mark, words in [("+", s) for s in diagnosis.supports] + [("-", c) for c in diagnosis.contradicts]:
        _bullet(console, mark, "green" if mark == "+" else "red", Text(words), indent=5)
    if place == 1 or diagnosis.confidence != "low":
        console.print(Padding(Text(_explanation(diagnosis)), (0, 0, 0, 5)))
    if diagnosis.decide_by:
        _bullet(console, "To decide:", "bold", Text(diagnosis.decide_by), indent=5)
    fresh = [remedy for remedy in diagnosis.remedies if not _told(remedy, told)]
    if fresh and (place == 1 or diagnosis.confidence != "low"):
        console.print(Padding(Text("What to change:", "bold"), (0, 0, 0, 5)))
        told += fresh
        for remedy in fresh:
            _bullet(console, "or" if remedy.alternative else "→", "green", _remedy(remedy, run), indent=5)


def _told(remedy: Remedy, told: Sequence[Remedy]) -> bool:
    """Whether a candidate before this one has said to change the same, in whatever words."""
    return any(remedy == other or (remedy.settings and remedy.settings == other.settings) for other in told)


def _title(diagnosis: Diagnosis) -> str:
    """With a capital, unless it begins with a name such as fp16."""
    first = diagnosis.title.partition(" ")[0]
    return diagnosis.title if any(map(str.isdigit, first)) else diagnosis.title[:1].upper() + diagnosis.title[1:]


def _explanation(diagnosis: Diagnosis) -> str:
    return f"If so: {diagnosis.explanation}" if diagnosis.confidence == "low" else diagnosis.explanation


def _remedy(remedy: Remedy, run: Run) -> Text:
    """What to do and why, and under it the settings to paste; `was → is` where the facts say what it was."""
    text = Text.assemble((remedy.do, "bold"), f": {remedy.why}" if remedy.why else "")
    for name, value in remedy.settings.items():
        before = run.get(name)
        known = isinstance(before, (bool, int, float)) and before != value
        text.append(f"\n{name}: {_value(before)} → {_value(value)}" if known else f"\n{name}: {_value(value)}", "green")
    return text


def _value(value: Any) -> str:
    """As YAML writes it, so that it can be pasted."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_value(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return slips.short(value) if isinstance(value, float) else str(value)


def _good(report: Report) -> Text:
    if report.last_good_step is None:
        return Text("There is no good step: the run was broken from its first row.")
    words = f"Last good step: {report.last_good_step:,}."
    if report.last_good_checkpoint:
        words += f" Last good checkpoint: {report.last_good_checkpoint}"
    return Text(words)


def _heading(console: Console, words: str) -> None:
    console.print()
    console.print(Text(words, "bold underline"))


def _bullet(console: Console, mark: str, style: str, words: Text, indent: int = 2, before: int = 0) -> None:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, style), words)
    console.print(Padding(grid, (before, 0, 0, indent)))


def _worst(report: Report) -> Symptom | None:
    """The symptom to name first: the worst that is open, the most telling of its rank, the earliest."""
    standing = [s for s in report.symptoms if s.open] or list(report.symptoms)
    told = [s for d in report.diagnoses[:1] for s in d.because]
    return min(standing, key=lambda s: (-RANK[s.severity], not s.series.startswith("loss"), s not in told, s.onset), default=None)


def _likeliest(report: Report) -> Diagnosis | None:
    return next((d for d in report.diagnoses if not d.normal and not d.mechanism), None)


def _sentence(words: str) -> str:
    column = "_" in words.partition(" ")[0]  # the name of a column is written as it is logged
    return (words if column else words[:1].upper() + words[1:]) + "."


def brief(report: Report, *, color: bool = False, width: int | None = None) -> str:
    """What somebody whose run is going on needs now: what happened, the likeliest cause, what to change."""
    console = _console(color, width)
    with console.capture() as captured:
        console.print()
        console.print(Text.assemble(("lossdoctor ", "bold"), _verdict(report)))
        cause = _likeliest(report)
        if cause is not None:
            console.print(Padding(Text(_explanation(cause)), (0, 0, 0, 2)))
            for remedy in cause.remedies:
                _bullet(console, "or" if remedy.alternative else "→", "green", _remedy(remedy, report.run))
        for symptom in report.symptoms:
            if symptom.slug == "tensor-not-finite":
                _bullet(console, "·", "cyan", Text(_sentence(symptom.message)))
        if report.verdict == "critical":
            _bullet(console, "↺", "bold", _good(report))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def one_line(report: Report, *, color: bool = False) -> str:
    """The verdict in one line, for the end of a run."""
    console = _console(color, 10_000)
    with console.capture() as captured:
        line = Text.assemble(("lossdoctor ", "bold"), _verdict(report), f" {report.rows:,} rows judged.")
        if report.verdict == "critical":
            line.append(" " + _good(report).plain.replace("\n", " "))
        console.print(line, soft_wrap=True)
    return captured.get().strip() + "\n"
