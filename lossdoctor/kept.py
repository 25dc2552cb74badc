"""The rows that a report keeps for drawing: all of a short run, and of a long one those that no picture may miss."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import merge
from itertools import islice
from math import inf, isfinite

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

    def extend(self, records: Sequence[Record], losses: Values, norms: Values) -> None:
        """Takes many training rows, with two of their columns."""
        self._kinds["train"].extend(list(enumerate(records, self._added + 1)), losses, norms)
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
        self._waiting.append(placed)
        self._rows_waiting += 1
        if self._rows_waiting == self._rows_each or len(self._waiting) > WAITING:
            self._choose()

    def extend(self, placed: list[Placed], levels: Values, heights: Values) -> None:
        """Takes many rows, with their two columns."""
        begin = 0
        while begin < len(placed):
            end = begin + self._rows_each - self._rows_waiting
            self._waiting += placed[begin:end]
            self._rows_waiting += len(placed[begin:end])
            if self._rows_waiting == self._rows_each or len(self._waiting) > WAITING:
                self._choose(levels[begin:end], heights[begin:end])
            begin = end

    def _choose(self, levels: Values = (), heights: Values = ()) -> None:
        """Of those that wait the telling ones; `levels` and `heights` are those of the last of them, as far as they are known."""
        telling = self._telling(self._waiting, levels, heights)
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

    def _telling(self, rows: list[Placed], levels: Values = (), heights: Values = ()) -> list[Placed]:
        """The rows that stand for these, in their order: the extremes, since whatever happened shows in them.

        Those of several parts are the extremes of the extremes of each part: it does not matter how many rows come at a time.
        """
        if self._rows_each == EACH:
            return rows
        others = rows[: len(rows) - len(levels)]
        level = [*[record.values.get(self._level) for _, record in others], *levels]
        height = [*[record.values.get(self._height) for _, record in others], *heights]
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
