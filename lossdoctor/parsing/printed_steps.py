"""The steps of rows that were printed without them: from the progress bars beside the rows, or else from their epochs."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from lossdoctor.language import say
from lossdoctor.parsing.rows import number
from lossdoctor.stats import median

#: How far the steps in an epoch may differ between bars that are right: epochs are printed with 2 decimals, or 4 digits.
AGREE = 0.03
#: Rows with a bar of their own of which the others are told; fewer may be chance.
ENOUGH = 3
#: More steps in an epoch were told from numbers that are none.
MOST_STEPS = 1e12


class Bar(NamedTuple):
    """A progress bar: how far, of how many."""

    done: int
    total: int


class Printed(NamedTuple):
    """A row as it stood in the text: its place, the bar on its own line, and the first ones between it and the next row."""

    values: dict[str, Any]
    start: int
    glued: Bar | None
    after: tuple[Bar, ...]
    whole: bool


class Numbered(NamedTuple):
    """The rows, with a `step` where one could be told, the total of the training's bar, and what had to be estimated."""

    rows: list[dict[str, Any]]
    total: int | None
    notes: list[str]


def number_steps(printed: Sequence[Printed], total: int | None = None, epochs: float | None = None) -> Numbered:
    """Gives the rows of one run their steps.

    When a row is printed, tqdm draws the bar of training anew right after it: that bar has the step of the row. Several rows
    without a bar between them came late, out of a buffer: the bar after them tells nothing of the others. What the bars do not
    tell is told by the epochs, once it is known how many steps one epoch has.
    """
    rows = [row.values for row in printed]
    total = _total(printed) or total
    if any("step" in row or "global_step" in row for row in rows):
        stated = _stated_total(rows) or total
        return Numbered([{name: value for name, value in row.items() if name != "max_steps"} for row in rows], stated, [])
    exact, late = _by_bars(printed, total)
    trained = [place for place, row in enumerate(rows) if "loss" in row]
    known = [place for place in trained if place in exact]
    if len(known) < len(trained):
        per_epoch = _steps_per_epoch(rows, exact, late, total, epochs)
        if per_epoch is None and len(known) * 2 < len(trained):
            return Numbered(rows, total, [])
        missing = [place for place in trained if place not in exact]
        exact |= _estimated(rows, missing, exact, per_epoch)
        if len(missing) > 1 or not known:
            return Numbered(
                _with_steps(rows, exact),
                total,
                [say("steps are not printed: those without a progress bar are told from the epochs")],
            )
    return Numbered(_with_steps(rows, exact), total, [])


def _with_steps(rows: list[dict[str, Any]], steps: dict[int, int]) -> list[dict[str, Any]]:
    return [{**row, "step": steps[place]} if place in steps else row for place, row in enumerate(rows)]


def _total(printed: Sequence[Printed]) -> int | None:
    """The total of the bar that follows most rows of training."""
    totals: Counter[int] = Counter()
    for row in printed:
        first = row.glued or next(iter(row.after), None)
        if first is not None and "loss" in row.values:
            totals[first.total] += 1
    return max(totals, key=lambda total: (totals[total], total), default=None)


def _stated_total(rows: list[dict[str, Any]]) -> int | None:
    found = number(next((row["max_steps"] for row in rows if "max_steps" in row), None))
    return int(found) if found is not None and found > 0 else None


def _by_bars(printed: Sequence[Printed], total: int | None) -> tuple[dict[int, int], dict[int, int]]:
    """Place of a row → its step, where its own bar tells; and for the last of several that came late, the step by then."""
    exact: dict[int, int] = {}
    late: dict[int, int] = {}
    alone, before = True, None  # whether there was a bar between this row and the one before, and the one that came with it
    for place, row in enumerate(printed):
        after = next((bar.done for bar in row.after if bar.total == total), None)
        last = bool(row.after) or place == len(printed) - 1
        if row.glued is not None and row.glued.total == total:
            before = row.glued.done
            if last and alone:
                exact[place] = before
        elif after is not None and alone:
            exact[place] = after
        if last and not alone and (by_then := after or before):
            late[place] = by_then
        alone = bool(row.after)
        before = None if alone else before
    return exact, late


def _steps_per_epoch(
    rows: list[dict[str, Any]], exact: dict[int, int], late: dict[int, int], total: int | None, epochs: float | None
) -> float | None:
    """From rows with a bar; from what the Trainer stated at its begin or in its summary; from the bars after late rows."""
    ratios = _ratios(rows, exact)
    if len(ratios) >= ENOUGH:
        middle = median(ratios)
        if sum(abs(ratio - middle) <= AGREE * middle for ratio in ratios) * 2 > len(ratios):
            return middle
    if total and epochs and 0 < total / epochs < MOST_STEPS:
        return total / epochs
    summary = next((row for row in reversed(rows) if "train_runtime" in row), None)
    if summary is None:
        return min(_ratios(rows, late), default=None)
    runtime, pace = (number(summary.get(name)) for name in ("train_runtime", "train_steps_per_second"))
    last = number(summary.get("epoch"))
    steps = total or (runtime * pace if runtime and pace else None)
    return steps / last if steps and last and 0 < steps / last < MOST_STEPS else None


def _ratios(rows: list[dict[str, Any]], steps: dict[int, int]) -> list[float]:
    epochs = ((step, number(rows[place].get("epoch"))) for place, step in steps.items())
    return [step / epoch for step, epoch in epochs if epoch is not None and 0.01 < epoch < 1e9 and step > 0]


def _estimated(
    rows: list[dict[str, Any]], missing: Sequence[int], exact: dict[int, int], per_epoch: float | None
) -> dict[int, int]:
    """The steps of the rows without a bar: whole multiples of the logging interval where that agrees with all epochs."""
    if per_epoch is None:
        told_at = sorted(exact)
        return {place: step for place in missing if (step := _between(place, exact, told_at)) is not None}
    epochs = {place: number(rows[place].get("epoch")) for place in missing}
    told = {place: per_epoch * epoch for place, epoch in epochs.items() if epoch is not None and 0 <= epoch < 1e9}
    interval = _interval(rows, per_epoch)
    return {place: _snapped(step, interval, per_epoch) for place, step in told.items()}


def _interval(rows: list[dict[str, Any]], per_epoch: float) -> int | None:
    """The steps between two rows of training, from the epochs of the first and the last of those that only rise."""
    epochs = [epoch for row in rows if "loss" in row and (epoch := number(row.get("epoch"))) is not None and epoch < 1e9]
    if len(epochs) < 2 or any(late < early for early, late in pairwise(epochs)):
        return None
    each = (epochs[-1] - epochs[0]) / (len(epochs) - 1) * per_epoch
    return round(each) if each >= 1 and abs(each - round(each)) < 0.1 + AGREE * each else None


def _snapped(step: float, interval: int | None, per_epoch: float) -> int:
    """The multiple of the interval that is meant, unless the row is further from it than its rounded epoch allows."""
    if interval:
        multiple = round(step / interval) * interval
        if abs(multiple - step) <= 0.006 * per_epoch + AGREE * interval:
            return max(multiple, 1)
    return max(round(step), 1)


def _between(place: int, exact: dict[int, int], told_at: Sequence[int]) -> int | None:
    """By the rows before and after whose steps are told, when not even the epochs are logged."""
    following = bisect(told_at, place)
    before = told_at[following - 1] if following else None
    after = told_at[following] if following < len(told_at) else None
    if before is None:
        return None if after is None else max(1, exact[after] - 1)
    if after is None:
        return exact[before] + 1
    return exact[before] + (exact[after] - exact[before]) * (place - before) // (after - before)
