"""Annotations of a GitHub Actions run: one workflow command for each run that is not well, a plain line for the others."""

from __future__ import annotations

from collections.abc import Sequence

from lossdoctor.language import say
from lossdoctor.model import Remedy, Report
from lossdoctor.reports import words
from lossdoctor.reports.overview import tally, worst_first

COMMANDS = {"critical": "error", "warning": "warning"}

#: Of more runs than this only those that are not well get a line.
MOST_LINES = 100


def render(reports: Sequence[Report]) -> str:
    """One line a run, the worst first, with what to change in it. Of many runs, those that are well are counted."""
    ordered = worst_first(reports)
    told = ordered if len(ordered) <= MOST_LINES else [report for report in ordered if report.verdict in COMMANDS]
    rest = (
        []
        if len(told) == len(ordered)
        else [say("lossdoctor: {number_of_ordered:,} runs: {ordered}", number_of_ordered=len(ordered), ordered=tally(ordered))]
    )
    return "".join(f"{line}\n" for line in (*map(_line, told), *rest))


def _line(report: Report) -> str:
    command = COMMANDS.get(report.verdict)
    if command is None:
        return say(
            "lossdoctor: {report} is {verdict}. {report2}",
            report=on_one_line(words.name(report)),
            verdict=say(report.verdict),
            report2=on_one_line(words.verdict(report)),
        )
    cause = words.likeliest(report)
    remedies = cause.remedies if cause else ()
    said = [words.verdict(report), *(_remedy(remedy, report) for remedy in remedies if not remedy.alternative)]
    if report.verdict == "critical":
        said.append(words.good(report))
    properties = (
        f"file={as_property(report.run.path)},title={as_property(f'lossdoctor: {words.finding(report) or report.verdict}')}"
    )
    return f"::{command} {properties}::{as_data(chr(10).join(said))}"


def _remedy(remedy: Remedy, report: Report) -> str:
    settings = "; ".join(words.settings(remedy, report.run))
    return f"→ {remedy.do}" + (f" ({settings})" if settings else "")


def on_one_line(said: str) -> str:
    """A line of its own can be no command: whatever a run is called, it stays inside its line and is not at its start."""
    return " ".join(said.split())


def as_data(said: str) -> str:
    return said.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def as_property(said: str) -> str:
    return as_data(said).replace(":", "%3A").replace(",", "%2C")
