"""The report on a configuration as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossdoctor.language import say
from lossdoctor.model import Run
from lossdoctor.reports import checkup, html, words
from lossdoctor.reports.markup import element, text

if TYPE_CHECKING:
    from lossdoctor.checkup import CheckReport


def render(report: CheckReport) -> str:
    """The whole page."""
    return html.page(checkup.name(report), list(_sections(report)))


def _sections(report: CheckReport) -> Iterator[str]:
    yield html.header(checkup.name(report), report.verdict, checkup.verdict(report))
    if lines := [words.change(name, suggestion) for name, suggestion in report.suggestions.items()]:
        yield html.section(say("What to change first"), html.code(lines))
    if plan := checkup.plan_lines(report):
        rows = [element("tr", element("td", text(what)), element("td", text(said))) for what, said in plan]
        yield html.section(say("Plan"), html.table(("", ""), rows))
    if found := [_finding(one, report.run) for one in checkup.shown(report)]:
        rest = checkup.left_out(report)
        yield html.section(say("Found"), *found, *([element("p", text(rest), kind="soft")] if rest else []))
    if report.not_judged:
        yield html.section(say("Not judged"), html.listed([f"{item.what}: {item.why}" for item in report.not_judged]))
    if report.run.facts:
        yield html.section(say("What is known of the run"), html.facts(report.run))


def _finding(one: checkup.Shown, run: Run) -> str:
    finding = one.finding
    chip = element("span", text(say(finding.severity)), kind=f"chip {'ink' if finding.severity == 'info' else finding.severity}")
    parts = [element("h3", chip, " ", text(finding.slug)), element("p", text(finding.message))]
    if one.evidence:
        parts.append(html.listed(list(one.evidence)))
    parts += [html.told_remedy(remedy, run) for remedy in one.remedies]
    return element("div", *parts, kind="cause")
