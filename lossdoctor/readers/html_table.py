"""HTML tables with steps in their rows: whole pages, and what a notebook shows of a training."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from io import StringIO
from itertools import islice

from lossdoctor.model import Log
from lossdoctor.parsing.printed_lines import lines
from lossdoctor.parsing.source import Source
from lossdoctor.parsing.table import tables
from lossdoctor.readers import notebook_table

KIND = "html_table"
#: A tag, whole and of a sane size; attributes may hold ">" in quotes. What it does not match is text. The standard library's
#: parser would do, but older ones need time by the square of the length for tags that never end.
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,20})\b(?:[^<>\"']|\"[^\"<]{0,2000}\"|'[^'<]{0,2000}'){0,5000}>")
_TABLE = re.compile(r"<(?:table|TABLE)")
_BLANKS = re.compile(r"[\s\xa0]+")
#: Their content is no text.
HIDDEN = ("script", "style", "template")
_SHOWN_AGAIN = re.compile(rf"</(?:{'|'.join(HIDDEN)})", re.I)
#: A cell of a log is a number or a name.
LONGEST_CELL = 200
#: Looked at to tell whether a page has a log in it.
MOST_TABLES, LOOKED_AT = 100, 8_000


def recognise(source: Source) -> bool:
    """A table in it has a header with a loss and steps or epochs, and rows in order."""
    text = source.text
    if ("<table" not in text and "<TABLE" not in text) or source.head.lstrip()[:1] == "{":
        return False
    looked = (of_html(text[start : start + LOOKED_AT]) for start in islice(_starts(text), MOST_TABLES))
    return any(next(tables(lines(part), notebook_table.split), None) is not None for part in looked)


def _starts(text: str) -> Iterator[int]:
    """Where tables begin, but for those of which half of what is looked at was so before."""
    end = 0
    for match in _TABLE.finditer(text):
        if match.start() >= end:
            yield match.start()
            end = match.start() + LOOKED_AT // 2


def read(source: Source) -> list[Log]:
    """Every run in the page: a table whose steps begin anew.

    Raises:
        NothingToAnalyse: there is not one number in the tables.
    """
    return notebook_table.of_text(KIND, source.name, of_html(source.take()))


def of_html(text: str) -> str:
    """The text of a page: the rows of its tables are lines with tabs between their cells."""
    out = StringIO()
    in_cell = in_row = False
    cell: list[str] = []
    for tag, closing, content in _pieces(text):
        if tag in ("td", "th", "tr", "table", "caption"):
            if in_cell:
                words = _BLANKS.sub(" ", _unescaped("".join(cell))).strip()
                out.write(words[:LONGEST_CELL] + "\t")
            cell.clear()
            in_cell = tag in ("td", "th") and not closing
            if tag in ("tr", "table"):
                out.write("\n")
                in_row = tag == "tr" and not closing
        elif in_cell:
            cell.append(content if not tag else " " if tag in ("br", "p", "div") else "")
        elif tag:
            out.write("\n" if not in_row and tag in ("br", "p", "div", "li", "pre", "h1", "h2", "h3") else "")
        elif not in_row:
            out.write(_unescaped(content))
    out.write("\t".join(cell))
    return out.getvalue().replace("\t\n", "\n")


def _unescaped(text: str) -> str:
    """The text with its entities as characters; as it stands where one has more digits than any character."""
    try:
        return html.unescape(text)
    except ValueError:
        return text


def _pieces(text: str) -> Iterator[tuple[str, bool, str]]:
    """Tags with whether they close, and the text between them, without comments and what is not shown."""
    place = 0
    while place < len(text):
        start = text.find("<", place)
        if start < 0:
            break
        if start > place:
            yield "", False, text[place:start]
        if text.startswith("<!--", start):
            end = text.find("-->", start + 4)
            place = end + 3 if end >= 0 else len(text)
            continue
        match = _TAG.match(text, start)
        if match is None:
            yield "", False, "<"
            place = start + 1
            continue
        tag = match[2].lower()
        place = match.end()
        if tag in HIDDEN and not match[1]:
            shown = _SHOWN_AGAIN.search(text, place)
            place = shown.start() if shown else len(text)
        yield tag, bool(match[1]), ""
    if place < len(text):
        yield "", False, text[place:]
