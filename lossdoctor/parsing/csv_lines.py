"""What the readers of CSV files share: the header with its delimiter, found by content, and the cells of a line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

from lossdoctor.parsing.cells import number
from lossdoctor.parsing.printed_lines import lines
from lossdoctor.parsing.source import Source

DELIMITERS = ("\t", ";", ",")
#: Lines with `#` above the header.
MOST_COMMENTS = 20
#: Columns of a header; a log has a few dozen, an export of a hundred runs some thousand.
MOST_CELLS = 5_000


class Header(NamedTuple):
    """The cells of a header, what stands between them, and where the first row begins in the text."""

    cells: list[str]
    delimiter: str
    end: int


def cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line, without quotes around them; none where a quote holds what no log has."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []


def header(source: Source) -> Header | None:
    """The first line that is no comment, split where most cells come of it; None where a cell holds a number or a sentence."""
    if source.magic or source.head.lstrip()[:1] in ("", "{", "[", "<"):
        return None
    first = next((line for line in islice(lines(source.text), MOST_COMMENTS) if not line.text.startswith("#")), None)
    if first is None:
        return None
    several = [cells(first.text, delimiter) for delimiter in DELIMITERS]
    split, delimiter = max(zip(several, DELIMITERS, strict=True), key=lambda found: len(found[0]))
    names = [cell.strip() for cell in split]
    if len(names) > MOST_CELLS or any(number(name) is not None for name in names):
        return None
    end = source.text.find("\n", first.start)
    return Header(names, delimiter, end + 1 if end >= 0 else len(source.text))


def rows(text: str, found: Header) -> Iterator[list[str]]:
    """The cells of every row below the header; of a line that is cut off, those that are there."""
    for line in _below(text, found.end):
        if split := cells(line, found.delimiter):
            yield split


def sample(source: Source, found: Header, count: int = 200) -> list[list[str]]:
    """The first rows; the last of a short text may be cut off."""
    return list(islice(rows(source.text, found), count))


def _below(text: str, begin: int) -> Iterator[str]:
    """The lines from a place on, without a copy of all that is below it."""
    end = text.find("\n", begin)
    while end >= 0:
        if line := text[begin:end].rstrip("\r"):
            yield line
        begin, end = end + 1, text.find("\n", end + 1)
    yield from chain([text[begin:]] if begin < len(text) else [])
