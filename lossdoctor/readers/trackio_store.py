"""The SQLite database that trackio keeps for a project: each of its runs, with its configuration as facts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lossdoctor.model import Fact, Log, LossDoctorError
from lossdoctor.parsing.source import Source
from lossdoctor.parsing.sqlite import MAGIC, Database, opened
from lossdoctor.parsing.tracked import Kept, columns, logs, newest, settings, with_steps

KIND = "trackio_store"
METRICS = frozenset({"run_name", "step", "metrics"})
CONFIGS = frozenset({"run_name", "config"})


def recognise(source: Source) -> bool:
    """A database with a table of metrics whose rows hold all values of one call."""
    if source.path is None or not source.magic.startswith(MAGIC):
        return False
    try:
        with opened(source.path) as database:
            return database.has("metrics", METRICS)
    except (LossDoctorError, OSError):
        return False


def read(source: Source) -> list[Log]:
    """Every run, in the order in which they were started.

    Raises:
        LossDoctorError: the database is broken, locked, or takes too long.
        NothingToAnalyse: no run has logged a number.
    """
    assert source.path is not None
    with opened(source.path) as database:
        by = "run_id" if "run_id" in database.columns("metrics") else "run_name"  # the id came with its release 0.24
        order = "group by 1 order by min(rowid)"
        named = list(database.rows(f"select {by}, min(run_name) from metrics {order}"))
        runs, notes = newest(named, lambda run: _rows(database, by, run[0]))
        return logs(KIND, source.name, (_kept(database, by, *run) for run in runs), (*database.notes, *notes))


def _kept(database: Database, by: str, named: tuple[Any, Any], rows: list[dict[str, Any]]) -> Kept:
    run, name = named
    stepped, notes = with_steps(rows, "trackio")
    return Kept(str(run), str(name or ""), _facts(database, by, run), stepped, notes)


def _rows(database: Database, by: str, run: Any) -> Iterator[dict[str, Any]]:
    """The rows of one run as they were logged: what is not finite is text there, and becomes a number again with all others."""
    for step, text in database.rows(f"select step, metrics from metrics where {by} = ? order by rowid", run):
        if (values := _object(text)) and isinstance(step, int):
            yield {**columns(values), "_step": step}


def _facts(database: Database, by: str, run: Any) -> dict[str, Fact]:
    if not database.has("configs", CONFIGS | {by}):
        return {}
    found = database.rows(f"select config from configs where {by} = ? order by rowid", run)
    return {name: fact for (text,) in found for name, fact in settings(_object(text), "trackio").items()}


def _object(text: Any) -> dict[str, Any]:
    """The JSON object in a column, which may be text or bytes; nothing where there is none."""
    try:
        value = json.loads(text) if isinstance(text, (str, bytes)) else None
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
