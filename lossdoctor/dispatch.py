"""Hands sources to an executor, a few at a time, and mends what breaks: a worker that dies costs the source that killed it."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from itertools import chain, islice

from lossdoctor.many import Outcome, Sources, Task, fault

#: Sources that are sent to a worker at once, how many such chunks wait for each worker, and workers where nobody says.
CHUNK, WAITING, UNKNOWN = 16, 3, 32
#: Seconds between two looks of a worker whether the process that started it is still there.
LOOK = 1.0
#: How often a worker is told to leave, and the seconds in between.
TOLD, BETWEEN = 100, 0.05
_working = False


def _chunks(units: Iterator[Sources], each: int) -> Iterator[list[Sources]]:
    while chunk := list(islice(units, each)):
        yield chunk


def _begin() -> None:
    """In a worker: Ctrl-C is for the process that started it, and it goes when that one has gone or says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    gc.enable()
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()


def _leave(*_: object) -> None:
    """Ends a worker, but not while it sends a result: whoever reads that would wait for the rest of it for ever."""
    if _working:
        os._exit(1)


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)


def _work(task: Task, chunk: Sequence[Sources]) -> list[Outcome]:
    global _working
    _working = True
    try:
        return [task(sources) for sources in chunk]
    finally:
        _working = False


class Dispatch:
    """Hands chunks to an executor, a few at a time, and gives what comes back; mends what breaks on the way."""

    def __init__(self, executor: Executor | None, task: Task, in_flight: int | None, ordered: bool, jobs: int) -> None:
        self.task, self.ordered, self.jobs = task, ordered, jobs
        self.own: ProcessPoolExecutor | None = None
        self.executor = executor or self._pool(jobs)
        workers = jobs if executor is None else getattr(executor, "_max_workers", None) or UNKNOWN
        self.in_flight = in_flight or WAITING * workers
        self.pending: deque[tuple[Future[list[Outcome]], list[Sources]]] = deque()

    def __enter__(self) -> Dispatch:
        return self

    def __exit__(self, *error: object) -> None:
        if self.own is not None:
            _end(self.own, at_once=error[0] is not None)

    def results(self, units: Iterator[Sources], each: int) -> Iterator[Outcome]:
        """The outcomes of all sources, handed over by so many."""
        chunks = _chunks(units, each)
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
            found = future.result()
        except BrokenExecutor:
            yield from self._mend(chunk)
        except Exception:  # the executor's own: a worker that died, something that could not be sent
            wait([future for future, _ in self.pending])  # whatever else is running may be what killed it
            for sources in chunk:
                yield from self._again(sources)
        else:
            yield from found

    def _again(self, sources: Sources) -> Iterator[Outcome]:
        """One source alone, while nothing else is under way: if that fails, it is to blame."""
        try:
            found = self.executor.submit(_work, self.task, [sources]).result()
        except Exception as error:
            found = [Outcome(sources, error=fault(sources, f"{type(error).__name__}: {error}"))]
        yield from found

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
                    found = pool.submit(_work, self.task, [sources]).result()
                except BrokenExecutor:
                    found = [Outcome(sources, error=fault(sources, "the process that read it was killed, or ran out of memory"))]
                    _end(pool)
                    pool = self._alone()
                yield from found
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
    for _ in range(TOLD):
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(BETWEEN)
        processes = [process for process in processes if process.is_alive()]
        if not processes:
            return
    for process in processes:
        process.kill()
