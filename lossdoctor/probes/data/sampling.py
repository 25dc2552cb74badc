"""A bounded sample of the examples, evenly spread over all of them, and what is counted on the way through."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossdoctor.model import LossDoctorError
from lossdoctor.probes.data import column_rows, text_rows
from lossdoctor.probes.data.place import files_of
from lossdoctor.probes.data.shapes import Shape, content_of, empty, shape_of

#: Examples that are made into tokens: a fault in 1 of 100 is among them with 99 %.
MOST = 500
#: Characters that are made into tokens, some ten seconds of work, and that are kept while the sample is drawn.
MOST_CHARACTERS = 8_000_000
MOST_KEPT = 256_000_000
#: Rows from the first on that are parsed and compared with each other: a hundred bytes of memory each.
MOST_COMPARED = 100_000
#: Rows from which the shape is told.
FIRST = 20


@dataclass
class Sample:
    """The chosen examples with their numbers from 1, and the counts of all that were passed."""

    source: str
    rows: int = 0
    chosen: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    shape: Shape | None = None
    columns: tuple[str, ...] = ()
    compared: int = 0
    repeated: int = 0
    most_repeated: int = 0
    first_repeated: int = 0
    empty: int = 0
    first_empty: int = 0
    same_pairs: int = 0


def drawn(path: Path) -> Sample:
    """The sample of what lies at `path`.

    Raises:
        LossDoctorError: it cannot be read, or has no examples.
    """
    kind, files = files_of(path)
    spread, counts = _Spread(), _Counts()
    read = column_rows.rows if kind in ("parquet", "arrow") else text_rows.rows
    for file in files:
        for raw in read(file, kind):
            spread.add(raw)
            if spread.rows <= MOST_COMPARED:
                counts.add(text_rows.parsed(raw, file, spread.rows))
    if not spread.rows:
        raise LossDoctorError(f"{path} has no examples in it")
    sample = counts.told(Sample(path.name or str(path), spread.rows))
    sample.chosen = [(number, text_rows.parsed(raw, path, number)) for number, raw in spread.chosen()]
    return sample


class _Spread:
    """Every so many rows, the distance doubled whenever too many are kept."""

    def __init__(self) -> None:
        self.rows = self.size = 0
        self.step = 1
        self.kept: list[tuple[int, text_rows.Raw, int]] = []

    def add(self, raw: text_rows.Raw) -> None:
        self.rows += 1
        if (self.rows - 1) % self.step:
            return
        size = len(raw) if isinstance(raw, bytes) else sum(len(str(value)) for value in raw.values())
        self.kept.append((self.rows, raw, size))
        self.size += size
        while len(self.kept) > 2 * MOST or (self.size > MOST_KEPT and len(self.kept) > 1):
            self.kept, self.step = self.kept[::2], 2 * self.step
            self.size = sum(size for _, _, size in self.kept)

    def chosen(self) -> Iterator[tuple[int, text_rows.Raw]]:
        """The sample, thinned out evenly to what can be made into tokens in a few seconds."""
        kept = self.kept
        if len(kept) > MOST:
            kept = [kept[round(place * (len(kept) - 1) / (MOST - 1))] for place in range(MOST)]
        while len(kept) > FIRST and sum(size for _, _, size in kept) > MOST_CHARACTERS:
            kept = kept[::2]
        return ((number, raw) for number, raw, _ in kept)


class _Counts:
    """Repeated and empty rows among the first ones."""

    def __init__(self) -> None:
        self.first: list[dict[str, Any]] = []
        self.shape: Shape | None = None
        self.seen: Counter[bytes] = Counter()
        self.rows = self.empty = self.first_empty = self.first_repeated = self.same_pairs = 0

    def add(self, row: dict[str, Any]) -> None:
        if self.rows + len(self.first) < FIRST:
            self.first.append(row)
        else:
            self._settle()
            self._add(row)

    def _settle(self) -> None:
        """The first rows, once their shape is known."""
        if self.first:
            self.shape, self.columns = shape_of(self.first), tuple(self.first[0])
            waiting, self.first = self.first, []
            for row in waiting:
                self._add(row)

    def _add(self, row: dict[str, Any]) -> None:
        self.rows += 1
        shape = self.shape
        key = _fingerprint([row.get(name) for name in shape.columns] if shape else row)
        if shape is not None:
            if empty(content_of(row, shape, True), shape):
                self.empty += 1
                self.first_empty = self.first_empty or self.rows
                return  # that rows without anything are alike is no news
            self.same_pairs += bool(shape.rejected and row.get(shape.answer) == row.get(shape.rejected))
        self.seen[key] += 1
        if self.seen[key] == 2:
            self.first_repeated = self.first_repeated or self.rows

    def told(self, sample: Sample) -> Sample:
        self._settle()
        sample.shape, sample.columns, sample.compared = self.shape, self.columns, self.rows
        sample.empty, sample.first_empty, sample.same_pairs = self.empty, self.first_empty, self.same_pairs
        sample.repeated = sum(self.seen.values()) - len(self.seen)
        sample.most_repeated, sample.first_repeated = max(self.seen.values(), default=0), self.first_repeated
        return sample


def _fingerprint(value: Any) -> bytes:
    try:
        text = json.dumps(value, default=str, sort_keys=True)
    except (RecursionError, TypeError, ValueError):
        text = str(type(value)) + str(id(value))  # like no other
    return hashlib.blake2b(text.encode(), digest_size=12).digest()
