"""What columns of a CSV say beside measurements: which run a row is of, whether it was an evaluation, what its value is of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lossdoctor.parsing.cells import blank, columns, is_loss, number
from lossdoctor.parsing.column_names import KNOWN, column

#: Names of columns that tell runs apart, those of the run itself first.
OF_RUNS = (
    *("run_id", "run_uuid", "run_name", "run", "experiment_id", "experiment_name", "experiment", "exp_name", "exp", "trial_id"),
    *("trial_name", "trial", "job_id", "job", "model_name", "model", "name", "config", "method", "variant", "fold", "seed"),
)
OF_SPLITS = ("split", "phase", "mode", "stage", "subset", "partition", "set", "type", "kind", "dataset")
OF_METRICS = ("metric", "metric_name", "key", "tag", "variable", "measure", "series", "name")
OF_VALUES = ("value", "metric_value", "val", "y")
TRAINED = frozenset({"train", "training", "trn", "tr"})
VALIDATED = frozenset({"val", "valid", "validation", "eval", "evaluation", "dev"})
TESTED = frozenset({"test", "testing"})
#: A run has more rows than one: where each row has a name of its own, they are results.
FEWEST = 2


class Roles(NamedTuple):
    """Places of the columns that say something of their rows; None, or nothing, where there is none."""

    runs: tuple[int, ...] = ()
    split: int | None = None
    metric: int | None = None
    value: int | None = None

    def run(self, cells: Sequence[str]) -> tuple[str, ...]:
        """What tells the run of a row from others."""
        return tuple(_cell(cells, place) for place in self.runs)


def roles(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Roles:
    """The roles of columns, by their names and by what stands in these rows."""
    called = _called(header)
    metric, value = _long(called, rows)
    words = [(place, {held.lower() for held in _held(rows, place)}) for place in _places(called, OF_SPLITS) if place != metric]
    split = next((place for place, held in words if held and held <= TRAINED | VALIDATED | TESTED), None)
    runs: tuple[int, ...] = ()
    for place in _places(called, OF_RUNS):
        several = Roles((*runs, place))
        told = [several.run(row) for row in rows if len(row) >= len(called)]
        if place not in (split, metric) and told and all(map(all, told)) and len(set(told)) * FEWEST <= len(told):
            runs = several.runs
    return Roles(runs, split, metric, value)


def of_results(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the rows are results rather than a log: without steps or epochs that change, and named, or never trained."""
    names, called = columns(header), _called(header)
    for place, name in enumerate(names):
        if name in ("step", "epoch") and len({number(held) for held in _held(rows, place)}) > 1:
            return False
    if len(rows) < FEWEST:
        return False
    named = (_held(rows, place) for place in _places(called, OF_RUNS))
    own = any(len(held) == len(set(held)) == len(rows) and not any(map(_is_number, held)) for held in named)
    return own or ("epoch" in names and "loss" not in names and "train_loss" not in names)


def values(names: Sequence[str], cells: Sequence[str], known: Roles, comma: bool) -> dict[str, float]:
    """The numbers of a row under the names that they have in the Trainer's log."""
    found = {name: held for name, cell in zip(names, cells, strict=False) if name and (held := number(cell, comma)) is not None}
    if known.metric is not None and known.value is not None:
        held = number(_cell(cells, known.value), comma)
        found = {name: value for name, value in found.items() if name in ("step", "epoch")}
        found |= {} if held is None else {column(_cell(cells, known.metric)): held}
    split = _cell(cells, known.split).lower()
    if split in VALIDATED | TESTED:
        before = "eval_" if split in VALIDATED else "eval_test_"
        found = {_evaluated(name, before): held for name, held in found.items()}
    return found


def _evaluated(name: str, before: str) -> str:
    """The name of what was measured in an evaluation; what says where the row belongs keeps its own."""
    if name in ("step", "epoch", "learning_rate") or name.startswith("eval_"):
        return name
    return before + ("loss" if is_loss(name) else name)


def _called(header: Sequence[str]) -> list[str]:
    return ["_".join(cell.strip().lower().split()) for cell in header]


def _places(called: Sequence[str], names: Iterable[str]) -> Iterator[int]:
    return (called.index(name) for name in names if name in called)


def _cell(cells: Sequence[str], place: int | None) -> str:
    return cells[place].strip() if place is not None and place < len(cells) else ""


def _held(rows: Sequence[Sequence[str]], place: int) -> list[str]:
    return [cell for row in rows if (cell := _cell(row, place)) and not blank(cell)]


def _is_number(cell: str) -> bool:
    return number(cell) is not None


def _long(called: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[int | None, int | None]:
    """The columns with the name of a metric and its value, if one that a log has is among the names, and a position beside."""
    value = next(_places(called, OF_VALUES), None)
    if value is None or not {"step", "epoch"} & {column(name) for name in called}:
        return None, None
    for place in _places(called, OF_METRICS):
        names = {column(held) for held in _held(rows, place)}
        if any(is_loss(name) or name in KNOWN for name in names):
            return place, value
    return None, None
