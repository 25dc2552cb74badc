"""Logged rows as dictionaries → records: sorts training, evaluation and summary apart, and survives what real logs hold."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from lossdoctor.language import say
from lossdoctor.model import Kind, Record
from lossdoctor.parsing.column_names import USUAL
from lossdoctor.probe_columns import PREFIX

#: Columns that say where a row belongs rather than what was measured.
POSITION = frozenset({"step", "epoch", "global_step", "current_steps", "_step"})
#: What frameworks with a log like the Trainer's call its columns; no other name is taken for one of them.
RENAMED = {name: USUAL[name] for name in ("lr", "gnorm", "gradient_norm")}
#: What makes a row one of training.
TRAINING = ("loss", "grad_norm", "learning_rate", "reward")
#: What only a summary row holds.
SUMMARY = ("train_runtime", "train_loss", "total_flos")
#: A float holds every smaller number of steps to the last digit.
MOST_STEPS = 2**53
#: Sets of columns whose layout is remembered; a log has a handful of them.
LAYOUTS = 256


class Rows(NamedTuple):
    """What came of a run's rows.

    `notes` name everything that had to be made up or left out; `numbered` says that the steps were. `resumed_at` holds the
    first step of every branch that went on from an earlier checkpoint, unless that branch was abandoned in turn: those steps
    rise, and each is in the records.
    """

    records: list[Record]
    notes: list[str]
    resumed_at: tuple[int, ...]
    numbered: bool = False


def number(value: Any) -> float | None:
    """A number, also one written as text ('nan', '1e-5'); None for anything else."""
    if value.__class__ is float:
        return value
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return None
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def records(rows: Iterable[Mapping[str, Any]], *, given_up: bool = False) -> Rows:
    """The records of a run's rows; the rows themselves stay as they are, unless they are `given_up` and may become the records.

    A row with training and evaluation columns becomes two records. Without any step in the log, training rows are numbered
    from 1 and evaluation rows belong to the training row before them. Where the steps of the training rows go backward, the
    run was resumed from an earlier checkpoint: the rows of the abandoned branch did not lead to the final weights.
    """
    remaining = iter(rows)
    seen, stepped, average_only = _look_ahead(remaining)
    notes: list[str] = []
    found: list[Record] = []
    resumed: list[tuple[int, int]] = []
    last = trained = 0
    names: tuple[Any, ...] = ()
    columns, parts, position, kind, training = _layout(names)
    for row in chain(emptied(seen), remaining):
        if row.__class__ is not dict and not isinstance(row, Mapping):
            continue
        if (now := tuple(row)) != names:
            names, (columns, parts, position, kind, training) = now, _layout(now)
        step, epoch = row.get("step"), row.get("epoch")
        if step.__class__ is not int or not 0 <= step < MOST_STEPS:
            step = _step(row)
        if epoch.__class__ is not float:
            epoch = number(epoch)
        values: dict[str, Any]
        if given_up and position is not None and row.__class__ is dict:
            values = row
            for name in position:
                del values[name]
        else:
            values = {known: row[name] for name, known in columns}
        for value in values.values():
            if value.__class__ is not float:
                values = _numbers(row, columns)
                parts, kind, names = _parts(tuple(values)), None, ()
                training = "train" in parts
                break
        if average_only and "train_loss" in values and "train_runtime" not in values:
            values["loss"] = values.pop("train_loss")
            parts, kind, names = _parts(tuple(values)), None, ()
            training = "train" in parts
        if not parts:
            continue
        if step is None:
            step = last + 1 if not stepped and training else last
        if training:
            if step < trained:
                notes.append(
                    say(
                        "the steps go back from {trained:,} to {step:,}: the rows of the abandoned branch were left out",
                        trained=trained,
                        step=step,
                    )
                )
                resumed.append((len(found), step))
            trained = step
        last = step
        if kind is not None:
            found.append(Record(step, epoch, kind, values))
            continue
        for part, its in parts.items():
            found.append(Record(step, epoch, part, values if its is None else {name: values[name] for name in its}))
    if not stepped:
        notes.append(say("the rows have no step: they are numbered from 1"))
    if not resumed:
        return Rows(found, notes, (), not stepped)
    kept, resumed_at = _final_branch(found, resumed)
    return Rows(kept, notes, resumed_at)


def emptied(rows: list[Any]) -> Iterator[Any]:
    """The items of a list that is given up, each let go of as it is taken: of a huge log only one form is in memory."""
    rows.reverse()
    while rows:
        yield rows.pop()


def _look_ahead(rows: Iterator[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], bool, bool]:
    """The rows up to where it is clear whether the log has steps and whether all of its losses are averages; usually one."""
    seen: list[Mapping[str, Any]] = []
    stepped = has_loss = False
    averages = 0
    for row in rows:
        if not isinstance(row, Mapping):
            continue
        seen.append(row)
        stepped = stepped or _step(row) is not None
        has_loss = has_loss or "loss" in row
        averages += "train_loss" in row
        if stepped and has_loss:
            break
    return seen, stepped, not has_loss and averages > 1


def _final_branch(found: list[Record], resumed: list[tuple[int, int]]) -> tuple[list[Record], tuple[int, ...]]:
    """The records that led to the final weights, and the first step of every branch that is left.

    A return to a step abandons all records from it on that were there by then. Seen from the end, that is one limit which
    falls: one pass over the records, however often the run was resumed.
    """
    kept: list[list[Record]] = []
    starts: list[int] = []
    limit, end = math.inf, len(found)
    for place, step in reversed(resumed):
        kept.append([record for record in found[place:end] if record.step < limit])
        if step < limit:
            starts.append(step)
            limit = step
        end = place
    kept.append([record for record in found[:end] if record.step < limit])
    return list(chain.from_iterable(reversed(kept))), tuple(reversed(starts))


Columns = tuple[tuple[str, str], ...]


def _numbers(row: Mapping[str, Any], columns: Columns) -> dict[str, float]:
    """The values that are numbers, or text that reads as one."""
    read = ((known, number(row[name])) for name, known in columns)
    return {known: value for known, value in read if value is not None}


class Layout(NamedTuple):
    """What rows with certain columns have in common.

    `columns` hold measurements, each with the name it has in a record; `parts` is what the row becomes if all are numbers.
    Without the columns named in `position` the row is the values of a record; None where a record has other names. `kind` is
    that of the only record with all measurements, if there is one; `training` whether one of them is of training.
    """

    columns: Columns
    parts: Mapping[Kind, tuple[str, ...] | None]
    position: tuple[Any, ...] | None
    kind: Kind | None
    training: bool


@lru_cache(maxsize=LAYOUTS)
def _layout(names: tuple[Any, ...]) -> Layout:
    """Names are interned: rows share them, instead of each keeping those that its own line of JSON brought along."""
    measured = ((name, RENAMED.get(name, name)) for name in names if isinstance(name, str) and name not in POSITION)
    columns = tuple((name, sys.intern(known) if known.__class__ is str else known) for name, known in measured)
    position = tuple(name for name in names if not isinstance(name, str) or name in POSITION)
    renamed = any(name != known for name, known in columns)
    parts = _parts(tuple(dict.fromkeys(known for _, known in columns)))
    kind = next((kind for kind, its in parts.items() if its is None), None)
    return Layout(columns, parts, None if renamed else position, kind, "train" in parts)


@lru_cache(maxsize=LAYOUTS)
def _parts(names: tuple[str, ...]) -> Mapping[Kind, tuple[str, ...] | None]:
    """Which records a row with these measurements becomes, and the names that each gets; None where it gets all."""
    evaluated = tuple(name for name in names if name.startswith("eval_"))
    rest = tuple(name for name in names if not name.startswith("eval_"))
    if any(name.startswith(PREFIX) for name in names):
        return {"probe": None}
    if any(name.startswith("predict_") for name in names):
        return {"summary": None}
    if evaluated and not any(name in rest for name in (*TRAINING, *SUMMARY)):
        return {"eval": None}
    parts: dict[Kind, tuple[str, ...] | None] = {}
    if rest:
        summary = "loss" not in rest and any(name in rest for name in SUMMARY)
        parts["summary" if summary else "train"] = rest if evaluated else None
    if evaluated:
        parts["eval"] = evaluated
    return parts


def _step(row: Mapping[str, Any]) -> int | None:
    for name in ("step", "global_step", "current_steps"):
        value = row.get(name)
        if value.__class__ is not int:
            value = number(value)
        if value is not None and 0 <= value < MOST_STEPS:
            return int(value)
    return None
