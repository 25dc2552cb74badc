"""The report for people: verdict first, then the curve, what was seen, why, and what to change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lossdoctor import disagreements
from lossdoctor.language import say
from lossdoctor.model import Diagnosis, Remedy, Report, Run
from lossdoctor.reports import panels, words
from lossdoctor.reports.overview import Overview, overview
from lossdoctor.reports.spark import sparkline
from lossdoctor.reports.terminal import STYLES, bullet, console_of, heading
from lossdoctor.reports.words import MARKS


def render(reports: Sequence[Report], *, color: bool | None = None, width: int | None = None) -> str:
    """All reports as text; several get a summary table first. `color` None leaves it to the terminal and NO_COLOR."""
    console = console_of(color, width)
    seen = overview(reports, "text")
    with console.capture() as captured:
        if len(reports) > 1:
            _summary(console, reports, seen)
        for place, report in enumerate(seen.full):
            if place or len(reports) > 1:
                console.print()
            _print(console, report)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _summary(console: Console, reports: Sequence[Report], seen: Overview) -> None:
    """One line a run: its verdict, its path without what all paths share, and what was found; and what is not in the table."""
    shared = words.shared(reports)
    title = Text(say("in {shared}", shared=shared), "dim") if shared else None
    table = Table(box=None, pad_edge=False, show_edge=False, title=title, title_justify="left")
    table.add_column(say("verdict"), no_wrap=True)
    table.add_column(say("run"), overflow="fold")
    table.add_column(say("rows"), justify="right")
    table.add_column(say("finding"))
    for report in seen.table:
        verdict = Text(f"{MARKS[report.verdict]} {say(report.verdict)}", STYLES[report.verdict])
        table.add_row(verdict, Text(words.below(report, shared)), f"{report.rows:,}", Text(words.finding(report)))
    console.print(table)
    if seen.counts:
        console.print()
        console.print(Text(seen.counts, "bold"))
    if not seen.full and any(report.verdict in ("critical", "warning") for report in reports):
        console.print()
        console.print(
            Text(say("In full: lossdoctor analyze {path}", path=words.quoted(seen.table[0].run.path)), "dim"), soft_wrap=True
        )


def _print(console: Console, report: Report) -> None:
    console.print(_headline(report, console.width))
    console.print(_verdict(report))
    if same := words.same(report):
        console.print(Text(same, "dim"))
    for line in _curve(report, console.width):
        console.print(line, no_wrap=True, overflow="crop")
    if shown := words.seen(report):
        heading(console, say("Seen"))
        for symptom in shown:
            line = Text.assemble((symptom.slug, "bold"), f": {words.what_was_seen(symptom)}")
            bullet(console, MARKS[symptom.severity], STYLES[symptom.severity], line)
    causes, mechanisms = list(words.candidates(report)), words.mechanisms(report)
    if causes or mechanisms:
        heading(console, words.why(report))
    for candidate in causes:
        _candidate(console, candidate, report.run)
    for diagnosis in mechanisms:
        _mechanism(console, diagnosis, alone=not causes)
    if normal := words.expected(report):
        heading(console, say("Looks alarming, is expected"))
        for diagnosis in normal:
            bullet(console, "·", "cyan", Text(f"{words.title(diagnosis)}. {diagnosis.explanation}"))
    if report.verdict == "critical":
        bullet(console, "↺", "bold", Text(words.good(report)), before=1)
    if told_apart := disagreements.told(report.run):
        heading(console, say("Sources that disagree"))
        for told in told_apart:
            bullet(console, "≠", "yellow", Text(told))
    if report.not_judged:
        heading(console, say("Not judged"))
        for item in report.not_judged:
            bullet(console, "-", "dim", Text(f"{item.what}: {item.why}", "dim"))


def _headline(report: Report, width: int) -> Text:
    """The path and what is in it; on lines of their own where one line is too short for both."""
    path, rest = words.name(report), words.extent(report)
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
    return Text.assemble(
        (f"{MARKS[report.verdict]} {say(report.verdict).upper()}  ", STYLES[report.verdict]), words.verdict(report)
    )


def _curve(report: Report, width: int) -> Iterator[Text]:
    points = panels.points(report, "loss")
    if len(points) < 3:
        return
    first, last = say("  loss {second_first_points:.4g} ", second_first_points=points[0][1]), f" {points[-1][1]:.4g}"
    line, ends = sparkline(points, width - len(first) - len(last) - 1)
    yield Text("")
    yield Text(first + line + last)
    if (worst := words.worst(report)) is not None and worst.severity != "info":
        place = next((i for i, end in enumerate(ends) if end >= worst.onset), len(ends) - 1)
        label = say("step {onset:,}", onset=worst.onset)
        column = len(first) + place
        fits = column + len(label) + 2 < width
        start = column if fits else max(0, column - len(label) - 1)
        yield Text(" " * start + (f"▲ {label}" if fits else f"{label} ▲"), STYLES[worst.severity])


def _mechanism(console: Console, diagnosis: Diagnosis, alone: bool) -> None:
    """Why the log looks as it does; in full only where no cause tells it already."""
    bullet(console, "·", "cyan", Text.assemble((words.title(diagnosis), "bold"), f" ({diagnosis.slug}): {diagnosis.explanation}"))
    if alone and diagnosis.decide_by:
        bullet(console, say("To decide:"), "bold", Text(diagnosis.decide_by), indent=5)


def _candidate(console: Console, candidate: words.Candidate, run: Run) -> None:
    diagnosis = candidate.diagnosis
    title = Text.assemble(
        (words.title(diagnosis), "bold"),
        say(" ({slug}, {confidence} confidence)", slug=diagnosis.slug, confidence=say(diagnosis.confidence)),
    )
    bullet(console, f"{candidate.place}.", "bold", title)
    if not candidate.in_full:
        return
    for supported in diagnosis.supports:
        bullet(console, "+", "green", Text(supported), indent=5)
    for contradicted in diagnosis.contradicts:
        bullet(console, "-", "red", Text(contradicted), indent=5)
    if candidate.likely:
        console.print(Padding(Text(words.explanation(diagnosis)), (0, 0, 0, 5)))
    if diagnosis.decide_by:
        bullet(console, say("To decide:"), "bold", Text(diagnosis.decide_by), indent=5)
    if candidate.remedies:
        console.print(Padding(Text(say("What to change:"), "bold"), (0, 0, 0, 5)))
        for remedy in candidate.remedies:
            bullet(console, say("or") if remedy.alternative else "→", "green", told_remedy(remedy, run), indent=5)


def told_remedy(remedy: Remedy, run: Run) -> Text:
    """What to do and why, and under it the settings to paste."""
    text = Text.assemble((remedy.do, "bold"), f": {remedy.why}" if remedy.why else "")
    for line in words.settings(remedy, run):
        text.append(f"\n{line}", "green")
    return text


def brief(report: Report, *, color: bool = False, width: int | None = None) -> str:
    """What somebody whose run is going on needs now: what happened, the likeliest cause, what to change."""
    console = console_of(color, width)
    with console.capture() as captured:
        console.print()
        console.print(Text.assemble(("lossdoctor ", "bold"), _verdict(report)))
        cause = words.likeliest(report)
        if cause is not None:
            console.print(Padding(Text(words.explanation(cause)), (0, 0, 0, 2)))
            for remedy in cause.remedies:
                bullet(console, say("or") if remedy.alternative else "→", "green", told_remedy(remedy, report.run))
        for symptom in report.symptoms:
            if symptom.slug == "tensor-not-finite":
                bullet(console, "·", "cyan", Text(words.sentence(symptom.message)))
        if report.verdict == "critical":
            bullet(console, "↺", "bold", Text(words.good(report)))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def one_line(report: Report, *, color: bool = False) -> str:
    """The verdict in one line, for the end of a run."""
    console = console_of(color, 10_000)
    with console.capture() as captured:
        line = Text.assemble(("lossdoctor ", "bold"), _verdict(report), say(" {rows:,} rows judged.", rows=report.rows))
        if report.verdict == "critical":
            line.append(" " + words.good(report))
        console.print(line, soft_wrap=True)
    return captured.get().strip() + "\n"
