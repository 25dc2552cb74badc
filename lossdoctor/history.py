"""The whole run in bounded memory: every row while there are few, means of 2, 4, 8 … rows when there are many."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

#: Rows kept before neighbours are merged two by two.
CAPACITY = 4096
NOTHING = float("nan")
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

    def extend(self, steps: Sequence[float], epochs: Sequence[float], measured: Sequence[Any]) -> None:
        """Takes many rows as columns: of loss, rate and norm the arrays, or None where there are none."""
        place, rows = 0, len(steps)
        while place < rows:
            every = self.every
            entries = min((rows - place) // every, CAPACITY - len(self._entries)) if every > 1 and not self._pending else 0
            if entries:
                end = place + entries * every
                means = [_means(values, place, end, every) for values in measured]
                self._entries.extend(
                    zip(steps[place + every - 1 : end : every], epochs[place + every - 1 : end : every], *means, strict=True)
                )
                self.rows += end - place
                if len(self._entries) >= CAPACITY:
                    self._thin()
            else:
                end = min(rows, place + (CAPACITY - len(self._entries) if every == 1 else every - len(self._pending)))
                parts = [[NOTHING] * (end - place) if values is None else values[place:end].tolist() for values in measured]
                for row in zip(steps[place:end], epochs[place:end], *parts, strict=True):
                    self.push(row)
            place = end

    def _thin(self) -> None:
        self._entries = [_pair(*self._entries[place : place + 2]) for place in range(0, CAPACITY, 2)]
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


def _pair(first: Row, second: Row) -> Row:
    """The same of two."""
    losses, rates, norms = zip(first[2:], second[2:], strict=True)
    return (second[0], second[1], _mean(losses), _mean(rates), _mean(norms))


def _mean(values: Sequence[float]) -> float:
    total = reduce(add, values)  # one after the other in every release of Python, as `_means` adds
    if total == total:  # no NaN among them
        return total / len(values)
    there = [value for value in values if value == value]
    return sum(there) / len(there) if there else NOTHING


def _means(values: Any, begin: int, end: int, every: int) -> list[float]:
    """The means of so many neighbours each, all of them finite; NaN where there are no values."""
    if values is None:
        return [NOTHING] * ((end - begin) // every)
    parts = values[begin:end].reshape(-1, every)
    total = parts[:, 0].copy()
    for place in range(1, every):
        total += parts[:, place]
    means: list[float] = (total / every).tolist()
    return means
