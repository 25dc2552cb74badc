"""The rows that a report keeps for drawing: all of a short run, and of a long one those that no picture may miss."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import islice
from math import inf, isfinite
from typing import Any

from lossdoctor.model import Record

#: Rows that stand for a stretch of a long run: its lowest and highest loss, its highest gradient norm, and what was not finite.
EACH = 4
#: Stretches kept of one kind of row; when there are more, neighbours become one.
STRETCHES = 1000
#: Rows of a stretch that wait to be chosen from.
WAITING = 64
#: Records of instruments: the first ones tell where it began.
PROBES = 512
#: Summaries kept: every training that was resumed has one more.
SUMMARIES = 64

Placed = tuple[int, Record]
Values = Sequence[float | None]


class Kept:
    """At most 4,096 training rows and as many evaluations, however many are added."""

    def __init__(self) -> None:
        self._added = 0
        self._kinds = {"train": _Thinned("loss", "grad_norm"), "eval": _Thinned("eval_loss", "eval_loss")}
        self._probes: list[Placed] = []
        self._summaries: deque[Placed] = deque(maxlen=SUMMARIES)

    def add(self, record: Record) -> None:
        """Takes the next record."""
        self._added += 1
        kind = self._kinds.get(record.kind)
        if kind is not None:
            kind.add((self._added, record))
        elif record.kind == "summary":
            self._summaries.append((self._added, record))
        elif len(self._probes) < PROBES:
            self._probes.append((self._added, record))

    def extend(self, records: Sequence[Record], losses: Any, norms: Any) -> None:
        """Takes many training rows, all of them finite, with the arrays of two columns; `norms` may be None."""
        self._kinds["train"].extend(records, self._added + 1, losses, norms)
        self._added += len(records)

    def records(self) -> tuple[Record, ...]:
        """What is kept, in the order it was added."""
        ordered = merge(
            *(kind.rows() for kind in self._kinds.values()), self._probes, self._summaries, key=lambda placed: placed[0]
        )
        return tuple([record for _, record in ordered])


class _Thinned:
    def __init__(self, level: str, height: str) -> None:
        self._level, self._height = level, height
        self._stretches: list[list[Placed]] = []
        self._rows_each = EACH
        self._waiting: list[Placed] = []
        self._rows_waiting = 0

    def add(self, placed: Placed) -> None:
        self._wait_for([placed])

    def extend(self, records: Sequence[Record], first: int, levels: Any, heights: Any) -> None:
        """Takes many rows, the first of which has this place, with their two columns."""
        begin, end = 0, 0
        while begin < len(records):
            whole = min((len(records) - begin) // self._rows_each, STRETCHES + 1 - len(self._stretches))
            if self._rows_waiting or self._rows_each == EACH or not whole:
                end = min(len(records), begin + self._rows_each - self._rows_waiting)
                self._wait_for(list(enumerate(records[begin:end], first + begin)))
            else:
                end = begin + whole * self._rows_each
                for telling in self._extremes(levels[begin:end], None if heights is None else heights[begin:end]):
                    places = sorted({begin + place for place in telling})
                    self._stretches.append([(first + place, records[place]) for place in places])
                if len(self._stretches) > STRETCHES:
                    self._halve()
            begin = end

    def _wait_for(self, placed: list[Placed]) -> None:
        self._waiting += placed
        self._rows_waiting += len(placed)
        if self._rows_waiting == self._rows_each or len(self._waiting) > WAITING:
            self._choose()

    def _extremes(self, levels: Any, heights: Any) -> Iterator[tuple[int, ...]]:
        """What `_telling` chooses of every stretch of finite rows, as places: the lowest, the highest, the greatest height."""
        parts = levels.reshape(-1, self._rows_each)
        begins = range(0, len(levels), self._rows_each)
        high = [0] * len(begins) if heights is None else heights.reshape(-1, self._rows_each).argmax(axis=1).tolist()
        for begin, *found in zip(begins, parts.argmin(axis=1).tolist(), parts.argmax(axis=1).tolist(), high, strict=True):
            yield tuple(begin + place for place in found)

    def _choose(self) -> None:
        """Of those that wait the telling ones."""
        telling = self._telling(self._waiting)
        if self._rows_waiting < self._rows_each:
            self._waiting = telling
            return
        self._stretches.append(telling)
        self._waiting, self._rows_waiting = [], 0
        if len(self._stretches) > STRETCHES:
            self._halve()

    def rows(self) -> list[Placed]:
        return [placed for stretch in self._stretches for placed in stretch] + self._waiting

    def _halve(self) -> None:
        """Every two neighbours become one; the last one waits on where it has none."""
        pairs, self._stretches = self._stretches, []
        self._rows_each *= 2
        for place in range(0, len(pairs) - 1, 2):
            self._stretches.append(self._telling(pairs[place] + pairs[place + 1]))
        if len(pairs) % 2:
            self._waiting, self._rows_waiting = pairs[-1], self._rows_each // 2

    def _telling(self, rows: list[Placed]) -> list[Placed]:
        """The rows that stand for these, in their order: the extremes, since whatever happened shows in them.

        Those of several parts are the extremes of the extremes of each part: it does not matter how many rows come at a time.
        """
        if self._rows_each == EACH:
            return rows
        level = [record.values.get(self._level) for _, record in rows]
        height = [record.values.get(self._height) for _, record in rows]
        level_whole, height_whole = _whole(level), _whole(height)
        low, high = _place(level, min, inf, level_whole), _place(level, max, -inf, level_whole)
        chosen = {low, high, _place(height, max, -inf, height_whole)}
        if not (level_whole and height_whole):
            lost = (place for place, pair in enumerate(zip(level, height, strict=True)) if not all(map(_finite, pair)))
            chosen |= set(islice(lost, 1))
        return [rows[place] for place in sorted(chosen)]


def _place(values: Values, choose: Callable[[list[float]], float], instead: float, whole: bool) -> int:
    """Where the chosen one of the finite values is."""
    if whole:
        return values.index(choose(values))  # type: ignore[arg-type]
    finite = [value if value is not None and isfinite(value) else instead for value in values]
    return finite.index(choose(finite))


def _whole(values: Values) -> bool:
    """Whether all are there and finite, where that shows at once: a sum may overflow."""
    return None not in values and isfinite(sum(values))  # type: ignore[arg-type]


def _finite(value: float | None) -> bool:
    return value is None or isfinite(value)
