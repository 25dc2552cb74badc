"""`lossdoctor watch`: looks at a log again and again while a run writes it, and shows what is new."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from lossdoctor.model import LossDoctorError, Report
from lossdoctor.remote import is_address
from lossdoctor.watch.follower import Follower, Sight

__all__ = ["Follower", "Sight", "View", "watch"]
#: A look may take this share of the time: a huge log is looked at less often.
BUSY = 0.2


class View(Protocol):
    """Where it is shown; `seen` is told of every change, `tick` of the time that passes between."""

    def waiting(self, words: str) -> None: ...

    def seen(self, sight: Sight) -> None: ...

    def tick(self, sight: Sight) -> None: ...

    def close(self, report: Report | None) -> None: ...


def watch(path: str | Path, view: View, analyse: Callable[[str | Path], list[Report]], interval: float = 2.0) -> Report | None:
    """Watches until the run has ended or the user leaves; gives the last report, None where there was none.

    Raises:
        LossDoctorError: what is at `path` is no log, and never will be one.
    """
    if is_address(path) or path == "-":
        raise LossDoctorError(f"{path}: only files on this machine can be watched; lossdoctor analyze reads what is elsewhere")
    follower = Follower(Path(path), analyse)
    try:
        with _leaving():
            _follow(follower, view, interval)
    except KeyboardInterrupt:
        pass  # the usual way to leave
    except BaseException:
        view.close(None)
        raise
    report = follower.sight.report if follower.sight else None
    view.close(report)
    return report


def _follow(follower: Follower, view: View, interval: float) -> None:
    while True:
        began = time.monotonic()
        changed = follower.look()
        sight = follower.sight
        if sight is None:
            view.waiting(follower.reason)
        elif changed:
            view.seen(sight)
        if sight is not None and sight.progress.ended:
            return
        spent = time.monotonic() - began
        until = time.monotonic() + max(interval, spent / BUSY)
        while (left := until - time.monotonic()) > 0:
            if follower.sight is not None:
                follower.age()
                view.tick(follower.sight)
            time.sleep(min(left, 1.0))


@contextmanager
def _leaving() -> Iterator[None]:
    """A request to end is met like Ctrl-C: the terminal is left as it was."""

    def leave(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
