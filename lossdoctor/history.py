"""The whole run in bounded memory: every row while there are few, means of 2, 4, 8 … rows when there are many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Rows kept before neighbours are merged two by two.
CAPACITY = 4096


class History:
    """Columns of equal length: the step and epoch where a row ends, its mean loss, learning rate and gradient norm.

    A value that was not logged, or is not finite, is NaN; a mean is taken over the values that are there.
    """

    COLUMNS = ("step", "epoch", "loss", "rate", "norm")

    def __init__(self) -> None:
        self.every = 1  # rows that one entry stands for
        self._columns: tuple[list[float], ...] = tuple([] for _ in self.COLUMNS)
        self._pending: list[tuple[float, ...]] = []
        self._cache: tuple[int, Any] = (-1, None)
        self.rows = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": (-1, None)}

    def push(self, step: int, epoch: float, loss: float, rate: float, norm: float) -> None:
        """Takes the next row."""
        self.rows += 1
        if self.every == 1:
            row = (step, epoch, loss, rate, norm)
        else:
            self._pending.append((step, epoch, loss, rate, norm))
            if len(self._pending) < self.every:
                return
            row = _merge(self._pending)  # type: ignore[assignment]
            self._pending.clear()
        steps, epochs, losses, rates, norms = self._columns
        steps.append(row[0])
        epochs.append(row[1])
        losses.append(row[2])
        rates.append(row[3])
        norms.append(row[4])
        if len(steps) >= CAPACITY:
            self._halve()

    def _halve(self) -> None:
        rows = list(zip(*self._columns, strict=True))
        merged = [_merge(rows[place : place + 2]) for place in range(0, len(rows), 2)]
        self._columns = tuple(list(column) for column in zip(*merged, strict=True))
        self.every *= 2

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The columns as arrays, rows without a loss left out."""
        if self._cache[0] != self.rows:
            import numpy

            columns = {name: numpy.array(column, dtype=float) for name, column in zip(self.COLUMNS, self._columns, strict=True)}
            there = numpy.isfinite(columns["loss"])
            self._cache = (self.rows, {name: column[there] for name, column in columns.items()})
        arrays: dict[str, NDArray[Any]] = self._cache[1]
        return arrays


def _merge(rows: list[tuple[float, ...]]) -> tuple[float, ...]:
    """The last step and epoch, and the means of what was measured."""
    last = rows[-1]
    return (last[0], last[1], *(_mean([row[place] for row in rows]) for place in (2, 3, 4)))


def _mean(values: list[float]) -> float:
    there = [value for value in values if value == value]
    return sum(there) / len(there) if there else float("nan")
