"""The table that a Trainer shows in a notebook, as people paste it: tabs or blanks between columns, text around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from lossdoctor.model import Log
from lossdoctor.parsing import table_logs
from lossdoctor.parsing.cells import columns, number, of_log
from lossdoctor.parsing.column_names import KNOWN, column
from lossdoctor.parsing.printed_lines import lines
from lossdoctor.parsing.source import Source
from lossdoctor.parsing.table import tables

KIND = "notebook_table"
#: One of them is in every table of a Trainer.
TELLING = ("Training Loss", "Validation Loss")
_TOLD = re.compile(r"(?:Training|Validation) Loss(?!\s?[:=])")
#: So many headers are tried, each with so much of what follows: the row after it is near.
MOST_TRIED, LOOKED_AT = 100, 4_000
#: Stands in a text with rows printed as dictionaries: a table beside them has fewer digits.
PRINTED_ROWS = "'loss':"
_QUOTED = re.compile(r"[> \t]{0,20}")
_GAPS = re.compile(r" {2,100}")
#: The names in a header whose gaps were lost on the way.
_NAMES = re.compile(r"(?:Training|Validation|Train|Eval) Loss|\S{1,100}")


def recognise(source: Source) -> bool:
    """A line names a loss and steps or epochs, the next one has a number for each; and no row is printed as a dictionary."""
    text = source.text
    if not any(name in text for name in TELLING) or source.head.lstrip()[:1] in ("{", "<") or PRINTED_ROWS in text:
        return False
    return any(_row_follows(text, line, end) for line, end in islice(_headers(text), MOST_TRIED))


def read(source: Source) -> list[Log]:
    """Every run in the text: a table whose steps begin anew.

    Raises:
        NothingToAnalyse: there is not one number in the tables.
    """
    text = source.take()
    return of_text(KIND, source.name, text)


def of_text(kind: str, name: str, text: str) -> list[Log]:
    """The same for the text of another reader.

    Raises:
        NothingToAnalyse: there is not one number in the tables.
    """
    return table_logs.logs(kind, name, text, tables(lines(text), split))


def split(line: str) -> list[str]:
    """The cells of a line: between tabs, or between blanks where those of a header may have a single one in them."""
    plain = line[_QUOTED.match(line).end() :] if line[:1] in "> " else line  # type: ignore[union-attr]
    plain = plain.rstrip("\\\r ")  # Markdown breaks a line there
    if "|" in plain or not plain.strip():
        return []
    if "\t" in plain:
        return plain.split("\t")
    words = plain.replace("No log", "-").replace("No Log", "-").split()
    if plain.lstrip()[:1].isdigit():
        return words
    gaps = _GAPS.split(plain.strip())
    if len(gaps) > 1:
        return gaps
    names = _NAMES.findall(plain)
    return names if all(name[:1].isupper() or column(name) in KNOWN for name in names) else [plain]


def _headers(text: str) -> Iterator[tuple[str, int]]:
    """The lines that name a loss of a Trainer's table, and where they end."""
    end = 0
    for match in _TOLD.finditer(text):
        place = match.start()
        if place < end:
            continue
        begin = text.rfind("\n", max(0, place - LOOKED_AT), place) + 1
        begin = text.rfind("\r", max(begin, place - LOOKED_AT), place) + 1 or begin
        end = text.find("\n", place)
        end = len(text) if end < 0 else end
        if end - begin < LOOKED_AT and of_log(columns(_header(text[begin:end]))):
            yield text[begin:end], end
            end += LOOKED_AT // 2  # what follows was looked at, whatever headers are in it


def _row_follows(text: str, line: str, end: int) -> bool:
    return next(tables(lines(line + text[end : end + LOOKED_AT]), split), None) is not None


def _header(line: str) -> list[str]:
    """The cells of a line that may be a header; none of one with values in it."""
    if ":" in line or "=" in line:
        return []
    cells = split(line)
    return [] if any(number(cell) is not None for cell in cells) else cells
