"""The report on a configuration as Markdown: for pull requests and model cards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossdoctor.language import say
from lossdoctor.reports import checkup, words
from lossdoctor.reports.markdown import code, plain, told_remedy

if TYPE_CHECKING:
    from lossdoctor.checkup import CheckReport


def render(report: CheckReport) -> str:
    """The whole report."""
    return "\n".join(_lines(report)).rstrip() + "\n"


def _lines(report: CheckReport) -> Iterator[str]:
    yield f"## {words.MARKS[report.verdict]} {say(report.verdict).capitalize()}: {code(checkup.name(report))}"
    yield from ("", f"**{plain(checkup.verdict(report))}**", "")
    if lines := checkup.plan_lines(report):
        yield from (f"| {say('plan')} | |", "|---|---|", *(f"| {what} | {plain(said)} |" for what, said in lines), "")
    for one in checkup.shown(report):
        finding = one.finding
        yield f"- {words.MARKS[finding.severity]} **{finding.slug}**: {plain(finding.message)}"
        if not one.full:
            continue
        yield from (f"  - {plain(evidence)}" for evidence in one.evidence)
        for remedy in one.remedies:
            yield from ("", *(f"  {line}" for line in told_remedy(remedy, report.run)), "")
    if rest := checkup.left_out(report):
        yield f"- {plain(rest)}"
    if report.not_judged:
        yield from ("", f"### {say('Not judged')}", "", *(f"- {plain(f'{item.what}: {item.why}')}" for item in report.not_judged))
