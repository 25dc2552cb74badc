"""Columns under a header of plain names, wherever in a text: `step loss lr`, between blanks, tabs, commas or semicolons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from lossdoctor.model import Log
from lossdoctor.parsing import table_logs
from lossdoctor.parsing.cells import columns, number, of_log
from lossdoctor.parsing.printed_lines import Line, lines
from lossdoctor.parsing.source import Source
from lossdoctor.parsing.table import Table, tables
from lossdoctor.readers import lightning_csv, notebook_table, plain_csv, wandb_csv

KIND = "text_table"
#: So many places with a loss are looked at, and so many headers tried, each with so much of what follows; fewer rows may be
#: anything.
MOST_PLACES, MOST_TRIED, LOOKED_AT, FEWEST = 10_000, 100, 4_000, 3
#: A line with one of them has values in it, or is a row of another kind of table.
FOREIGN = re.compile(r"[:={}\[|]")
DELIMITERS = ("\t", ";", ",")
_QUOTED = re.compile(r"[> \t#]{0,20}")
#: What a header ends with: the row below it, or below a line of dashes, begins with a number.
_ROW = re.compile(r"[\s>=-]{0,1000}[+.]?\d")
_GAPS = re.compile(r" {2,100}")
#: The names in a header without gaps: those of two words first.
_NAMES = re.compile(r"(?:train|training|val|valid|validation|eval|test)\.? loss|learning rate|grad norm|\S{1,100}", re.I)


def recognise(source: Source) -> bool:
    """A line names a loss and steps or epochs, and lines with as many numbers follow; no other reader of tables knows it."""
    text = source.text
    if source.head.lstrip()[:1] in ("", "{", "<") or notebook_table.PRINTED_ROWS in text:
        return False
    if not any(_is_log(text, line) for line in islice(_headers(text), MOST_TRIED)):
        return False
    return not any(other.recognise(source) for other in (notebook_table, lightning_csv, wandb_csv, plain_csv))


def read(source: Source) -> list[Log]:
    """Every run in the text: a table whose steps begin anew.

    Raises:
        NothingToAnalyse: there is not one number in the tables.
    """
    text = source.take()
    return table_logs.logs(KIND, source.name, text, _tables(text))


def split(line: str) -> list[str]:
    """The cells of a line: between the first of tabs, semicolons and commas that it has, or else between blanks."""
    plain = line[_QUOTED.match(line).end() :]  # type: ignore[union-attr]
    plain = plain.rstrip("\\\r\t ")  # Markdown breaks a line at a backslash
    if not plain.strip("-= ") or "|" in plain:
        return []
    delimiter = next((delimiter for delimiter in DELIMITERS if delimiter in plain), None)
    if delimiter is not None:
        return [cell.strip().strip('"') for cell in plain.split(delimiter)]
    if number(plain.split(" ", 1)[0]) is not None:
        return plain.split()
    gaps = _GAPS.split(plain)
    return gaps if len(gaps) > 2 else _NAMES.findall(plain)


def _tables(text: str) -> Iterator[Table]:
    return (table for table in tables(lines(text), split, _is_header) if len(table.rows) >= FEWEST)


def _is_header(line: Line) -> bool:
    return FOREIGN.search(line.text) is None


def _headers(text: str) -> Iterator[Line]:
    """The lines that may be the header of a log."""
    end = 0
    for match in islice(re.finditer("oss", text), MOST_PLACES):
        place = match.start()
        if place < end:
            continue
        begin = max(text.rfind(mark, max(0, place - LOOKED_AT), place) for mark in "\r\n") + 1
        end = text.find("\n", place, place + LOOKED_AT)
        end = len(text) if end < 0 else end
        line = Line(begin, text[begin:end]) if end - begin < LOOKED_AT else None
        if line is None or not _ROW.match(text, end) or not _is_header(line):
            continue
        if of_log(columns(cells := split(line.text))) and not any(map(_is_number, cells)):
            yield line


def _is_number(cell: str) -> bool:
    return number(cell) is not None


def _is_log(text: str, header: Line) -> bool:
    return next(_tables(text[header.start : header.start + len(header.text) + LOOKED_AT]), None) is not None
