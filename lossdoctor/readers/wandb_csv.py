"""CSV files that people export from a chart of Weights & Biases: a column for each run and metric, and its least and most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from lossdoctor.language import say
from lossdoctor.model import Log, NothingToAnalyse
from lossdoctor.parsing import csv_lines, table_logs
from lossdoctor.parsing.cells import number
from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.printed_lines import with_numbers
from lossdoctor.parsing.source import Source
from lossdoctor.stats import median

KIND = "wandb_csv"
BETWEEN = " - "
#: What W&B puts behind a metric for the least and the most of the points that one value stands for.
LEAST, MOST = "__MIN", "__MAX"
TELLING = ("loss", "eval_loss", "train_loss", "learning_rate", "grad_norm")
#: W&B's own count of the times that something was logged; the Trainer logs its steps beside it.
OWN_STEP = "_step"
#: From so many rows on, or where so many gaps are not the usual one, an export is a sample.
LONG, UNEVEN = 1_000, 0.2


class Column(NamedTuple):
    """A metric of one run: where its values are, and their least and most."""

    name: str
    place: int
    least: int | None
    most: int | None


def recognise(source: Source) -> bool:
    """The first line is `"Step","<run> - <metric>",…` with a metric of a training log."""
    if BETWEEN not in source.head:
        return False
    found = csv_lines.header(source)
    if found is None or len(found.cells) < 2 or BETWEEN in found.cells[0]:
        return False
    return all(BETWEEN in cell for cell in found.cells[1:]) and any(
        one.name in TELLING for columns in _runs(found.cells).values() for one in columns
    )


def read(source: Source) -> list[Log]:
    """Every run in the export, by its name in W&B.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    found = csv_lines.header(source)
    text = source.take()
    if found is None:
        raise NothingToAnalyse(f"{source.name} has no header: nothing to analyse")
    runs = _runs(found.cells)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    ranged: set[str] = set()
    axis = column(found.cells[0])
    held = sorted(((one, name) for name, columns in runs.items() for one in columns), key=lambda column: column[0].place)
    for cells in csv_lines.rows(text, found):
        at = number(cells[0])
        several: dict[str, dict[str, float]] = {}
        for one, name in held:
            if one.place >= len(cells):
                break
            if (value := _value(cells, one.place)) is not None:
                several.setdefault(name, {} if at is None else {axis: at})[one.name] = value
                if _value(cells, one.least) != _value(cells, one.most):
                    ranged.add(name)
        for name, values in several.items():
            rows[name].append(values)
    own = found.cells[0] in ("Step", OWN_STEP)
    made = [log for name in runs for log in _log(name, rows[name], own, name in ranged)]
    return with_numbers(made, source.name)


def _runs(header: Sequence[str]) -> dict[str, list[Column]]:
    """The metrics of every run, under the Trainer's names."""
    places = {cell: place for place, cell in enumerate(header)}
    runs: dict[str, list[Column]] = {}
    for place, cell in enumerate(header[1:], 1):
        run, dash, metric = cell.rpartition(BETWEEN)
        if dash and not metric.endswith((LEAST, MOST)) and metric != OWN_STEP:
            one = Column(column(metric), place, places.get(cell + LEAST), places.get(cell + MOST))
            runs.setdefault(run, []).append(one)
    return runs


def _value(cells: Sequence[str], place: int | None) -> float | None:
    return number(cells[place]) if place is not None and place < len(cells) else None


def _log(name: str, rows: list[dict[str, float]], own: bool, ranged: bool) -> Iterator[Log]:
    """The log of one run; `own` says that its steps are W&B's unless it has a column of the Trainer's."""
    has_loss = [row for row in rows if "loss" in row] or rows
    steps = [row["step"] for row in has_loss if "step" in row]
    gaps = [late - early for early, late in pairwise(steps)]
    usual = median(gaps) if len(gaps) >= 50 else None
    uneven = usual is not None and sum(gap != usual for gap in gaps) > UNEVEN * len(gaps)
    notes = []
    if len(rows) >= LONG or uneven:
        notes.append(say("W&B exports a sample of the rows: what is between them is not seen"))
    if ranged:
        notes.append(say("a value in the export stands for several steps: its least and its most differ"))
    if own and steps and not any(place < step for place, step in enumerate(steps)):
        notes.append(say("the steps are W&B's own count of log calls"))
    yield from table_logs.one(KIND, rows, name, notes=notes)
