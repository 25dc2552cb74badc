"""One logged series as arrays: its steps, values and epochs, without what a resumed branch has overwritten."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lossdoctor.comparison.broken import broke
from lossdoctor.comparison.nouns import Side
from lossdoctor.model import Record
from lossdoctor.stats import decimals, significant_digits

Array = NDArray[np.float64]
#: Values by which it is told how many digits were printed, and more digits than two runs on one machine are held to.
LOOKED_AT, MOST_DIGITS = 48, 6
#: A log repeats its losses where more than this share of the rows do, and so many are fresh.
REPEATED, FRESH = 0.2, 5


@dataclass(frozen=True)
class Series:
    """Rows of one series in the order of their steps, `before` being the step that each row begins after.

    `values` are finite, and for the training loss not 0. `beside` has other columns of the same rows, NaN where not logged.
    """

    steps: Array
    before: Array
    values: Array
    epochs: Array
    beside: dict[str, Array]
    digits: int = MOST_DIGITS
    decimals: int = 16

    @property
    def rows(self) -> int:
        return len(self.steps)

    def only(self, chosen: NDArray[np.bool_]) -> Series:
        """The rows that are chosen."""
        beside = {name: column[chosen] for name, column in self.beside.items()}
        return replace(
            self,
            steps=self.steps[chosen],
            before=self.before[chosen],
            values=self.values[chosen],
            epochs=self.epochs[chosen],
            beside=beside,
        )


def series(side: Side, name: str) -> Series | None:
    """The rows of a side that hold `name`, up to where its numbers break; None where it has no log, or no such row."""
    if side.log is None:
        return None
    kind = "train" if name == "loss" else "eval"
    rows = [record for record in side.log.records if record.kind == kind and name in record.values]
    if not rows:
        return None
    columns = ("learning_rate", "grad_norm") if kind == "train" else ()
    found = _ordered(rows, name, columns)
    sound = np.isfinite(found.values) & ((found.values != 0) | (kind == "eval"))
    end = broke(side)
    if end is not None:
        sound &= found.steps < end.step
    return found.only(sound) if sound.any() else None


def _ordered(rows: list[Record], name: str, columns: tuple[str, ...]) -> Series:
    """A step that comes again later was trained anew: the last word counts."""
    nan = float("nan")
    steps = np.array([row.step for row in rows], dtype=np.float64)
    last = np.append(np.minimum.accumulate(steps[::-1])[::-1][1:], np.inf)
    values = np.array([row.values[name] for row in rows], dtype=np.float64)
    kept = steps < last
    if name == "loss":
        kept &= ~_repeated(values)
    values = values[kept]
    epochs = np.array([nan if row.epoch is None else row.epoch for row in rows], dtype=np.float64)[kept]
    beside = {c: np.array([row.values.get(c, nan) for row in rows], dtype=np.float64)[kept] for c in columns}
    steps = steps[kept]
    gap = float(np.median(np.diff(steps))) if len(steps) > 1 else steps[0]
    before = np.append(max(0.0, steps[0] - gap), steps[:-1])
    some = [float(value) for value in values[np.isfinite(values)][:LOOKED_AT]]
    digits = min(MOST_DIGITS, max(map(significant_digits, some), default=MOST_DIGITS))
    return Series(steps, before, values, epochs, beside, digits, max(map(decimals, some), default=16))


def _repeated(values: Array) -> NDArray[np.bool_]:
    """The rows of a table that repeats the last loss beside every evaluation, until it is logged again."""
    again = np.append(False, values[1:] == values[:-1])
    table = again.mean() > REPEATED and len(values) - again.sum() >= FRESH
    return again if table else np.zeros(len(values), dtype=np.bool_)


def evaluated(one: Side, other: Side) -> list[str]:
    """The evaluation losses that both sides have, `eval_loss` first."""
    names = [_eval_losses(side) for side in (one, other)]
    return sorted(names[0] & names[1], key=lambda name: (name != "eval_loss", name))


def _eval_losses(side: Side) -> set[str]:
    records = side.log.records if side.log else ()
    return {
        name
        for record in records
        if record.kind == "eval"
        for name in record.values
        if name.startswith("eval_") and name.endswith("loss")
    }
