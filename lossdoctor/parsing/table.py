"""Tables in text: header and rows, which of them are logs, and what is one run of several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from lossdoctor.parsing.cells import blank, columns, decimal_commas, number, of_log, position, row
from lossdoctor.parsing.printed_lines import Line

#: Of neighbouring rows so few may fall, and so many have to rise, for their numbers to be steps: a table over settings has them
#: in any order, or all the same. What was logged and evaluated in one step may stand in two rows.
FALLING, RISING = 0.2, 0.3


class Table(NamedTuple):
    """A table with steps or epochs in its rows; `start` and `end` are where its first and last line begin in the text."""

    start: int
    end: int
    columns: tuple[str, ...]
    rows: list[dict[str, float]]


class _Open:
    """A table whose rows are still coming."""

    def __init__(self, start: int, names: tuple[str, ...], ragged: bool) -> None:
        self.start = self.end = start
        self.names = names
        self.fewest = 2 if ragged else len(names)
        self.cells: list[Sequence[str]] = []
        self.interrupted = False

    def takes(self, line: Line, cells: Sequence[str]) -> bool:
        """Takes the line if it is a row; after other text only if its steps go on."""
        shifted = (
            cells[1:] if len(cells) == len(self.names) + 1 and cells[0].strip().isdecimal() else cells
        )  # pandas numbers rows
        if not self.fewest <= len(shifted) <= len(self.names):
            return False
        found = row(self.names, shifted, decimal_commas(shifted))
        if found is None or (len(found) < 2 and not any(map(blank, shifted))):
            return False
        if self.interrupted and self.cells:
            last = position(row(self.names, self.cells[-1]) or {})
            if len(shifted) != len(self.names) or last is None or (position(found) or 0) <= last:
                return False
        self.cells.append(tuple(shifted))
        self.end, self.interrupted = line.start, False
        return True

    def table(self) -> Table | None:
        """The table, if its rows are in the order of steps; what was cut off at its end is left out."""
        if self.cells and len(self.cells) > 1 and len(self.cells[-1]) < len(self.cells[0]):
            self.cells.pop()
        comma = decimal_commas(cell for cells in self.cells for cell in cells)
        rows = [found for cells in self.cells if (found := row(self.names, cells, comma)) is not None]
        steps = [place for found in rows if (place := position(found)) is not None]
        rises, falls = (sum(sign * late > sign * early for early, late in pairwise(steps)) for sign in (1, -1))
        if not rows or rises < RISING * (len(steps) - 1) or falls > FALLING * (len(steps) - 1):
            return None
        return Table(self.start, self.end, self.names, rows)


def tables(
    lines: Iterable[Line], split: Callable[[str], list[str]], header: Callable[[Line], bool] = lambda line: True
) -> Iterator[Table]:
    """The tables with a loss among these lines; `split` gives the cells of a line, and `header` may refuse one.

    Cells that are missing at the end of a row are blank where tabs or bars show which ones are there.
    """
    current: _Open | None = None
    for line in lines:
        cells = split(line.text)
        if not cells:
            if current is not None:
                current.interrupted = True
            continue
        if current is not None and current.takes(line, cells):
            continue
        if len(cells) > 1 and not any(number(cell) is not None for cell in cells):  # the header of this table or of another
            if current is not None and (found := current.table()):
                yield found
            names = columns(cells)
            ragged = "\t" in line.text or "|" in line.text
            current = _Open(line.start, names, ragged) if of_log(names) and header(line) else None
        elif current is not None:
            current.interrupted = True
    if current is not None and (found := current.table()):
        yield found


def runs(found: Iterable[Table]) -> list[Table]:
    """One table for each run: one that was cut by text goes on, and one that was drawn anew replaces what it was before."""
    several: list[Table] = []
    for table in found:
        before = several[-1] if several else None
        if before is None or (before.columns != table.columns and not _evaluated_again(before, table)):
            several.append(table)
        elif _begins_with(table, before):
            several[-1] = table._replace(start=before.start)
        elif _evaluated_again(before, table):
            several[-1] = before._replace(end=table.end)
        elif (position(table.rows[0]) or 0) > (position(before.rows[-1]) or 0):
            before.rows.extend(table.rows)
            several[-1] = before._replace(end=table.end)
        else:
            several.append(table)
    return several


def _begins_with(table: Table, before: Table) -> bool:
    """Whether all rows of one table are the first of another; compared as text, since no NaN is equal to another."""
    length = len(before.rows)
    return length <= len(table.rows) and repr(table.rows[:length]) == repr(before.rows)


def _evaluated_again(before: Table, table: Table) -> bool:
    """Whether it is the one row that `trainer.evaluate()` shows after training: the end of the table before."""
    return len(table.rows) == 1 and position(table.rows[0]) == position(before.rows[-1]) and "eval_loss" in table.rows[0]
