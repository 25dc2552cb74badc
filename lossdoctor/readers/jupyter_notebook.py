"""Jupyter notebooks: what the cells of an `.ipynb` put out, and the settings in the source of those before."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from lossdoctor.language import say
from lossdoctor.model import Fact, Log, LossDoctorError, NothingToAnalyse
from lossdoctor.parsing import stated
from lossdoctor.parsing.printed_lines import lines
from lossdoctor.parsing.source import Source
from lossdoctor.parsing.table import tables
from lossdoctor.parsing.table_logs import PROGRESS
from lossdoctor.readers import notebook_table
from lossdoctor.readers.dialects import dialects
from lossdoctor.readers.html_table import of_html

KIND = "jupyter_notebook"
#: What no cell prints, or what may be anything there.
NEVER_PRINTED = ("jupyter_notebook", "html_table", "markdown_table", "plain_csv", "bare_columns", "trainer_state", "event_files")
#: So much of the source before a cell is kept: its settings stand somewhere in it.
MOST_SOURCE = stated.LONGEST
#: More cells with a log are not read: each is a report of its own, or several.
MOST_CELLS = 100


class Cell(NamedTuple):
    """A cell of code by its place among all cells from 1, and what it has put out: tables as lines with tabs."""

    place: int
    source: str
    output: str


def recognise(source: Source) -> bool:
    """A JSON object with the cells of a notebook."""
    text = source.text
    return source.head.lstrip()[:1] == "{" and '"nbformat"' in text and '"cells"' in text


def read(source: Source) -> list[Log]:
    """Every run that a cell has put out, with the arguments in the source up to that cell.

    Raises:
        LossDoctorError: the JSON is cut off or broken, or no output holds a log.
    """
    made: deque[tuple[int, list[Log], str]] = deque(maxlen=MOST_CELLS)
    cells = 0
    written = ""
    for cell in _cells(_parsed(source)):
        written = f"{written}\n{cell.source}"[-MOST_SOURCE:]
        if logs := _logs(f"{source.name}, cell {cell.place}", cell.output):
            made.append((cell.place, logs, written))
            cells += 1
    if not made:
        raise LossDoctorError(
            f"{source.name} is a notebook without a log in its outputs; the table of a training or printed rows were expected"
        )
    fewer = (
        [say("{cells:,} cells hold a log: only the last {most_cells:,} were read", cells=cells, most_cells=MOST_CELLS)]
        if cells > MOST_CELLS
        else []
    )
    runs = [(place, log) for place, logs, before in made for log in _knowing(logs, stated.facts(before), fewer)]
    trained = [(place, log) for place, log in runs if len({record.step for record in log.records}) > 1]
    runs = trained or runs  # one step alone is the evaluation after a training
    return [_titled(log, place if len(runs) > 1 else None) for place, log in runs]


def _parsed(source: Source) -> Mapping[str, Any]:
    text = source.take()
    try:
        notebook = json.loads(text)
    except ValueError as error:
        place = getattr(error, "pos", 0)
        raise LossDoctorError(
            f"{source.name} is a notebook that is cut off or broken at character {place:,}; a complete .ipynb was expected"
        ) from None
    except RecursionError:
        raise LossDoctorError(f"{source.name} is nested too deeply for a notebook") from None
    return notebook if isinstance(notebook, dict) else {}


def _cells(notebook: Mapping[str, Any]) -> Iterator[Cell]:
    """The cells of format 4, or those of all sheets of format 3."""
    sheets = [sheet for sheet in _items(notebook, "worksheets") if isinstance(sheet, dict)] or [dict(notebook)]
    cells = (cell for sheet in sheets for cell in _items(sheet, "cells"))
    for place, cell in enumerate(cells, 1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            output = "".join(_output(one) for one in _items(cell, "outputs") if isinstance(one, dict))
            yield Cell(place, _text(cell.get("source", cell.get("input"))), output)


def _items(holder: Mapping[str, Any], name: str) -> list[Any]:
    value = holder.get(name)
    return value if isinstance(value, list) else []


def _output(output: Mapping[str, Any]) -> str:
    """The text of one output: of a table its rows, of anything else what is plain. Only what was printed goes on in the next."""
    if output.get("output_type") == "stream":
        return _text(output.get("text"))
    data = output.get("data")
    data = data if isinstance(data, dict) else output
    if shown := _text(data.get("text/html", data.get("html"))):
        converted = of_html(shown)
        if PROGRESS.search(converted) or next(tables(lines(converted), notebook_table.split), None) is not None:
            return f"\n{converted}\n"
    return f"\n{_text(data.get('text/plain', data.get('text')))}\n"


def _text(value: Any) -> str:
    """A text, or the list of its lines that notebooks keep."""
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _logs(name: str, output: str) -> list[Log]:
    """The runs in what one cell has put out: in its tables, or else in the first dialect that recognises it."""
    if not output.strip():
        return []
    try:
        if notebook_table.PRINTED_ROWS not in output and next(tables(lines(output), notebook_table.split), None) is not None:
            return notebook_table.of_text(KIND, name, output)
        source = Source(name, None, output)
        reader = next((one for one in dialects(NEVER_PRINTED) if one.recognise(source)), None)
        return reader.read(source) if reader else []
    except NothingToAnalyse:
        return []


def _knowing(logs: Iterable[Log], facts: Mapping[str, Fact], notes: Iterable[str]) -> list[Log]:
    """The logs with settings from the source of cells: what stands beside a log in its own output wins."""
    return [replace(log, run=replace(log.run, facts={**facts, **log.run.facts}, notes=(*log.run.notes, *notes))) for log in logs]


def _titled(log: Log, place: int | None) -> Log:
    name = "" if place is None else f"cell {place}" + (f", {log.run.name}" if log.run.name else "")
    return replace(log, run=replace(log.run, kind=KIND, name=name))
