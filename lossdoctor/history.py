"""The whole run in bounded memory: every row while there are few, means of 2, 4, 8 … rows when there are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: Rows kept before neighbours are merged two by two.
CAPACITY = 4096
Row = tuple[float, float, float, float, float]


class History:
    """Columns of equal length: the step and epoch where a row ends, its mean loss, learning rate and gradient norm.

    A value that was not logged, or is not finite, is NaN; a mean is taken over the values that are there.
    """

    COLUMNS = ("step", "epoch", "loss", "rate", "norm")

    def __init__(self) -> None:
        self.every = 1  # rows that one entry stands for
        self.rows = 0
        self._entries: list[Row] = []
        self._pending: list[Row] = []
        self._cache: tuple[int, dict[str, list[float]]] = (-1, {})
        self._turned: list[list[float]] = [[] for _ in self.COLUMNS]  # the entries so far as columns

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": (-1, {}), "_turned": [[] for _ in self.COLUMNS]}

    def push(self, row: Row) -> None:
        """Takes the next row: step, epoch, loss, learning rate and gradient norm."""
        self.rows += 1
        if self.every == 1:
            self._entries.append(row)
        else:
            self._pending.append(row)
            if len(self._pending) < self.every:
                return
            self._entries.append(_merge(*zip(*self._pending, strict=True)))
            self._pending.clear()
        if len(self._entries) >= CAPACITY:
            self._thin()

    def extend(self, columns: Sequence[Sequence[float]]) -> None:
        """Takes many rows, as columns."""
        place, rows = 0, len(columns[0])
        while place < rows:
            every = self.every
            if every > 1 and not self._pending and place + every <= rows:
                end = place + every
                self._entries.append(_merge(*[column[place:end] for column in columns]))
                self.rows += every
                if len(self._entries) >= CAPACITY:
                    self._thin()
            else:
                end = place + (CAPACITY - len(self._entries) if every == 1 else every - len(self._pending))
                for row in zip(*[column[place:end] for column in columns], strict=True):
                    self.push(row)
            place = end

    def _thin(self) -> None:
        self._entries = [_merge(*zip(*self._entries[place : place + 2], strict=True)) for place in range(0, CAPACITY, 2)]
        self.every *= 2
        self._turned = [[] for _ in self.COLUMNS]

    def columns(self) -> dict[str, list[float]]:
        """The columns by name: lists that stay as they are when rows are added."""
        if self._cache[0] != self.rows:
            for column, values in zip(self._turned, zip(*self._entries[len(self._turned[0]) :], strict=True), strict=False):
                column.extend(values)
            self._cache = (self.rows, {name: column.copy() for name, column in zip(self.COLUMNS, self._turned, strict=True)})
        return self._cache[1]


def _merge(*columns: Sequence[float]) -> Row:
    """The last step and epoch, and the means of what was measured."""
    steps, epochs, losses, rates, norms = columns
    return (steps[-1], epochs[-1], _mean(losses), _mean(rates), _mean(norms))


def _mean(values: Sequence[float]) -> float:
    total = sum(values)
    if total == total:  # no NaN among them
        return total / len(values)
    there = [value for value in values if value == value]
    return sum(there) / len(there) if there else float("nan")
