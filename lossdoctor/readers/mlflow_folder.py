"""The folders in which MLflow kept its runs before 3.x: one run, an experiment, or the whole `mlruns`. No link is followed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from lossdoctor.facts.files import mapping, text
from lossdoctor.model import Log, LossDoctorError, NotALog
from lossdoctor.parsing.below import files, folders
from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.points import Point, as_rows
from lossdoctor.parsing.rows import number
from lossdoctor.parsing.source import LARGEST, Source
from lossdoctor.parsing.tracked import OF_THE_MACHINE, Kept, logs, newest, settings, without_standing_steps

KIND = "mlflow_folder"
META, METRICS, PARAMS = "meta.yaml", "metrics", "params"
#: So many folders are looked into to tell what a folder is, and so many runs and files are read; names have so many parts.
LOOKED_AT, MOST, DEEPEST = 100, 20_000, 5


def recognise(source: Source) -> bool:
    """A folder with `meta.yaml` and `metrics`, or such folders in it or in those in it."""
    return source.folder is not None and next(_runs(source.folder, LOOKED_AT), None) is not None


def read(source: Source) -> list[Log]:
    """Every run that was not deleted, in the order in which they were started.

    Raises:
        LossDoctorError: a file is too large, or cannot be read.
        NothingToAnalyse: no run has a metric.
    """
    assert source.folder is not None
    described = ((run, _meta(run)) for run in islice(_runs(source.folder, MOST), MOST))
    found = [(run, meta) for run, meta in described if meta.get("lifecycle_stage") != "deleted"]
    found.sort(key=lambda one: number(one[1].get("start_time")) or 0)
    runs, notes = newest(found, lambda one: as_rows(_points(one[0])))
    return logs(KIND, source.name, (_kept(run, meta, rows) for (run, meta), rows in runs), notes)


def _kept(run: Path, meta: dict[str, Any], rows: list[dict[str, Any]]) -> Kept:
    name = meta.get("run_name") or _text(run / "tags" / "mlflow.runName")
    params = {key: _text(path) for key, path in files(run / PARAMS, MOST, DEEPEST)}
    return Kept(run.name, str(name), settings(params, "MLflow", as_text=True), without_standing_steps(rows))


def _runs(folder: Path, most: int) -> Iterator[Path]:
    """The run that a folder is, or those in it: in an experiment, or in the experiments of a store."""
    if _is_run(folder):
        yield folder
        return
    for inner in folders(folder, most):
        if _is_run(inner):
            yield inner
        elif (inner / META).is_file():
            yield from filter(_is_run, folders(inner, most))


def _is_run(folder: Path) -> bool:
    return (folder / META).is_file() and (folder / METRICS).is_dir()


def _points(run: Path) -> list[Point]:
    """The values of all files in the order in which they were logged; within a call evaluations come last but for the epoch."""
    found: list[Point] = []
    for key, path in files(run / METRICS, MOST, DEEPEST):
        if not key.startswith(OF_THE_MACHINE):
            found += _lines(key, path)
    found.sort(key=lambda point: (point.wall_time, point.step, _rank(column(point.tag))))
    return found


def _rank(name: str) -> int:
    return 2 if name == "epoch" else 1 if name.startswith("eval_") else 0


def _lines(key: str, path: Path) -> Iterator[Point]:
    """A time in milliseconds, a value and a step; the oldest files have no step. A last line without its end is cut off."""
    if path.stat().st_size > LARGEST:
        raise NotALog(f"{path} has more than {LARGEST / 2**20:,.0f} MiB; the values of one metric were expected")
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            parts = line[:1000].split()
            if len(parts) < 2 or line[-1:] != "\n":
                continue
            time, value, step = (number(part) for part in (*parts, "0")[:3])
            if time is not None and value is not None and step is not None and abs(step) < 2**53:
                yield Point(key, int(step), value, time / 1000)


def _meta(run: Path) -> dict[str, Any]:
    with suppress(LossDoctorError):
        return mapping(run / META)
    return {}


def _text(path: Path) -> str:
    """What a small file says; nothing where it is missing, a link, or no text."""
    with suppress(LossDoctorError, OSError):
        if not path.is_symlink():
            return text(path).strip()
    return ""
