"""From tables to logs: each loss once, steps for rows that are epochs, and what stands around a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from math import ceil, isfinite
from typing import Any, NamedTuple

from lossdoctor.facts.canonical import translate
from lossdoctor.language import say
from lossdoctor.model import Fact, Log, NothingToAnalyse
from lossdoctor.parsing import rows, stated
from lossdoctor.parsing.printed_lines import last_runs, log, which
from lossdoctor.parsing.table import Table, runs
from lossdoctor.stats import median

#: What the Trainer's bar in a notebook says: the step, the last one, the epoch, the last one.
PROGRESS = re.compile(r"\[\s{0,12}(\d{1,12})/(\d{1,12}) [^\]\n]{0,80}Epoch ([\d.]{1,20})/(\d{1,20})\]")
#: What `trainer.train()` returns.
OUTPUT = re.compile(r"TrainOutput\(global_step=(\d{1,12}), training_loss=([^,(){}]{1,40})(?:, metrics=\{([^{}]{0,4000})\})?")
_METRIC = re.compile(r"'(\w{1,60})': ([^,{}]{1,40})")
#: An iterable data set leaves the largest integer here.
UNKNOWN_EPOCHS = 2**31
#: More steps in an epoch were told from numbers that are none.
MOST_STEPS = 1e12


class Around(NamedTuple):
    """What stands around a table: settings, the summary of the run, and the steps in an epoch with where they are from."""

    facts: Mapping[str, Fact]
    summary: dict[str, Any]
    per_epoch: float | None
    told_by: str


def logs(kind: str, name: str, text: str, found: Iterable[Table], known: Mapping[str, Fact] | None = None) -> list[Log]:
    """One log for each run among the tables of a text, with what the text says of it.

    Raises:
        NothingToAnalyse: there is not one number in the tables.
    """
    several, fewer = last_runs(runs(found))
    made: list[Log] = []
    before = 0
    said = stated.of_runs(text, [(table.start, table.end) for table in several])
    for place, (table, settings) in enumerate(zip(several, said, strict=True), 1):
        after = several[place].start if place < len(several) else len(text)
        around = _around(kind, text, before, table, after)
        before = table.end
        made += one(kind, table.rows, which(place, len(several)), {**around.facts, **settings, **(known or {})}, around, fewer)
    if not made:
        raise NothingToAnalyse(f"{name} has a table without a number: nothing to analyse")
    return made


def one(
    kind: str,
    rows: Sequence[Mapping[str, float]],
    title: str = "",
    facts: Mapping[str, Fact] | None = None,
    around: Around | None = None,
    notes: Sequence[str] = (),
) -> list[Log]:
    """The log of one run's rows; nothing where no row has a number."""
    once, repeated = measured_once(plausible(rows))
    notes = list(notes)
    if repeated:
        notes.append(say("{repeated} rows repeat the training loss before them: each loss counts once", repeated=repeated))
    numbered = not any("step" in row for row in once)
    if numbered and around and around.per_epoch and all("epoch" in row for row in once):
        once = [{**row, "step": round(row["epoch"] * around.per_epoch)} for row in once]
        numbered = False
        notes.append(say("the rows are epochs: their steps are told from {told_by}", told_by=around.told_by))
    elif numbered:
        once = [{**row, "step": place} for place, row in enumerate(once, 1)]
        notes.append(say("the rows have no step: they are numbered from 1"))
    summary = [around.summary] if around and around.summary and not numbered else []
    made = log(kind, [*once, *summary], facts, notes, title)
    return [replace(found, run=replace(found.run, numbered=numbered)) for found in made]


def _around(kind: str, text: str, before: int, table: Table, after: int) -> Around:
    told = [match.groups() for match in PROGRESS.finditer(text, before, table.start)]
    if not told and after == len(text):
        told = [match.groups() for match in PROGRESS.finditer(text, table.end)]
    found: dict[str, Any] = {}
    per_epoch, told_by = None, "the progress bar"
    if told:
        total, epochs = int(told[-1][1]), int(told[-1][3])
        found["max_steps"] = total
        if 0 < epochs < UNKNOWN_EPOCHS:
            found["num_train_epochs"], per_epoch = epochs, total / epochs
        if "step" not in table.columns and "eval_loss" in table.columns:
            found["eval_strategy"] = "epoch"
    summary = _summary(text, table.end, after)
    if summary.get("step") and (ended := rows.number(summary.get("epoch"))) and ended < UNKNOWN_EPOCHS:
        per_epoch, told_by = summary["step"] / ended, "the summary"
    if per_epoch is not None and not 0 < per_epoch < MOST_STEPS:
        per_epoch = None
    return Around(translate(found, kind), summary, per_epoch, told_by)


def _summary(text: str, begin: int, end: int) -> dict[str, Any]:
    output = OUTPUT.search(text, begin, end)
    if output is None:
        return {}
    metrics = {name: rows.number(value) for name, value in _METRIC.findall(output[3] or "")}
    return {"train_loss": rows.number(output[2]), **metrics, "step": int(output[1])}


def plausible(rows: Sequence[Mapping[str, float]]) -> Sequence[Mapping[str, float]]:
    """The rows without what only looks measured: of sparse rows that pandas printed, NaN says that there is nothing."""
    losses = [(row["loss"], row["eval_loss"]) for row in rows if "loss" in row and "eval_loss" in row]
    trained = sum(isfinite(loss) and value != value for loss, value in losses)
    evaluated = sum(loss != loss and isfinite(value) for loss, value in losses)
    if not trained or not evaluated or any(loss != loss and value != value for loss, value in losses):
        return rows
    return [{name: value for name, value in row.items() if value == value} for row in rows]


def measured_once(rows: Sequence[Mapping[str, float]]) -> tuple[Sequence[Mapping[str, float]], int]:
    """The rows without training losses that were not measured in them, and how many those are.

    A table with a row per evaluation repeats the last training loss until the next one is logged. How many rows one loss
    stands in shows in the rows before the first, which say "No log", and in the losses that differ. Where a new one is
    logged for each row, equal losses are measurements of their own: such as a loss that is zero for good.
    """
    if not any("eval_loss" in row for row in rows):
        return rows, 0
    first = next((place for place, row in enumerate(rows) if "loss" in row), 0)
    lengths = [(loss, len(list(group))) for loss, group in groupby(row.get("loss") for row in rows[first:])]
    usual = [length for loss, length in lengths[:-1] if loss and isfinite(loss)]
    stride = max(ceil(median(usual)) if usual else 1, first + 1)
    kept, repeated, count = [], 0, 0
    last: float | None = None
    for row in rows:
        loss = row.get("loss")
        count = count + 1 if loss is not None and repr(loss) == repr(last) else 0
        last = loss
        repeated += count % stride > 0
        kept.append({name: value for name, value in row.items() if name != "loss"} if count % stride else row)
    return kept, repeated
