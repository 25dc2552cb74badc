"""The page on a run: from its event files where they can be read, else from the points that TensorBoard keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossdoctor.model import Report

#: Event files of this size hold more than scalars; reading all of them would take minutes.
LARGEST = 1024**3
#: Pages that are kept, each until its files change.
KEPT = 8
#: More points of one curve than any TensorBoard keeps.
ALL = 1_000_000


class Pages:
    """Makes the page on a run anew when its event files have changed."""

    def __init__(self, logs: str | None, provider: Any) -> None:
        self._logs = Path(logs).absolute() if logs and "://" not in logs else None
        self._provider = provider
        self._kept: dict[str, tuple[Any, str]] = {}
        self._lock = Lock()  # two who ask at once wait for one report

    def of(self, run: str, context: Any, experiment: str) -> tuple[str, str]:
        """The page, and its script.

        Raises:
            LossDoctorError: the run cannot be read.
        """
        from lossdoctor.reports import html

        with self._lock:
            written = self._written(run)
            kept, page = self._kept.get(run, (None, ""))
            if not written or kept != written:
                report = self._from_files(run) if written else self._from_points(run, context, experiment)
                page = html.render([replace(report, run=replace(report.run, path=run))])
                self._kept.pop(run, None)
                self._kept[run] = (written, page)
                if len(self._kept) > KEPT:
                    del self._kept[next(iter(self._kept))]
            return page, html.script()

    def _folder(self, run: str) -> Path:
        assert self._logs is not None
        return self._logs / run

    def _written(self, run: str) -> list[tuple[str, int, int]]:
        """Names, sizes and times of a run's event files; none where they are not to be read."""
        if self._logs is None or PurePath(run).is_absolute() or ".." in PurePath(run).parts:
            return []
        from lossdoctor.readers.folder import event_files

        try:
            found = [(file.name, *_size_and_time(file)) for file in event_files(self._folder(run))]
            for file in event_files(self._folder(run)):
                file.open("rb").close()
        except OSError:
            return []
        return found if sum(size for _, size, _ in found) <= LARGEST else []

    def _from_files(self, run: str) -> Report:
        from lossdoctor.analysis import analyze_events

        return analyze_events(self._folder(run))  # a state file in the same folder is as old as the last checkpoint

    def _from_points(self, run: str, context: Any, experiment: str) -> Report:
        from tensorboard.data.provider import RunTagFilter
        from tensorboard.errors import NotFoundError

        from lossdoctor.engine import examine
        from lossdoctor.model import Run
        from lossdoctor.parsing.rows import records
        from lossdoctor.readers.event_files import KIND, Point, as_rows

        wanted = RunTagFilter(runs=[run])
        read = self._provider.read_scalars(
            context, experiment_id=experiment, plugin_name="scalars", downsample=ALL, run_tag_filter=wanted
        )
        curves = read.get(run, {})
        if not curves:  # it has just gone
            raise NotFoundError(f"the run {run!r} is no longer here")
        points = [Point(tag, item.step, item.value, item.wall_time) for tag, found in curves.items() for item in found]
        rows = records(as_rows(sorted(points, key=lambda point: (point.wall_time, point.step))))
        most = max(map(len, curves.values()), default=0)
        note = f"the event files cannot be read from here: this is from the points that TensorBoard keeps, {most:,} of a curve"
        return examine(tuple(rows.records), Run(kind=KIND, notes=(note, *rows.notes), resumed_at=rows.resumed_at))


def _size_and_time(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def newest_first(listed: Iterable[Any], runs: Sequence[str]) -> list[str]:
    """Runs by the time of their first point, the latest first; those without a time come last."""
    begun = {run.run_name: run.start_time or 0.0 for run in listed}
    return sorted(runs, key=lambda run: (-begun.get(run, 0.0), run))
