"""Logged rows as dictionaries → records: sorts training, evaluation and summary apart, and survives what real logs hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lossdoctor.model import Record

#: Columns that say where a row belongs rather than what was measured.
POSITION = frozenset({"step", "epoch", "global_step", "current_steps", "_step"})
RENAMED = {"lr": "learning_rate", "gnorm": "grad_norm", "gradient_norm": "grad_norm"}
#: What makes a row one of training.
TRAINING = ("loss", "grad_norm", "learning_rate", "reward")
#: What only a summary row holds.
SUMMARY = ("train_runtime", "train_loss", "total_flos")


def number(value: Any) -> float | None:
    """A number, also one written as text ('nan', '1e-5'); None for anything else."""
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


def records(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Record], list[str]]:
    """The records of a run's rows, and a note on everything that had to be made up or left out.

    A row with training and evaluation columns becomes two records. Without any step in the log, training rows are numbered
    from 1 and evaluation rows belong to the training row before them. Where the steps of the training rows go backward, the
    run was resumed from an earlier checkpoint: the rows of the abandoned branch did not lead to the final weights.
    """
    rows = [row for row in rows if isinstance(row, Mapping)]
    notes: list[str] = []
    stepped = any(_step(row) is not None for row in rows)
    average_only = not any("loss" in row for row in rows) and sum("train_loss" in row for row in rows) > 1
    found: list[Record] = []
    last = trained = 0
    for row in rows:
        values = _values(row)
        if average_only and "train_loss" in values and "train_runtime" not in values:
            values["loss"] = values.pop("train_loss")
        epoch = number(row.get("epoch"))
        parts = _parts(values)
        if not parts:
            continue
        step = _step(row)
        if step is None:
            step = last + 1 if not stepped and "train" in parts else last
        if "train" in parts:
            if step < trained:
                notes.append(f"the steps go back from {trained:,} to {step:,}: the rows of the abandoned branch were left out")
                found = [record for record in found if record.step < step]
            trained = step
        last = step
        for kind, part in parts.items():
            found.append(Record(step, epoch, kind, part))  # type: ignore[arg-type]
    if not stepped:
        notes.append("the rows have no step: they are numbered from 1")
    return found, notes


def _values(row: Mapping[str, Any]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, value in row.items():
        if name in POSITION or not isinstance(name, str):
            continue
        if value.__class__ is float or (value := number(value)) is not None:
            values[RENAMED.get(name, name)] = value
    return values


def _parts(values: dict[str, float]) -> dict[str, dict[str, float]]:
    evaluated = {k: v for k, v in values.items() if k.startswith("eval_")}
    predicted = any(k.startswith("predict_") for k in values)
    rest = {k: v for k, v in values.items() if not k.startswith("eval_")} if evaluated else values
    if predicted:
        return {"summary": values}
    if evaluated and not any(name in rest for name in (*TRAINING, *SUMMARY)):
        return {"eval": values}
    parts: dict[str, dict[str, float]] = {}
    if rest:
        summary = "loss" not in rest and any(name in rest for name in SUMMARY)
        if summary or not evaluated or any(name in rest for name in TRAINING):
            parts["summary" if summary else "train"] = rest
    if evaluated:
        parts["eval"] = evaluated
    return parts


def _step(row: Mapping[str, Any]) -> int | None:
    for name in ("step", "global_step", "current_steps"):
        value = number(row.get(name))
        if value is not None and value >= 0 and value < 2**53:
            return int(value)
    return None
