"""The report as one HTML file that needs nothing else: verdict, curves, findings, causes, remedies, facts.

Works without its script, which copies settings, changes the ground and reads the curves at the pointer. Its content policy
lets nothing else run or load, whatever a run is called.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files

from lossdoctor import __version__, disagreements
from lossdoctor.language import later, say, spoken
from lossdoctor.model import Diagnosis, Fact, Remedy, Report, Run
from lossdoctor.reports import chart, words
from lossdoctor.reports.colours import of_page
from lossdoctor.reports.markup import element, text
from lossdoctor.reports.overview import Overview, overview, tally

#: More findings than this are counted by their kind.
MOST_FINDINGS = 60
#: More of a fact than this is cut; a configuration in a fact would be the larger part of the page.
LONGEST_FACT = 300

#: Fonts with Korean letters, and lines that are broken between words and not within them.
KOREAN = (
    ":lang(ko){word-break:keep-all}"
    'body:lang(ko){font-family:system-ui,"Apple SD Gothic Neo","Malgun Gothic","Noto Sans KR",sans-serif}'
)


def render(reports: Sequence[Report]) -> str:
    """All reports on one page; several get a table of contents first."""
    seen = overview(reports, "html")
    body = [_contents(reports, seen)] if len(reports) > 1 else []
    for place, report in enumerate(seen.full):
        body += sections(report, place)
    return page(
        words.name(reports[0]) if len(reports) == 1 else say("{number_of_reports} runs", number_of_reports=len(reports)), body
    )


def page(title: str, body: Sequence[str]) -> str:
    """A whole document of sections."""
    head = [
        '<meta charset="utf-8"/><meta name="viewport" content="width=device-width,initial-scale=1"/>',
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}"/>',
        element("title", text(f"{title}: lossdoctor")),
        element("style", styles()),
    ]
    main = element("main", *body, element("footer", f"lossdoctor {__version__}"))
    whole = element("html", element("head", *head), element("body", main, element("script", script())), lang=spoken())
    return f"<!doctype html>\n{whole}\n"


def styles() -> str:
    """All styles of a page."""
    return _styles(spoken())


@lru_cache(maxsize=2)
def _styles(language: str) -> str:
    return of_page() + _compact("page.css") + (KOREAN if language == "ko" else "")


def script() -> str:
    """The script of a page."""
    return _script(spoken())


@lru_cache(maxsize=2)
def _script(language: str) -> str:
    code = files("lossdoctor.reports").joinpath("page.js").read_text(encoding="utf-8")
    for label in (later("Copy"), later("Copied"), later("Not allowed")):
        code = code.replace(f'"{label}"', json.dumps(say(label)))
    return code.replace("[`step ${", f"[`{say('step')} ${{")


def policy() -> str:
    """Nothing is loaded; our style and our script run, known by their hashes, and no other."""
    return f"default-src 'none'; style-src {_hash(styles())}; script-src {_hash(script())}; base-uri 'none'; form-action 'none'"


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def _compact(name: str) -> str:
    content = files("lossdoctor.reports").joinpath(name).read_text(encoding="utf-8")
    return " ".join(content.split())


def sections(report: Report, place: int = 0) -> Iterator[str]:
    """One report as sections of a page."""
    yield _header(report, place)
    if curves := chart.render(report, style=False):
        yield element("section", curves, element("p", "", kind="readout"))
    if lines := [words.change(name, suggestion) for name, suggestion in report.suggestions.items()]:
        yield section(say("What to change first"), code(lines))
    if report.symptoms:
        yield section(say("Seen"), _findings(report))
    causes = [_cause(candidate, report.run) for candidate in words.candidates(report)]
    causes += [_note(diagnosis) for diagnosis in words.mechanisms(report)]
    if causes:
        yield section(words.why(report), *causes)
    if normal := words.expected(report):
        yield section(say("Looks alarming, is expected"), *(_note(diagnosis) for diagnosis in normal))
    if told := disagreements.told(report.run):
        yield section(say("Sources that disagree"), listed(told))
    if report.not_judged:
        yield section(say("Not judged"), listed(f"{item.what}: {item.why}" for item in report.not_judged))
    if report.run.facts:
        yield section(say("What is known of the run"), facts(report.run))


def _header(report: Report, place: int) -> str:
    extent = words.extent(report) + (f". {words.good(report)}" if report.verdict == "critical" else "")
    more = [element("p", text(extent), kind="soft")]
    if report.run.same:
        more.append(element("p", text(words.same(report)), kind="soft"))
    return header(words.name(report), report.verdict, words.verdict(report), *more, place=place)


def header(name: str, verdict: str, sentence: str, *more: str, place: int = 0) -> str:
    """The head of one report: what it is on, and the outcome."""
    chip = element("span", f"{words.MARKS[verdict]} {say(verdict).upper()}", kind=f"chip {_colour(verdict)}")
    button = element("button", text(say("Light or dark")), type="button", data_ground="", hidden="") if place == 0 else ""
    top = element("div", element("h1", text(name)), button, kind="top")
    return element("header", top, element("p", chip, " ", text(sentence), kind="sentence"), *more, id=f"run-{place + 1}")


def _colour(verdict: str) -> str:
    return "ink" if verdict == "insufficient" else verdict


def _contents(reports: Sequence[Report], seen: Overview) -> str:
    folder = words.shared(reports)
    places = {id(report): place for place, report in enumerate(seen.full, 1)}
    rows = []
    for report in seen.table:
        chip = element("span", text(say(report.verdict)), kind=f"chip {_colour(report.verdict)}")
        name, place = text(words.below(report, folder)), places.get(id(report))
        link = element("a", name, href=f"#run-{place}") if place else name
        cells = (chip, link, element("span", f"{report.rows:,}", kind="count"), text(words.finding(report)))
        rows.append(element("tr", *(element("td", cell) for cell in cells)))
    where = element("p", text(say("in {folder}", folder=folder)), kind="soft") if folder else ""
    counts = seen.counts or (tally(reports) if len(seen.full) < len(reports) else "")
    said = element("p", text(counts), kind="soft") if counts else ""
    return section(
        say("{number_of_reports:,} runs", number_of_reports=len(reports)),
        where,
        said,
        table((say("verdict"), say("run"), say("rows"), say("finding")), rows),
    )


def _findings(report: Report) -> str:
    numbers = {symptom.identity: number for number, symptom in enumerate(words.alarming(report), 1)}
    shown = words.seen(report)
    items = []
    for symptom in shown[:MOST_FINDINGS]:
        number = numbers.get(symptom.identity)
        badge = element("span", str(number or "·"), kind=f"number {symptom.severity if number else 'ink'}")
        said = element("div", element("strong", text(symptom.slug)), ": ", text(words.what_was_seen(symptom)))
        items.append(element("li", badge, said))
    if (more := len(shown) - MOST_FINDINGS) > 0:
        kinds = ", ".join(sorted({symptom.slug for symptom in shown[MOST_FINDINGS:]}))
        items.append(element("li", element("span", "…"), text(say("and {more} more: {kinds}", more=more, kinds=kinds))))
    return element("ul", *items, kind="findings")


def _cause(candidate: words.Candidate, run: Run) -> str:
    diagnosis = candidate.diagnosis
    parts = [
        _title(
            f"{candidate.place}. {words.title(diagnosis)}",
            say("{slug}, {confidence} confidence", slug=diagnosis.slug, confidence=say(diagnosis.confidence)),
        )
    ]
    evidence = [element("li", text(said), kind="for") for said in diagnosis.supports]
    evidence += [element("li", text(said), kind="against") for said in diagnosis.contradicts]
    if evidence:
        parts.append(element("ul", *evidence))
    if candidate.likely:
        parts.append(element("p", text(words.explanation(diagnosis))))
    if diagnosis.decide_by:
        parts.append(element("p", element("strong", text(say("To decide:")) + " "), text(diagnosis.decide_by)))
    parts += [told_remedy(remedy, run) for remedy in candidate.remedies]
    return element("div", *parts, kind="cause")


def told_remedy(remedy: Remedy, run: Run) -> str:
    """What to do and why, with the settings and where that is from."""
    lead = say("or: ") if remedy.alternative else ""
    said = element("p", element("strong", text(lead + remedy.do)), text(f": {remedy.why}" if remedy.why else ""))
    sources = (
        element("p", text(say("Sources:")) + " ", ", ".join(map(address, remedy.sources)), kind="soft") if remedy.sources else ""
    )
    lines = words.to_paste(remedy, run)
    return element("div", said, code(lines) if lines else "", sources, kind="remedy")


def address(source: str) -> str:
    """A source as a link, if it is an address."""
    return element("a", text(source), href=source, rel="noreferrer") if source.startswith("https://") else text(source)


def code(lines: Sequence[str]) -> str:
    """Settings to paste, with a button that copies them."""
    return element("div", element("pre", text("\n".join(lines))), kind="code")


def _note(diagnosis: Diagnosis) -> str:
    return element("div", _title(words.title(diagnosis), diagnosis.slug), element("p", text(diagnosis.explanation)), kind="cause")


def _title(title: str, aside: str) -> str:
    return element("h3", text(title), " ", element("small", text(f"({aside})"), kind="soft"))


def facts(run: Run) -> str:
    """All facts, with their sources."""
    return table((say("fact"), say("value"), say("known from")), [_fact(name, fact) for name, fact in sorted(run.facts.items())])


def _fact(name: str, fact: Fact) -> str:
    value = words.value(fact.value)
    value = value if len(value) <= LONGEST_FACT else f"{value[:LONGEST_FACT]} …"
    cells = (element("code", text(name)), text(value), element("span", text(say(fact.source)), kind="soft"))
    return element("tr", *(element("td", cell) for cell in cells))


def tabled(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are markup already."""
    return table(heads, [element("tr", *(element("td", cell) for cell in cells)) for cells in rows])


def table(heads: Sequence[str], rows: Sequence[str]) -> str:
    """Rows under their heads."""
    head = element("tr", *(element("th", text(head)) for head in heads))
    return element("table", element("thead", head), element("tbody", *rows))


def listed(lines: Iterable[str]) -> str:
    """Lines of text, one below the other."""
    return element("ul", *(element("li", text(line)) for line in lines), kind="plain")


def bulleted(lines: Iterable[str]) -> str:
    """Sentences, each with a dot before it."""
    return element("ul", *(element("li", text(line)) for line in lines))


def section(heading: str, *inside: str) -> str:
    """A part of the page under its heading."""
    return element("section", element("h2", text(heading)), *inside)
