"""Which layers of a model are trained: lists, ranges and slices, counted from the front or, below zero, from the end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lossdoctor.language import plural, say

#: More layers than any model has: a range that is longer is a slip or a trick.
MOST = 10_000
_RANGE = re.compile(r"(-?\d{1,5})\s*(?:-|\.\.|to)\s*(-?\d{1,5})")
_ENDS = re.compile(r"(first|last|top)[\s_-]*(\d{1,5})(?:[\s_-]*layers?)?")
_SLICE = re.compile(r"(-?\d{1,5})?\s*:\s*(-?\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Layers:
    """Layers by their indexes, sorted; of `total` layers none is below zero, and where `total` is None those may be.

    `rest` is the index from which on all are meant where nobody knows how many there are, as in `20:`.
    """

    indexes: tuple[int, ...]
    total: int | None = None
    rest: int | None = None

    @property
    def count(self) -> int | None:
        """How many layers these are; None where that depends on how many there are."""
        return len(self.indexes) if self.rest is None else None

    @property
    def words(self) -> str:
        """`layers 28 to 31 of 32`, `the last 4 layers`, `layer 3 and layer 5`."""
        if self.total is not None and len(self.indexes) == self.total:
            return say("all {total} layers", total=self.total)
        of = say(" of {total}", total=self.total) if self.total is not None else ""
        if self.rest is not None:
            return say("layers from {rest} on", rest=self.rest) if self.rest else say("all layers")
        if not self.indexes:
            return say("no layer")
        if all(index < 0 for index in self.indexes) and self.indexes == tuple(range(-len(self.indexes), 0)):
            return (
                say("the last {number_of_indexes} layers", number_of_indexes=len(self.indexes))
                if len(self.indexes) > 1
                else say("the last layer")
            )
        parts = [
            str(first) if first == last else say("{first} to {last}", first=first, last=last)
            for first, last in _stretches(self.indexes)
        ]
        return plural("layer {parts}{of}", "layers {parts}{of}", len(self.indexes), parts=", ".join(parts), of=of)


def chosen(value: Any, total: int | None = None) -> Layers | None:
    """The layers that a setting names, of a model with so many; None where it names none.

    Takes `[-1, -2]`, `[20, 21]`, `"28-31"`, `"0,1,30-31"`, `"-4:"`, `"last 4"`, a single index, or "all". An index that
    the model does not have is left out.
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str) and value.strip().lower() in ("all", "none"):
        every = tuple(range(total)) if total is not None else ()
        return Layers(every, total, None if total is not None else 0) if value.strip().lower() == "all" else Layers((), total)
    if isinstance(value, str) and (named := _ENDS.fullmatch(value.strip().lower())):
        return last(int(named[2]) * (-1 if named[1] == "first" else 1), total)
    parts = [value] if isinstance(value, int) else _parts(value)
    if not parts:
        return None
    found: set[int] = set()
    rest: int | None = None
    for part in parts:
        indexes, open_from = _read(part, total)
        if indexes is None:
            return None
        found |= set(indexes)
        rest = open_from if rest is None else rest
    return Layers(tuple(sorted(found)), total, rest)


def last(count: int, total: int | None = None) -> Layers:
    """The last layers, or with a negative count the first ones, as LLaMA-Factory counts `freeze_trainable_layers`."""
    if count < 0:
        return Layers(tuple(range(min(-count, total if total is not None else MOST))), total)
    if total is None:
        return Layers(tuple(range(-min(count, MOST), 0)))
    return Layers(tuple(range(max(0, total - count), total)), total)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, str):
        joined = re.sub(r"\s*(\.\.|to|:)\s*|(?<=\d)\s+-\s+(?=-?\d)", lambda found: found[1] or "..", value.strip("[]() \t\n"))
        return [part for part in re.split(r"[,\s]+", joined) if part]
    return list(value) if isinstance(value, Iterable) else []


def _read(part: Any, total: int | None) -> tuple[Iterable[int] | None, int | None]:
    """The indexes of one part, and from where on all are meant, if nobody knows how many there are."""
    words = str(part).strip()
    if re.fullmatch(r"-?\d{1,5}", words):
        return _within((int(words),), total), None
    if match := _RANGE.fullmatch(words):
        first, end = int(match[1]), int(match[2])
        first, end = min(first, end), max(first, end)
        return _within(range(first, min(end, first + MOST) + 1), total), None
    if match := _SLICE.fullmatch(words):
        return _slice(match[1], match[2], total)
    return None, None


def _slice(first: str | None, end: str | None, total: int | None) -> tuple[Iterable[int] | None, int | None]:
    """As Python slices: the end is not meant. One that counts from both ends is not known without the number of layers."""
    begin = int(first) if first else 0
    if total is not None:
        return range(total)[slice(begin, int(end) if end else None)], None
    if end is None:
        return ((), begin) if begin >= 0 else (range(max(begin, -MOST), 0), None)
    if (begin < 0) != (int(end) < 0):
        return None, None
    return range(begin, min(int(end), begin + MOST)), None


def _within(indexes: Iterable[int], total: int | None) -> list[int]:
    """Counted from the front where it is known how many there are; those that there are not are left out."""
    if total is None:
        return list(indexes)
    return [place for index in indexes if 0 <= (place := index + total if index < 0 else index) < total]


def _stretches(indexes: tuple[int, ...]) -> list[tuple[int, int]]:
    """Neighbouring indexes as their first and last."""
    found: list[list[int]] = []
    for index in indexes:
        if found and index == found[-1][1] + 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return [(first, end) for first, end in found]
