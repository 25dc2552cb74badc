"""Markdown tables with steps in their rows, as the Trainer writes them in the README.md of a model; also boxes drawn in text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from lossdoctor.facts import config_file, model_card
from lossdoctor.model import Log
from lossdoctor.parsing import stated, table_logs
from lossdoctor.parsing.cells import columns, of_log
from lossdoctor.parsing.printed_lines import LONGEST, Line, lines
from lossdoctor.parsing.source import Source
from lossdoctor.parsing.table import Table, tables

KIND = "markdown_table"
#: Under the header of a Markdown table, or between the lines of one that was drawn.
RULER = re.compile(r"[ \t>]{0,20}[-|:+= \t\u2500-\u257f]{3,5000}")
DASHES = ("--", "──", "━━", "══")
#: So many headers are tried, each with so much of what follows: the first rows are near.
MOST_TRIED, LOOKED_AT = 100, 4_000
_BARS = str.maketrans({"│": "|", "┃": "|", "║": "|"})
_BETWEEN = re.compile(r"(?<!\\)\|")
_QUOTED = re.compile(r"[> \t]{0,20}")


def recognise(source: Source) -> bool:
    """A header with a loss and steps or epochs stands above a line of dashes, and the rows below it are in order."""
    text = source.text
    if not any(dashes in text for dashes in DASHES) or source.head.lstrip()[:1] == "{":
        return False
    return any(_is_log(text, header, end) for header, end in islice(_rulers(text), MOST_TRIED))


def read(source: Source) -> list[Log]:
    """Every run in the text: a table whose steps begin anew. The hyper-parameters of a model card are facts of all of them.

    Raises:
        NothingToAnalyse: there is not one number in the tables.
    """
    text = source.take()
    known = config_file.of_text(text, stated.SOURCE) if model_card.recognise(text[: model_card.LONGEST]) else {}
    return table_logs.logs(KIND, source.name, text, _tables(text), known)


def _tables(text: str) -> Iterator[Table]:
    return (table for table in tables(lines(text), split, lambda line: _ruled(text, line)) if len(table.rows) > 1)


def split(line: str) -> list[str]:
    """The cells of a line between its bars; nothing for a ruler or a line without bars."""
    plain = line.translate(_BARS)
    if "|" not in plain or RULER.fullmatch(line.rstrip()):
        return []
    plain = plain[_QUOTED.match(plain).end() :].rstrip()  # type: ignore[union-attr]
    return [cell.strip() for cell in _BETWEEN.split(plain.removeprefix("|").removesuffix("|"))]


def _ruled(text: str, line: Line) -> bool:
    """Whether a ruler stands below this line."""
    begin = text.find("\n", line.start)
    end = text.find("\n", begin + 1)
    below = text[begin + 1 : end if end >= 0 else len(text)] if begin >= 0 else ""
    return len(below) < LONGEST and RULER.fullmatch(below.rstrip()) is not None and bool(below.strip())


def _rulers(text: str) -> Iterator[tuple[str, int]]:
    """The line above each ruler of the text, and where that line ends."""
    for dashes in DASHES:
        place = text.find(dashes)
        while place >= 0:
            begin = text.rfind("\n", max(0, place - LONGEST), place)
            end = text.find("\n", place)
            end = len(text) if end < 0 else end
            if begin > 0 and end - begin < LONGEST and RULER.fullmatch(text[begin + 1 : end].rstrip()):
                above = text.rfind("\n", max(0, begin - LONGEST), begin) + 1
                header = text[above:begin]
                if "oss" in header and of_log(columns(split(header))):
                    yield header, begin
                    end = max(end, begin + LOOKED_AT // 2)  # what follows was looked at, whatever headers are in it
            place = text.find(dashes, end)


def _is_log(text: str, header: str, end: int) -> bool:
    return next(_tables(header + text[end : end + LOOKED_AT]), None) is not None
