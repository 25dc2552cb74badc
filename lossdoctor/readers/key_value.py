"""Lines of names and numbers, as training scripts print them: `step=275  loss=5.82`, `iter 10: loss 2.1, time 13ms`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import NamedTuple

from lossdoctor.facts.canonical import translate
from lossdoctor.model import Log
from lossdoctor.parsing import deepspeed_lines
from lossdoctor.parsing.printed_lines import Row, changed, logs
from lossdoctor.parsing.printed_pairs import Line, Pairs, lines
from lossdoctor.parsing.rows import emptied
from lossdoctor.parsing.source import Source

KIND = "key_value"
#: Readers of lines that know more of their own; whatever one of them recognises is its.
PARTICULAR = ("trainer_stdout", "megatron", "torchtune", "mmengine", "verl", "progress_bar")
#: Lines of the same shape that make a log; fewer may be anything.
ENOUGH = 3
#: So many lines with the word are looked at before a text is given up.
MOST_TRIED = 10_000
#: An epoch that is named on a line of its own, and how far before a row it is looked for.
HEADING = re.compile(r"^[^\w\n]{0,40}(?:\w{1,20} )?epoch[ :#\[]{0,3}(\d{1,6})(?:[ ]?(?:/|of)[ ]?(\d{1,6}))?\b", re.I | re.M)
FAR = 2_000
#: The same for a step, with its row in the lines below: `[batch=10/4800]:`, `INFO [step=10/4800,epoch=1]`.
STEP = re.compile(
    r"\[(?:epoch=\d{1,6}(?:/\d{1,6})?\]\[)?(?:step|batch)=(\d{1,12})(?:/(\d{1,12}))?(?:,[^\]\n]{0,40})?\]:?[ \t\r]{0,4}$", re.M
)


class Shape(NamedTuple):
    """The lines of one kind: how many, whether they say where they belong, what they have, and whether anything differs."""

    lines: int
    placed: bool
    trained: bool
    evaluated: bool
    differ: bool

    @property
    def rows(self) -> bool:
        """Whether these lines are enough to be a log."""
        return self.differ and self.lines >= ENOUGH


def recognise(source: Source) -> bool:
    """Several lines have the same shape with a loss in it, and no other reader of lines knows more."""
    text = source.text
    if not any(word in text for word in ("loss", "Loss", "LOSS")) or not _shapes(lines(text, MOST_TRIED)):
        return False
    others = (import_module(f"lossdoctor.readers.{name}") for name in PARTICULAR)
    return not any(other.recognise(source) for other in others)


def read(source: Source) -> list[Log]:
    """Every run in the text.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    text = source.take()
    found = list(lines(text))
    shapes = _shapes(found)
    trained = [shape for shape in shapes if shapes[shape].trained]
    main = max(trained, key=lambda shape: (shapes[shape].placed, shapes[shape].lines), default=None)
    counter = _Counter(text)
    matching = (line for line in emptied(found) if line.pairs.shape in shapes)
    rows = [row for line in matching if (row := counter.row(line, main is None or line.pairs.shape == main))]
    known = translate({"max_steps": counter.total, "num_train_epochs": counter.epochs or None}, KIND)
    several = list(_last_of_each(emptied(rows)))
    stays = sum(map(_evaluated, changed(several))) * 2 < sum(map(_evaluated, several))
    fewer = changed(emptied(several)) if stays else emptied(several)
    scaled, told = deepspeed_lines.scaled(text, fewer)
    return logs(KIND, source.name, text, emptied(scaled), {**known, **told})


def _evaluated(row: Row) -> bool:
    return any(name.startswith("eval_") for name in row.values)


def _shapes(found: Iterable[Line]) -> dict[tuple[str, ...], Shape]:
    """The kinds of lines that are rows. Lines that name no step must differ: the same setting may be printed many times."""
    seen: dict[tuple[str, ...], list[Pairs]] = {}
    counts: dict[tuple[str, ...], int] = {}
    for line in found:
        shape = line.pairs.shape
        counts[shape] = counts.get(shape, 0) + 1
        if len(seen.setdefault(shape, [])) < 20:
            seen[shape].append(line.pairs)
    told = {shape: _told(some, counts[shape]) for shape, some in seen.items()}
    if not any(shape.rows for shape in told.values()):
        return {}
    return {shape: one for shape, one in told.items() if one.rows or (one.placed and one.evaluated)}


