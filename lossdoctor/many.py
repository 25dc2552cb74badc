"""Many logs on many cores or machines: one result for each source, as soon as it is there, whatever becomes of the others."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeAlias

from lossdoctor import analysis
from lossdoctor.model import Fact, LossDoctorError, Report
from lossdoctor.readers import tree
from lossdoctor.same_run import Fingerprint

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

#: Sources that are sent to a worker at once, and how many such chunks wait for each worker.
CHUNK, WAITING = 16, 3
#: Fewer sources with fewer bytes are read sooner than a worker has started.
FEW, SMALL = 32, 64 * 2**20
#: Seconds between two looks of a worker whether the process that started it is still there.
LOOK = 1.0

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


@dataclass(frozen=True)
class Task:
    """What is done with every source; it is sent to the workers, so it is small."""

    known: Mapping[str, Fact]
    configurations: tuple[Mapping[str, Fact], ...]
    settings: dict[str, dict[str, Any]] | None
    plugins: tuple[Any, ...]
    rows: bool

    def __call__(self, sources: Sources) -> Outcome:
        stamp = None
        with suppress(OSError, ValueError):  # whoever reads it says it better
            stamp = tree.stamp(sources)
        options = {"settings": self.settings, "plugins": self.plugins}
        try:
            judged = analysis.together(sources, known=self.known, configurations=self.configurations, **options)
        except LossDoctorError as error:
            return Outcome(sources, error=error, stamp=stamp)
        except Exception as error:  # a fault of ours, or no memory: it costs this source and no other
            return Outcome(sources, error=_fault(sources, f"{type(error).__name__}: {error}"), stamp=stamp)
        reports = tuple(one.report if self.rows else replace(one.report, records=()) for one in judged)
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
        yield from _Dispatch(executor, task, in_flight or _waiting(executor), ordered).results(_chunks(units, CHUNK))
        return
    first = list(islice(units, FEW * CHUNK))
    if jobs == 1 or not _worth_processes(first):
        yield from map(task, chain(first, units))
        return
    _warm_up()
    each = max(1, min(CHUNK, len(first) // (2 * jobs)))
    with _Dispatch(None, task, in_flight or WAITING * jobs, ordered, jobs) as dispatch:
        yield from dispatch.results(_chunks(chain(first, units), each))


def cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _together(path: str | os.PathLike[str] | Sequence[str]) -> Sources:
    return (os.fspath(path),) if isinstance(path, (str, os.PathLike)) else tuple(map(os.fspath, path))


def _chunks(units: Iterator[Sources], each: int) -> Iterator[list[Sources]]:
    while chunk := list(islice(units, each)):
        yield chunk


def _waiting(executor: Executor) -> int:
    return WAITING * (getattr(executor, "_max_workers", None) or 4 * cores())


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


def _warm_up() -> None:
    """Loads what the workers need, for those that are copies of this process."""
    from lossdoctor.readers import dialects
    from lossdoctor.registry import all_causes, all_detectors

    all_detectors(), all_causes(), list(dialects.dialects())


def _begin() -> None:
    """In a worker: Ctrl-C is for the process that started it, and it goes when that one has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.enable()
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)


def _work(task: Task, chunk: Sequence[Sources]) -> list[Outcome]:
    return [task(sources) for sources in chunk]


def _fault(sources: Sources, what: str) -> LossDoctorError:
    return LossDoctorError(f"{sources[0]} could not be analysed: {' '.join(what.split())[:300]}")


class _Dispatch:
    """Hands chunks to an executor, a few at a time, and gives what comes back; mends what breaks on the way."""

    def __init__(self, executor: Executor | None, task: Task, in_flight: int, ordered: bool, jobs: int = 1) -> None:
        self.task, self.in_flight, self.ordered, self.jobs = task, in_flight, ordered, jobs
        self.own: ProcessPoolExecutor | None = None
        self.executor = executor or self._pool(jobs)
        self.pending: deque[tuple[Future[list[Outcome]], list[Sources]]] = deque()

    def __enter__(self) -> _Dispatch:
        return self

    def __exit__(self, *error: object) -> None:
        if self.own is not None:
            _end(self.own, at_once=error[0] is not None)

    def results(self, chunks: Iterator[list[Sources]]) -> Iterator[Outcome]:
        """The outcomes of all chunks."""
        try:
            while self._fill(chunks):
                if self.ordered:
                    ready = [self.pending[0]]
                else:
                    done, _ = wait([future for future, _ in self.pending], return_when=FIRST_COMPLETED)
                    ready = [one for one in self.pending if one[0] in done]
                for one in ready:
                    if one in self.pending:  # those that broke with one before it are done already
                        self.pending.remove(one)
                        yield from self._take(*one)
        finally:
            for future, _ in self.pending:
                future.cancel()

    def _fill(self, chunks: Iterator[list[Sources]]) -> bool:
        while len(self.pending) < self.in_flight and (chunk := next(chunks, None)):
            self.pending.append((self._submit(chunk), chunk))
        return bool(self.pending)

    def _submit(self, chunk: list[Sources]) -> Future[list[Outcome]]:
        try:
            return self.executor.submit(_work, self.task, chunk)
        except BrokenExecutor as error:
            broken: Future[list[Outcome]] = Future()
            broken.set_exception(error)
            return broken

    def _take(self, future: Future[list[Outcome]], chunk: list[Sources]) -> Iterator[Outcome]:
        try:
            yield from future.result()
        except BrokenExecutor:
            yield from self._mend(chunk)
        except Exception as error:  # the executor's own: a worker that died, something that could not be sent
            if len(chunk) == 1:
                yield Outcome(chunk[0], error=_fault(chunk[0], f"{type(error).__name__}: {error}"))
                return
            for sources in chunk:
                yield from self._take(self._submit([sources]), [sources])

    def _mend(self, chunk: list[Sources]) -> Iterator[Outcome]:
        """A worker has died and taken all others along: what they had is read anew, each source alone in a process."""
        lost = [chunk]
        for future, waiting in self.pending:
            if future.done() and not future.cancelled() and future.exception() is None:
                yield from future.result()
            else:
                lost.append(waiting)
        self.pending.clear()
        self.executor = self._pool(self.jobs)
        pool = self._alone()
        try:
            for sources in chain.from_iterable(lost):
                try:
                    yield from pool.submit(_work, self.task, [sources]).result()
                except BrokenExecutor:
                    yield Outcome(sources, error=_fault(sources, "the process that read it was killed, or ran out of memory"))
                    _end(pool)
                    pool = self._alone()
        finally:
            _end(pool, at_once=True)

    def _pool(self, jobs: int) -> ProcessPoolExecutor:
        if self.own is not None:
            _end(self.own, at_once=True)
        self.own = self._alone(jobs)
        return self.own

    def _alone(self, jobs: int = 1) -> ProcessPoolExecutor:
        from concurrent.futures import ProcessPoolExecutor  # only where there are processes to start

        return ProcessPoolExecutor(jobs, initializer=_begin)


def _end(pool: ProcessPoolExecutor, at_once: bool = False) -> None:
    """Lets go of a pool; at once also of what its processes are doing."""
    processes = list((getattr(pool, "_processes", None) or {}).values()) if at_once else []
    pool.shutdown(wait=not at_once, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(LOOK)
