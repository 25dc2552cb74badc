"""The report as Markdown: for pull requests, model cards, and the Text tab of TensorBoard."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lossdoctor import disagreements
from lossdoctor.language import say
from lossdoctor.model import Remedy, Report, Run
from lossdoctor.reports import words
from lossdoctor.reports.overview import overview

#: More findings than this are counted.
MOST_FINDINGS = 60
#: What Markdown takes for markup of its own; an underscore inside a name is none.
_MARKUP = re.compile(r"([\\`*\[\]<>|#~!]|(?<!\w)_|_(?!\w))")


def render(reports: Sequence[Report], *, figures: Sequence[str | None] = ()) -> str:
    """All reports; several get a table first. `figures` are the addresses of their charts, where there are any."""
    lines: list[str] = []
    seen = overview(reports, "markdown")
    if len(reports) > 1:
        lines += [f"| {say('verdict')} | {say('run')} | {say('rows')} | {say('finding')} |", "|---|---|---:|---|"]
        folder = words.shared(reports)
        for report in seen.table:
            verdict, run = f"{words.MARKS[report.verdict]} {say(report.verdict)}", code(words.below(report, folder))
            lines.append(f"| {verdict} | {run} | {report.rows:,} | {plain(words.finding(report))} |")
        lines.append("")
    if seen.counts:
        lines += [seen.counts, ""]
    pictures = dict(zip(map(id, reports), figures, strict=False))
    for report in seen.full:
        lines += one(report, pictures.get(id(report)))
    return "\n".join(lines).rstrip() + "\n"


def one(report: Report, figure: str | None = None) -> Iterator[str]:
    """The lines of one report."""
    yield f"## {words.MARKS[report.verdict]} {say(report.verdict).capitalize()}: {code(words.name(report))}"
    yield from ("", f"**{plain(words.verdict(report))}**", "", f"{words.extent(report)}.", "")
    if same := words.same(report):
        yield from (plain(same), "")
    if report.verdict == "critical":
        yield from (plain(words.good(report)), "")
    if figure:
        yield from (f"![{say('Curves of the run')}]({figure})", "")
    if seen := words.seen(report):
        yield from (
            f"### {say('Seen')}",
            "",
            f"| | {say('symptom')} | {say('from step')} | {say('what was seen')} |",
            "|---|---|---:|---|",
        )
        for s in seen[:MOST_FINDINGS]:
            yield f"| {words.MARKS[s.severity]} | {code(s.slug)} | {s.onset:,} | {plain(words.what_was_seen(s))} |"
        if len(seen) > MOST_FINDINGS:
            yield f"| | … | | {say('and {number} more', number=len(seen) - MOST_FINDINGS)} |"
        yield ""
    yield from _why(report)
    for heading, lines in (
        (say("Looks alarming, is expected"), [f"{words.title(d)}. {d.explanation}" for d in words.expected(report)]),
        (say("Sources that disagree"), disagreements.told(report.run)),
        (say("Not judged"), [f"{item.what}: {item.why}" for item in report.not_judged]),
    ):
        if lines:
            yield from (f"### {heading}", "", *(f"- {plain(line)}" for line in lines), "")


def _why(report: Report) -> Iterator[str]:
    candidates, mechanisms = list(words.candidates(report)), words.mechanisms(report)
    if candidates or mechanisms:
        yield from (f"### {words.why(report)}", "")
    for candidate in candidates:
        diagnosis = candidate.diagnosis
        aside = say("{slug}, {confidence} confidence", slug=code(diagnosis.slug), confidence=say(diagnosis.confidence))
        title = f"**{plain(words.title(diagnosis))}** ({aside})"
        yield f"{candidate.place}. {title}"
        if not candidate.in_full:
            continue
        yield from (f"   - {say('for: {evidence}', evidence=plain(line))}" for line in diagnosis.supports)
        yield from (f"   - {say('against: {evidence}', evidence=plain(line))}" for line in diagnosis.contradicts)
        if candidate.likely:
            yield from ("", f"   {plain(words.explanation(diagnosis))}")
        if diagnosis.decide_by:
            yield from ("", f"   **{say('To decide:')}** {plain(diagnosis.decide_by)}")
        for remedy in candidate.remedies:
            yield from ("", *(f"   {line}" for line in told_remedy(remedy, report.run)))
        yield ""
    for diagnosis in mechanisms:
        yield f"- **{plain(words.title(diagnosis))}** ({code(diagnosis.slug)}): {plain(diagnosis.explanation)}"
    yield ""


def told_remedy(remedy: Remedy, run: Run) -> Iterator[str]:
    """What to do and why, and the settings as YAML."""
    lead = say("or") if remedy.alternative else "→"
    yield f"{lead} **{plain(remedy.do)}**" + (f": {plain(remedy.why)}" if remedy.why else "")
    if remedy.settings:
        yield from ("", "```yaml", *(line.replace("`", "'") for line in words.to_paste(remedy, run)), "```")


def plain(said: str) -> str:
    """Words without markup: what comes from outside can open no link, no element and no column."""
    return _MARKUP.sub(r"\\\1", " ".join(said.split()))


def code(name: str) -> str:
    """A name as code, on one line and without an end of its own; a bar would end the cell of a table."""
    return "`" + " ".join(name.replace("`", "'").replace("|", "/").split()) + "`"
