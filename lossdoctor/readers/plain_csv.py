"""CSV files of any origin, with commas, semicolons or tabs: a header that names a loss, and rows of numbers."""

from __future__ import annotations

from itertools import chain

from lossdoctor.model import Log, NothingToAnalyse
from lossdoctor.readers import charts, csv_lines, lightning_csv, notebook_table, table_logs, wandb_csv
from lossdoctor.readers.cells import blank, columns, decimal_commas, is_loss, number
from lossdoctor.readers.printed_lines import Row, runs
from lossdoctor.readers.source import Source

KIND = "plain_csv"
#: Rows from which it is told whether commas stand before decimals.
SAMPLE = 200
#: What TensorBoard gives to download, a file for each chart: only the file's name tells which one, by these words.
DOWNLOADED = ["Wall time", "Step", "Value"]


def recognise(source: Source) -> bool:
    """The first line names a loss among its columns, the second has numbers in them; and no other dialect knows the header."""
    found = csv_lines.header(source)
    names = _names(source, found) if found else ()
    if found is None or (found.cells != DOWNLOADED and not any(map(is_loss, names))):
        return False
    sample = csv_lines.sample(source, found, 20)
    if not sample or not all(_fits(names, cells, found.delimiter) for cells in sample[:-1] or sample):
        return False
    return not any(other.recognise(source) for other in (notebook_table, lightning_csv, wandb_csv))


def read(source: Source) -> list[Log]:
    """Every run in the file: one begins where the steps are back at the first.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    found = csv_lines.header(source)
    if found is None:
        raise NothingToAnalyse(f"{source.name} has no header: nothing to analyse")
    comma = found.delimiter != "," and decimal_commas(chain.from_iterable(csv_lines.sample(source, found, SAMPLE)))
    names = _names(source, found)
    text = source.take()
    rows: list[Row] = []
    for place, cells in enumerate(csv_lines.rows(text, found)):
        values = {
            name: value for name, cell in zip(names, cells, strict=False) if name and (value := number(cell, comma)) is not None
        }
        if values:
            rows.append(Row(place, values))
    torn = _torn(text, names, found.delimiter)
    several = runs(rows[:-1] if torn and len(rows) > 1 else rows)
    made: list[Log] = []
    for place, run in enumerate(several, 1):
        title = f"run {place} of {len(several)}" if len(several) > 1 else ""
        notes = ["the last line is cut off and was left out"] if torn and place == len(several) else []
        if found.cells == DOWNLOADED:
            notes.append(f"the column Value is taken for {names[-1]}")
        made += table_logs.one(KIND, [row.values for row in run], title, notes=notes)
    if not made:
        raise NothingToAnalyse(f"{source.name} has rows without a number: nothing to analyse")
    return made


def _names(source: Source, found: csv_lines.Header) -> tuple[str, ...]:
    """The Trainer's names of the columns; W&B's own count of log calls is the step where there is no other."""
    if found.cells == DOWNLOADED:
        return ("wall_time", "step", charts.column(source.name))
    names = columns(found.cells)
    return names if "step" in names else tuple("step" if name == "_step" else name for name in names)


def _fits(names: tuple[str, ...], cells: list[str], delimiter: str) -> bool:
    """Whether a line may be a row: the cells of its losses hold a number or nothing."""
    if len(cells) != len(names):
        return False
    held = [cell for name, cell in zip(names, cells, strict=True) if is_loss(name)]
    return all(blank(cell) or number(cell, delimiter != ",") is not None for cell in held)


def _torn(text: str, names: tuple[str, ...], delimiter: str) -> bool:
    """Whether the last line has fewer cells than the header: it was cut off, or is being written."""
    if text.endswith(("\n", "\r")):
        return False
    return len(csv_lines.cells(text[text.rfind("\n") + 1 :], delimiter)) < len(names)
