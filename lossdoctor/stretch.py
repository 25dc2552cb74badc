"""Sound rows of a long finished log, judged together as columns.

Most rows of a long log tell no detector anything, and finding that out row by row takes most of the time. A stretch is up to
some thousand training rows as arrays, with what `Vitals` would say of each: level, best level, noise. It ends before the first
row that is not sound in the sense of `Vitals.sound`, or that a detector which is awake has to see itself (`passing.py`).
The rows before it are passed over: vitals and detectors go on to the state, to the last bit, that one row after the other
would have led to. All other rows are taken one by one, and so is whatever is unusual: a row with other columns, a window that
is not full yet, a detector that knows no stretches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.curve import BEST_EVERY, BEST_MOST, BIG, LEAST_NOISE, LEAST_NOISE_OF_ALL, MEMORY, WINSOR
from lossdoctor.model import Record
from lossdoctor.rates import DIGITS
from lossdoctor.stats import MAD_TO_SD, noise_of_bends
from lossdoctor.vitals import EPOCH_BACK, SCALERS, STRIKING, Vitals

#: Rows with a loss after which the windows of the vitals are full.
BEGINS = 128
#: Names that the columns of step and epoch have here.
POSITION = ("step", "epoch")
#: Fewer rows than this are not worth the arrays.
LEAST = 64

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Places = NDArray[np.intp]
ALL = slice(None)


class Stretch:
    """Rows running as columns, each with what the vitals say of it.

    `columns` are the lists of the rows' own values, `step` and `epoch` (all None where there is none) among them; `norm` and
    `rate` are None where the rows have none. Attributes with one value per row are named as in `Vitals` and `Curve`.
    """

    def __init__(self, vitals: Vitals, columns: dict[str, list[Any]]) -> None:
        self.vitals = vitals
        self.columns = columns
        self.steps: NDArray[np.int64] = np.array(columns["step"])
        self.loss: Floats = np.array(columns["loss"])
        self.norm: Floats | None = np.array(columns["grad_norm"]) if "grad_norm" in columns else None
        self.rate: Floats | None = np.array(columns["learning_rate"]) if "learning_rate" in columns else None
        self.rows = len(self.steps)
        self._memory = vitals.curve.memory()
        self._see_level()
        self._noise_seen = False
        if self.rate is not None:
            self.rate_before = self.previous(vitals.rates.value, self.rate)
            self.slopes = (self.rate - self.rate_before) / vitals.window
            self.falls = bool(self.rate[0] < self.rate_before[0])

    def until(self, bad: Flags) -> int:
        """How many rows there are before the first bad one."""
        first = int(bad.argmax())
        return first if bad[first] else len(bad)

    def first(self, rows: int) -> Stretch | None:
        """The first of these rows alone; None where they are too few."""
        if rows < LEAST:
            return None
        whole = rows == self.rows
        stretch = self if whole else Stretch(self.vitals, {name: column[:rows] for name, column in self.columns.items()})
        stretch._see_noise()
        return stretch

    @staticmethod
    def previous(before: float | None, values: Floats) -> Floats:
        """What stands before each value; `before` the first, None being NaN."""
        return np.concatenate([[np.nan if before is None else before], values[:-1]])

    # What the vitals say of each row.

    @staticmethod
    def middles(before: Iterable[float], values: Floats, width: int, places: Places | slice = ALL) -> Floats:
        """The median of each value and the ones before it, `width` in all (odd); the first need as many from `before`."""
        joined = np.concatenate([np.array(list(before))[-width + 1 :], values])
        return np.sort(_windows(joined, width)[places], axis=1)[:, width // 2]

    @staticmethod
    def lowest_levels(before: Iterable[float], values: Floats, lowest: float, rows: int) -> tuple[Floats, int | None]:
        """The lowest median of 31 rows, looked at in every eighth row, as of each row; and where it was, if among these.

        `before` are the values before, `lowest` is the level and `rows` the number of rows up to them.
        """
        looks = np.arange(-(rows + 1) % BEST_EVERY, len(values), BEST_EVERY)
        levels = Stretch.middles(before, values, BEST_MOST, looks)
        falling = np.minimum.accumulate(np.concatenate([[lowest], levels]))
        seen = (rows + 1 + np.arange(len(values))) // BEST_EVERY - rows // BEST_EVERY
        return falling[seen], int(looks[levels.argmin()]) if falling[-1] < lowest else None

    @property
    def scale(self) -> Floats:
        """As in `Curve`."""
        low = np.minimum(self.recent, self.best)
        scale: Floats = np.maximum(np.abs(self.recent), 0.2 * (self.vitals.curve.start - low))
        return scale

    def scale_at(self, level: Floats) -> Floats:
        """As in `Curve`."""
        scale: Floats = np.maximum(np.abs(level), 0.2 * (self.vitals.curve.start - level))
        return scale

    def _see_level(self) -> None:
        curve, memory = self.vitals.curve, self._memory
        self.recent = self.middles(memory.losses, self.loss, 5)
        self.recent_before = self.previous(curve.recent, self.recent)
        self.best, self.best_place = self.lowest_levels(memory.losses, self.loss, curve.best or 0.0, curve.rows)
        self.lowest = np.minimum(curve.start, self.best)

    def _see_noise(self) -> None:
        """Only of a stretch that is to be judged: which rows are sound shows without it."""
        if self._noise_seen:
            return
        self._noise_seen = True
        curve, memory = self.vitals.curve, self._memory
        losses = np.concatenate([memory.losses[-2:], self.loss])
        self.bends = np.concatenate([memory.bends, np.abs(losses[2:] - 2 * losses[1:-1] + losses[:-2])])
        self.residual = self.loss - self.recent_before
        above = self.residual > 0
        self.above = np.concatenate([memory.above, self.residual[above]])
        self._above_seen = np.cumsum(above)
        self._remembered = np.zeros(MEMORY + self.rows)
        for row, residual in memory.largest:
            if row > curve.rows - MEMORY:
                self._remembered[row - curve.rows + MEMORY - 1] = residual
        self._remembered[MEMORY:] = np.where(above, self.residual, 0.0)
        big = np.flatnonzero(self.residual > BIG * np.abs(self.recent_before))
        self._remembered[MEMORY + big] = np.minimum(self.residual[big], WINSOR * self.noise(big, self.recent_before))

    def noise(self, places: Places, level: Floats) -> Floats:
        """`Curve.noise` at these rows, where the levels of all rows are `level`."""
        if not len(places):
            return level[:0]
        memory = self._memory
        bends = np.sort(_windows(self.bends, len(memory.bends))[places + 1], axis=1)
        jitter = noise_of_bends(_middle(bends))  # type: ignore[arg-type]
        above = np.sort(_windows(self.above, len(memory.above))[self._above_seen[places]], axis=1)
        noise = np.maximum(jitter, np.minimum(MAD_TO_SD * _middle(above), 2 * jitter))
        found: Floats = np.maximum(np.maximum(noise, LEAST_NOISE * np.abs(level[places])), LEAST_NOISE_OF_ALL)
        return found

    def largest_residual(self, places: Places) -> Floats:
        """`Curve.largest_residual` at these rows."""
        found: Floats = _windows(self._remembered, MEMORY)[places + 1].max(axis=1)
        return found

    def residuals(self) -> list[tuple[int, float]]:
        """The residuals to remember, each with its row: those of the last 256 that no later one reaches."""
        kept = self._remembered[max(MEMORY, self.rows) :]
        later = np.maximum.accumulate(np.concatenate([[0.0], kept[:0:-1]]))[::-1]
        first = self.vitals.curve.rows + self.rows - len(kept) + 1
        return [(first + place, float(kept[place])) for place in np.flatnonzero(kept > later).tolist()]

    # Which rows are sound.

    def unsound(self, end: float) -> Flags:
        """The rows that are not sound, and those that would change what the vitals take for granted; none is from `end` on."""
        vitals, loss = self.vitals, self.loss
        bad: Flags = ~np.isfinite(loss) | (loss == 0.0) | (loss > STRIKING * self.recent_before)
        bad |= (np.diff(self.steps, prepend=vitals.step) != vitals.window) | (self.steps >= end)
        if vitals.run.resumed_at:
            bad |= np.isin(self.steps, vitals.run.resumed_at)
        if self.columns["epoch"][0] is not None:
            epochs = np.array(self.columns["epoch"])
            bad |= ~(epochs >= self.previous(vitals.epoch, epochs) - EPOCH_BACK)
        if self.norm is not None:
            before = self.previous(vitals.norms[-1] if vitals.norms else None, self.norm)
            bad |= ~np.isfinite(self.norm) | (self.norm <= 0) | (self.norm == before)
        if self.rate is not None:
            bad |= self._moves(self.rate)
        elif self.norm is None:
            bad |= loss == self.previous(vitals.last_clean, loss)
        return bad

    def _moves(self, rate: Floats) -> Flags:
        """The rows whose rate moves otherwise than that of the first row: all fall, or all stay."""
        rates, window = self.vitals.rates, self.vitals.window
        if self.falls:
            moved: Flags = (rate < self.rate_before) & np.isfinite(rate) & (rate != 0.0) & (rates.digits >= DIGITS)
            return ~moved
        stays: Flags = (rate == self.rate_before) & (rate != 0.0)
        after = copy(rates)
        after.stay(self.rows, int(self.steps[0]))
        if after.frozen(int(self.steps[-1]), window):
            stays[:] = False
        return ~stays


def _windows(values: Floats, width: int) -> Floats:
    """Every run of so many neighbours, as a view (numpy's own function for it takes ten times as long)."""
    (step,) = values.strides
    return np.ndarray((len(values) - width + 1, width), values.dtype, values, strides=(step, step))


def _middle(ordered: Floats) -> Floats:
    """The median of each line of an even number of values in order."""
    half = ordered.shape[1] // 2
    middle: Floats = (ordered[:, half - 1] + ordered[:, half]) / 2
    return middle


def begin(vitals: Vitals, records: Sequence[Record], end: float) -> Stretch | None:
    """The sound rows that these records begin with, before the step `end`; None where no stretch begins."""
    if not _ready(vitals) or (columns := _columns(records)) is None:
        return None
    stretch = Stretch(vitals, columns)
    if stretch.steps.dtype.kind != "i":  # they are too large
        return None
    return stretch.first(stretch.until(stretch.unsound(end)))


def _ready(vitals: Vitals) -> bool:
    """Whether a stretch may begin: the windows are full, the last row was sound, and nothing special goes on."""
    return (
        vitals.sound
        and vitals.supervised
        and vitals.curve.rows >= BEGINS
        and vitals.curve.full
        and vitals.evenly
        and not vitals.run.watched
    )


def _columns(records: Sequence[Record]) -> dict[str, list[Any]] | None:
    """The columns of the training rows that these records begin with; None where they are of other kinds, or not numbers."""
    names = records[0].values.keys()
    if "loss" not in names or names & {*SCALERS, *POSITION}:
        return None
    others = (place for place, row in enumerate(records) if row.kind != "train" or len(row.values) != len(names))
    values = [record.values for record in records]
    if {record.kind for record in records} != {"train"} or set(map(len, values)) != {len(names)}:
        records = records[: next(others)]
        values = values[: len(records)]
    if len(records) < LEAST:
        return None
    try:
        columns: dict[str, list[Any]] = {name: [row[name] for row in values] for name in names}
    except KeyError:
        return None
    if set(map(type, chain.from_iterable(columns.values()))) != {float}:
        return None
    columns["step"], columns["epoch"] = [record.step for record in records], [record.epoch for record in records]
    epochs = set(map(type, columns["epoch"]))
    plain = set(map(type, columns["step"])) == {int} and (epochs == {float} or epochs == {type(None)})
    return columns if plain else None
