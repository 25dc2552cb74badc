"""The SQLite store of MLflow, its default since 3.x: every run that was not deleted, with its parameters as facts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lossdoctor.model import Fact, Log, LossDoctorError
from lossdoctor.parsing.points import Point, as_rows
from lossdoctor.parsing.rows import number
from lossdoctor.parsing.source import Source
from lossdoctor.parsing.sqlite import MAGIC, Database, opened
from lossdoctor.parsing.tracked import OF_THE_MACHINE, Kept, logs, newest, settings, without_standing_steps

KIND = "mlflow_store"
METRICS = frozenset({"key", "value", "timestamp", "run_uuid", "step"})
RUNS = frozenset({"run_uuid", "name"})
PARAMS = frozenset({"key", "value", "run_uuid"})
#: How an infinity is written, which the other databases that MLflow knows could not hold.
INFINITE = 1.7976931348623157e308


def recognise(source: Source) -> bool:
    """A database with the tables of runs and metrics."""
    if source.path is None or not source.magic.startswith(MAGIC):
        return False
    try:
        with opened(source.path) as database:
            return database.has("metrics", METRICS) and database.has("runs", RUNS)
    except (LossDoctorError, OSError):
        return False


def read(source: Source) -> list[Log]:
    """Every run, in the order in which they were started.

    Raises:
        LossDoctorError: the database is broken, locked, or takes too long.
        NothingToAnalyse: no run has a metric.
    """
    assert source.path is not None
    with opened(source.path) as database:
        flagged = "is_nan" in database.columns("metrics")
        runs, notes = newest(_runs(database), lambda run: as_rows(_points(database, run[0], flagged)))
        kept = (
            Kept(str(run), str(name or ""), _facts(database, run), without_standing_steps(rows)) for (run, name), rows in runs
        )
        return logs(KIND, source.name, kept, (*database.notes, *notes))


def _runs(database: Database) -> list[tuple[Any, ...]]:
    """The id and the name of every run that was not deleted, the oldest first."""
    columns = database.columns("runs")
    where = "where lifecycle_stage is not 'deleted'" if "lifecycle_stage" in columns else ""
    order = "start_time, rowid" if "start_time" in columns else "rowid"
    return list(database.rows(f"select run_uuid, name from runs {where} order by {order}"))


def _facts(database: Database, run: Any) -> dict[str, Fact]:
    if not database.has("params", PARAMS):
        return {}
    return settings(dict(database.rows("select key, value from params where run_uuid = ?", run)), "MLflow", as_text=True)


def _points(database: Database, run: Any, flagged: bool) -> Iterator[Point]:
    """The values of one run in the order they were logged; several threads write, so later ones may come first in the table."""
    flag = "is_nan" if flagged else "0"
    query = f"select key, value, step, timestamp, {flag} from metrics where run_uuid = ? order by timestamp, step, rowid"
    for key, value, step, time, is_nan in database.rows(query, run):
        found = math.nan if is_nan else number(value)
        if found is None or not isinstance(key, str) or not isinstance(step, int) or key.startswith(OF_THE_MACHINE):
            continue
        yield Point(key, step, math.copysign(math.inf, found) if abs(found) >= INFINITE else found, (number(time) or 0) / 1000)
