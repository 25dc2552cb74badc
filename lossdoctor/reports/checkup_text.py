"""The report on a configuration for people: verdict, the plan in a few lines, what was found and what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lossdoctor.language import say
from lossdoctor.model import Run
from lossdoctor.reports import checkup
from lossdoctor.reports.terminal import STYLES, bullet, console_of, heading
from lossdoctor.reports.text import told_remedy
from lossdoctor.reports.words import MARKS

if TYPE_CHECKING:
    from lossdoctor.checkup import CheckReport


def render(report: CheckReport, *, color: bool | None = None, width: int | None = None) -> str:
    """The report as text. `color` None leaves it to the terminal and NO_COLOR."""
    console = console_of(color, width)
    with console.capture() as captured:
        console.print(Text(checkup.name(report), "bold"))
        console.print(_verdict(report))
        _plan(console, report)
        if report.findings:
            heading(console, say("Found"))
        told = checkup.shown(report)
        for one in told:
            _finding(console, one, report.run)
        if any(one.finding.severity != "info" and not one.full for one in told):
            bullet(
                console,
                "·",
                "dim",
                Text(say("begin with the first; --suggest FILE.yaml writes what to change for all of them"), "dim"),
            )
        if rest := checkup.left_out(report):
            bullet(console, "·", "dim", Text(say("{rest}; --output-format json tells all of them", rest=rest), "dim"))
        if report.not_judged or report.run.notes:
            heading(console, say("Not judged"))
        for item in report.not_judged:
            bullet(console, "-", "dim", Text(f"{item.what}: {item.why}", "dim"))
        for note in report.run.notes:
            bullet(console, "-", "dim", Text(note, "dim"))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def brief(report: CheckReport, *, color: bool = False, width: int | None = None) -> str:
    """What somebody who has just begun a training needs: each warning in a line, and what to change."""
    console = console_of(color, width)
    with console.capture() as captured:
        console.print(Text.assemble(("lossdoctor ", "bold"), _verdict(report)))
        for place, one in enumerate(checkup.shown(report)):
            if one.finding.severity == "info":
                continue
            if place:
                bullet(console, MARKS[one.finding.severity], STYLES[one.finding.severity], Text(one.finding.message))
            for remedy in one.remedies[:1]:
                bullet(console, "→", "green", told_remedy(remedy, report.run))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _verdict(report: CheckReport) -> Text:
    mark = (f"{MARKS[report.verdict]} {say(report.verdict).upper()}  ", STYLES[report.verdict])
    return Text.assemble(mark, checkup.verdict(report))


def _plan(console: Console, report: CheckReport) -> None:
    lines = checkup.plan_lines(report)
    if not lines:
        return
    heading(console, say("Plan"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for what, said in lines:
        grid.add_row(Text(what, "dim"), Text(said))
    console.print(Padding(grid, (0, 0, 0, 2)))


def _finding(console: Console, one: checkup.Shown, run: Run) -> None:
    """A note in one line; a warning with its evidence and what to change, unless there are many."""
    finding = one.finding
    line = Text.assemble((finding.slug, "bold"), f": {finding.message}")
    bullet(console, MARKS[finding.severity], STYLES[finding.severity], line)
    if not one.full:
        return
    for evidence in one.evidence:
        bullet(console, "+", "dim", Text(evidence, "dim"), indent=5)
    for remedy in one.remedies:
        bullet(console, say("or") if remedy.alternative else "→", "green", told_remedy(remedy, run), indent=5)
