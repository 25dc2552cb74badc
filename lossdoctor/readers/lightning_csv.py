"""`metrics.csv` of Lightning's CSVLogger: a row for each time something was logged, several for one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lossdoctor.facts.canonical import translate
from lossdoctor.model import Log
from lossdoctor.parsing import csv_lines
from lossdoctor.parsing.cells import LOSSES, number
from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.printed_lines import log, with_numbers
from lossdoctor.parsing.source import Source

KIND = "lightning_csv"
#: Columns that a Trainer's own rows have; a table of those is no work of Lightning.
FOREIGN = ("eval_loss", "learning_rate", "grad_norm", "train_runtime")
#: Lightning logs the loss of a step as it is, also one that is NaN.
STATED = {"framework": "lightning", "logging_nan_inf_filter": False}


def recognise(source: Source) -> bool:
    """A CSV header with `epoch` and `step`; its epochs are whole numbers, and no row fills all of its columns."""
    found = csv_lines.header(source)
    if found is None or found.delimiter != "," or not {"epoch", "step"} <= set(found.cells) or set(FOREIGN) & set(found.cells):
        return False
    if not set(LOSSES) & set(_names(found.cells)):
        return False
    place = found.cells.index("epoch")
    rows = [row for row in csv_lines.sample(source, found) if len(row) == len(found.cells)]
    epochs = [row[place] for row in rows if row[place]]
    return bool(epochs) and all(epoch.isdecimal() for epoch in epochs) and all("" in row for row in rows)


def read(source: Source) -> list[Log]:
    """One run, its steps counted from 1.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    found = csv_lines.header(source)
    text = source.take()
    merged = list(_merged(_rows(text, found))) if found else []
    made = log(KIND, _with_epochs(merged), translate(STATED, KIND))
    return with_numbers(made, source.name)


def _names(header: Sequence[str]) -> list[str]:
    """The Trainer's names; of a value that is logged for each step and as the mean of an epoch, that of the step counts."""
    names: list[str] = []
    for cell in header:
        base, _, kind = cell.rpartition("_")
        only = kind == "epoch" and f"{base}_step" not in header
        name = column(base if base and (only or (kind == "step" and base.startswith("train"))) else cell)
        if name.startswith("lr-"):
            name = "learning_rate"
        elif name.startswith("grad_") and name.endswith("_norm_total"):
            name = "grad_norm"
        elif name == "train_loss":
            name = "loss"
        names.append(name if name not in names else cell)
    return names


def _rows(text: str, found: csv_lines.Header) -> Iterator[dict[str, float]]:
    names = _names(found.cells)
    for cells in csv_lines.rows(text, found):
        if len(cells) == len(names):
            yield {name: value for name, cell in zip(names, cells, strict=True) if (value := number(cell)) is not None}


def _merged(rows: Iterator[dict[str, float]]) -> Iterator[dict[str, float]]:
    """One row for all that was logged in the same step; Lightning counts steps from 0."""
    last: dict[str, float] = {}
    for row in rows:
        if "step" not in row:
            continue
        if last and row["step"] == last["step"] and not (row.keys() & last.keys()) - {"step", "epoch"}:
            last |= row
            continue
        if last:
            yield {**last, "step": last["step"] + 1}
        last = row
    if last:
        yield {**last, "step": last["step"] + 1}


def _with_epochs(rows: list[dict[str, float]]) -> Iterator[dict[str, float]]:
    """Epochs as the share that is done, as soon as one has ended: Lightning logs the number of the one it is in, from 0."""
    ended = {row["epoch"]: row["step"] for row in rows if row.get("epoch", -1) >= 0 and row["step"] > 0}
    whole = sorted(ended)[:-1]
    per_epoch = ended[whole[-1]] / (whole[-1] + 1) if whole else None
    for row in rows:
        row.pop("epoch", None)
        yield {**row, "epoch": round(row["step"] / per_epoch, 4)} if per_epoch else row
