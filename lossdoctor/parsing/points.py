"""Single values with a name and a step, as event files and MLflow keep them, joined to the rows in which they were logged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.rows import SUMMARY


class Point(NamedTuple):
    """One value of one scalar; `wall_time` in seconds since 1970."""

    tag: str
    step: int
    value: float
    wall_time: float


def as_rows(points: Iterable[Point], shown: Callable[[float], float] = float) -> Iterator[dict[str, Any]]:
    """Points → rows as they were logged: the points of one step are one training, one evaluation and one summary row.

    Of two that come to the same name (`loss` beside `train/loss`) the one that has it already counts.
    """
    step: int | None = None
    open_rows: dict[str, dict[str, Any]] = {}
    tags: dict[str, str] = {}
    last: dict[str, Any] = {}
    for point in points:
        name = column(point.tag)
        kind = "eval" if name.startswith(("eval_", "test_")) else "summary" if name.startswith((*SUMMARY, "train_")) else "train"
        if name == "epoch" and last:
            last.setdefault("epoch", shown(point.value))  # the Trainer ends each row with it
            continue
        if name == "step":  # the point has it
            continue
        twice = point.step == step and name in tags and tags[name] != point.tag
        if point.step != step or (name in open_rows.get(kind, ()) and not twice):
            yield from open_rows.values()
            open_rows, tags, step = {}, {}, point.step
            twice = False
        last = open_rows.setdefault(kind, {"step": point.step})
        if not twice or point.tag == name:
            last[name], tags[name] = shown(point.value), point.tag
    yield from open_rows.values()
