"""Many logs on many cores or machines: one result for each source, as soon as it is there, whatever becomes of the others."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeAlias

from lossdoctor import analysis, language
from lossdoctor.model import Fact, LossDoctorError, Report
from lossdoctor.readers import tree
from lossdoctor.same_run import Fingerprint

if TYPE_CHECKING:
    from concurrent.futures import Executor

#: Fewer sources with fewer bytes are read sooner than a worker has started; from `MANY` on it does not matter how many there are.
FEW, MANY, SMALL = 32, 512, 64 * 2**20

Sources: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of one source, or of several that lie together: a report for each run in it, or the error that prevented them.

    `stamp` is the size in bytes and the time in nanoseconds of the last change that the log had before it was read. `prints`
    tell runs apart by their rows, one for each report.
    """

    sources: Sources
    reports: tuple[Report, ...] = ()
    error: LossDoctorError | None = None
    stamp: tuple[int, int] | None = None
    prints: tuple[Fingerprint | None, ...] = field(default=(), repr=False)

    @property
    def path(self) -> str:
        """The source, or the first of several."""
        return self.sources[0]


def fault(sources: Sources, what: str) -> LossDoctorError:
    """The error for a source that is not to blame for it."""
    return LossDoctorError(f"{sources[0]} could not be analysed: {' '.join(what.split())[:300]}")


@dataclass(frozen=True)
class Task:
    """What is done with every source; it is sent to the workers, so it is small."""

    known: Mapping[str, Fact]
    configurations: tuple[Mapping[str, Fact], ...]
    settings: dict[str, dict[str, Any]] | None
    plugins: tuple[Any, ...]
    rows: bool
    language: str = field(default_factory=language.spoken)  # that of the process that asks, whatever a worker's own would be

    def __call__(self, sources: Sources) -> Outcome:
        if language.spoken() != self.language:
            language.use(self.language)
        stamp = None
        with suppress(OSError, ValueError):  # whoever reads it says it better
            stamp = tree.stamp(sources)
        options = {"settings": self.settings, "plugins": self.plugins, "rows": self.rows}
        try:
            judged = analysis.together(sources, known=self.known, configurations=self.configurations, **options)
        except LossDoctorError as error:
            return Outcome(sources, error=error, stamp=stamp)
        except Exception as error:  # a fault of ours, or no memory: it costs this source and no other
            return Outcome(sources, error=fault(sources, f"{type(error).__name__}: {error}"), stamp=stamp)
        reports = tuple(one.report for one in judged)
        return Outcome(sources, reports, stamp=stamp, prints=tuple(one.print_ for one in judged))


def analyze_many(
    paths: Iterable[str | os.PathLike[str] | Sequence[str]],
    executor: Executor | None = None,
    *,
    jobs: int | None = None,
    known: Mapping[str, Fact] | None = None,
    configurations: Iterable[Mapping[str, Fact]] = (),
    settings: dict[str, dict[str, Any]] | None = None,
    plugins: Iterable[Any] = (),
    rows: bool = False,
    ordered: bool = False,
    in_flight: int | None = None,
) -> Generator[Outcome, None, None]:
    """One `Outcome` for each source, as it is done: its reports, or the error. No source keeps another from being judged.

    Args:
        paths: any number of them, also from a generator, which is asked for more as results come; see `find_runs`. Sources
            that may be of one run, such as all logs in its output folder, can be given together, as a tuple.
        executor: any of `concurrent.futures`, loky, Dask or Ray; None takes `jobs` processes, as many as there are cores,
            or none where there is little to do.
        known, configurations, settings, plugins: as for `analyze`.
        rows: keep the rows in the reports, for curves and data frames; without them a report has a few kB.
        ordered: in the order of `paths` rather than in that in which they are done.
        in_flight: chunks of sources handed to the executor at a time.

    Raises:
        LossDoctorError: `jobs` or `in_flight` is no positive number.
    """
    for name, value in (("jobs", jobs), ("in_flight", in_flight)):
        if value is not None and value < 1:
            raise LossDoctorError(f"{name} must be 1 or more, found {value}")
    task = Task(known or {}, tuple(configurations), settings, tuple(plugins), rows)
    units: Iterator[Sources] = (_together(path) for path in paths)
    return _analyze(units, executor, jobs or cores(), task, ordered, in_flight)


def _analyze(
    units: Iterator[Sources], executor: Executor | None, jobs: int, task: Task, ordered: bool, in_flight: int | None
) -> Generator[Outcome, None, None]:
    if executor is not None:
        from lossdoctor.dispatch import CHUNK, Dispatch

        with Dispatch(executor, task, in_flight, ordered, jobs) as dispatch:
            yield from dispatch.results(units, CHUNK)
        return
    first = list(islice(units, MANY))
    if jobs == 1 or not _worth_processes(first):
        yield from map(task, chain(first, units))
        return
    from lossdoctor.dispatch import CHUNK, Dispatch

    _warm_up()
    with Dispatch(None, task, in_flight, ordered, jobs) as dispatch:
        yield from dispatch.results(chain(first, units), max(1, min(CHUNK, len(first) // (2 * jobs))))


def cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _warm_up() -> None:
    """Loads what the workers need, for those that are copies of this process."""
    from lossdoctor.readers import dialects
    from lossdoctor.registry import all_causes, all_detectors

    all_detectors(), all_causes(), list(dialects.dialects())


def _together(path: str | os.PathLike[str] | Sequence[str]) -> Sources:
    return (os.fspath(path),) if isinstance(path, (str, os.PathLike)) else tuple(map(os.fspath, path))


def _worth_processes(first: Sequence[Sources]) -> bool:
    """Whether there is enough to do: many sources, or a few that are large."""
    if len(first) >= FEW or len(first) < 2:
        return len(first) >= FEW
    size = 0
    for path in chain.from_iterable(first):
        try:
            size += os.stat(path).st_size  # noqa: PTH116
        except (OSError, ValueError):
            continue
    return size >= SMALL
