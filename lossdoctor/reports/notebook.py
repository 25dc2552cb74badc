"""The report under a cell: verdict, curves and what to change as HTML that needs no script, and the whole report as text.

Also where a notebook is not trusted, its styles are taken away, or it is shown on a web page: colours stand in attributes.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.language import say
from lossdoctor.model import Remedy, Report
from lossdoctor.reports import chart, text, words
from lossdoctor.reports.colours import COLOURS
from lossdoctor.reports.markup import element
from lossdoctor.reports.markup import text as escaped

#: Columns of the text; an output cell has about that many.
COLUMNS = 100


def bundle(report: Report) -> dict[str, str]:
    """The report by MIME type, as IPython's displays take it."""
    return {"text/html": html(report), "text/plain": text.render([report], color=False, width=COLUMNS)}


def html(report: Report) -> str:
    """What matters at once; the rest folds out."""
    colour = COLOURS["ink" if report.verdict == "insufficient" else report.verdict][0]
    chip = element("b", f"{words.MARKS[report.verdict]} {say(report.verdict).upper()}", style=f"color:{colour}")
    parts = [element("p", chip, " ", escaped(words.verdict(report)), style="font-size:1.15em;margin:0.3em 0")]
    if report.verdict == "critical":
        parts.append(element("p", escaped(words.good(report)), style="margin:0.3em 0"))
    parts.append(chart.render(report))
    cause = words.likeliest(report)
    for remedy in cause.remedies if cause and report.verdict in ("critical", "warning") else ():
        parts += _remedy(remedy, report)
    whole = element("pre", escaped(text.render([report], color=False, width=COLUMNS)), style="white-space:pre-wrap")
    parts.append(element("details", element("summary", escaped(say("The whole report"))), whole))
    return element("div", *parts, style="max-width:900px")


def _remedy(remedy: Remedy, report: Report) -> Iterator[str]:
    why = escaped(f": {remedy.why}" if remedy.why else "")
    yield element(
        "p", say("or") + " " if remedy.alternative else "→ ", element("b", escaped(remedy.do)), why, style="margin:0.3em 0"
    )
    if remedy.settings:
        yield element("pre", escaped("\n".join(words.to_paste(remedy, report.run))), style="margin:0 0 0 1.2em")