def _told(some: list[Pairs], lines: int) -> Shape:
    placed = some[0].step is not None or some[0].epoch is not None
    places = {(pairs.step, pairs.epoch) for pairs in some}
    values = {tuple(map(str, pairs.values.values())) for pairs in some}
    trained, evaluated = ("loss" in some[0].values, "eval_loss" in some[0].values)
    return Shape(lines, placed, trained, evaluated, len(places) > 1 or len(values) > 1 or (not placed and "nan" in str(values)))


class _Counter:
    """Steps that may begin anew in each epoch; how many there will be is known once all lines are counted."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.start = 0
        self.headed = "[step=" in text or "[batch=" in text
        self.before = self.last = self.steps = self.epochs = 0
        self.epoch: float | None = None
        self.first: float | None = None  # 0 where epochs are counted from 0
        self.several = False  # epochs
        self.unit = ""  # by what the rows of training count
        self.units: tuple[str, ...] = ()  # and what else stands in them

    def row(self, line: Line, main: bool) -> Row | None:
        """The row of a line; one of another shape than the rows of training tells of an evaluation, or nothing."""
        pairs = line.pairs
        values = {name: value for name, value in pairs.values.items() if main or name.startswith("eval_")}
        if not values:
            return None
        self.epochs = pairs.epochs or self.epochs
        place: dict[str, float] = {} if pairs.epoch is None else {"epoch": self._within(pairs.epoch, pairs.share)}
        if main:
            self.unit, self.units = pairs.unit, pairs.shape
        if pairs.step is None and main and self.headed:
            place |= self._heading(line)
        if pairs.step is not None and (pairs.unit == self.unit or pairs.unit not in self.units):
            place["step"] = self._step(pairs.step, self._epoch(line), pairs.steps)
        elif pairs.step is not None:  # of batches, where the rows count optimizer steps
            place["step"] = self.before + self.last
        return Row(line.start, {**place, **values})

    def _within(self, epoch: float, share: float | None) -> float:
        """The epoch of a row; with the share of it that is done, those that are counted from 1 are one less."""
        if share is None:
            return epoch
        if self.first is None:
            self.first = min(epoch, 1.0)
        return epoch - self.first + share

    def _heading(self, line: Line) -> dict[str, float]:
        """The step in a heading between the row before and this one."""
        begin, self.start = max(self.start, line.start - FAR), line.start
        headings = list(STEP.finditer(self.text, begin, line.start))
        return {"step": self._step(int(headings[-1][1]), None, int(headings[-1][2] or 0) or None)} if headings else {}

    def _epoch(self, line: Line) -> float | None:
        """The epoch in a line, or in a heading between the row before and this one."""
        begin, self.start = max(self.start, line.start - FAR), line.start
        if line.pairs.epoch is not None:
            return line.pairs.epoch
        headings = list(HEADING.finditer(self.text, begin, line.start))
        if not headings:
            return None
        self.epochs = int(headings[-1][2] or 0) or self.epochs
        return float(headings[-1][1])

    def _step(self, step: int, epoch: float | None, steps: int | None) -> int:
        if epoch is not None and self.epoch is not None and epoch != self.epoch:
            self.several = True
            if epoch < self.epoch:
                self.before = 0  # another run
            elif step <= self.last:
                self.before += steps or self.last
        self.steps = steps or self.steps
        self.epoch, self.last = self.epoch if epoch is None else epoch, step
        return self.before + step

    @property
    def total(self) -> int | None:
        """The steps of the whole run; None where it is not clear whether the total is that of an epoch."""
        if self.before:
            return self.steps * self.epochs or None
        return self.steps or None if self.several or self.epoch is None else None


def _last_of_each(rows: Iterable[Row]) -> Iterator[Row]:
    """One row for each step: those before the last are of batches, or of other ranks; one that has less sums up an epoch."""
    waiting: Row | None = None
    trained: object = None  # the step of the last row of training
    for row in rows:
        same = waiting is not None and _place(row) == _place(waiting)
        if waiting is not None and same and row.values.keys() >= waiting.values.keys():
            waiting = row
        elif "loss" not in row.values or _place(row) != trained:
            if waiting is not None:
                yield waiting
            waiting = row
        trained = _place(row) if "loss" in row.values else trained
    if waiting is not None:
        yield waiting


def _place(row: Row) -> object:
    """The step of a row; itself where it has none, since nothing tells that another is of the same."""
    return row.values.get("step", (row.start,))
