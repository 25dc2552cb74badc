"""The comparison under a cell: verdicts and curves as HTML that needs no script, and the whole comparison as text."""

from __future__ import annotations

from lossdoctor.comparison.nouns import Comparison
from lossdoctor.language import say
from lossdoctor.reports.comparison import overlay, text, words
from lossdoctor.reports.markup import element
from lossdoctor.reports.markup import text as escaped

#: Columns of the text; an output cell has about that many.
COLUMNS = 100


def bundle(comparison: Comparison) -> dict[str, str]:
    """The comparison by MIME type, as IPython's displays take it."""
    whole = text.render(comparison, color=False, width=COLUMNS)
    said = [element("p", element("b", escaped(verdict)), style="margin:0.3em 0") for verdict in words.verdicts(comparison)]
    named = [
        element("p", escaped(f"{letter}: {name}, {kind}"), style="margin:0") for letter, name, kind in words.sides(comparison)
    ]
    folded = element("pre", escaped(whole), style="white-space:pre-wrap")
    parts = (
        *said,
        *named,
        overlay.render(comparison),
        element("details", element("summary", escaped(say("The whole comparison"))), folded),
    )
    return {"text/html": element("div", *parts, style="max-width:900px"), "text/plain": whole}
