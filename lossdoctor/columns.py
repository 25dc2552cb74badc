"""How the columns of preference tuning and reinforcement learning begin and end: rewards, margins, log probabilities."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from math import isfinite

from lossdoctor.model import Ends

#: Columns that every trainer logs, and that are followed elsewhere.
USUAL = frozenset(("loss", "grad_norm", "learning_rate", "epoch"))
#: A log with more columns than this is not followed in all of them.
MOST = 64
FIRST, LAST = 3, 5


class Columns:
    """The first and the last values of each column, in bounded memory."""

    def __init__(self) -> None:
        self._first: dict[str, list[float]] = {}
        self._last: dict[str, deque[float]] = {}
        self._rows: dict[str, int] = {}
        self._highest: dict[str, float] = {}

    def see(self, values: Mapping[str, float]) -> None:
        """Takes the values of the next row; those that are not finite are passed over."""
        for name, value in values.items():
            if name in USUAL or not isfinite(value):
                continue
            if name not in self._rows:
                if len(self._rows) >= MOST:
                    continue
                self._rows[name], self._first[name], self._last[name] = 0, [], deque(maxlen=LAST)
            self._rows[name] += 1
            if len(self._first[name]) < FIRST:
                self._first[name].append(value)
            self._last[name].append(value)
            self._highest[name] = max(value, self._highest.get(name, value))

    def ends(self) -> dict[str, Ends]:
        """The means of the first and of the last rows, by column."""
        return {
            name: Ends(rows, _mean(self._first[name]), _mean(self._last[name]), self._highest[name])
            for name, rows in self._rows.items()
        }


def _mean(values: Collection[float]) -> float:
    return sum(values) / len(values)
