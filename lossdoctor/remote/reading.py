"""What is needed of a remote log is copied into a folder, read there, and removed again, whatever happens."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from lossdoctor.model import Checkpoint, Log, LossDoctorError
from lossdoctor.remote.address import Address, local, parse
from lossdoctor.remote.choice import candidates, copied, found_nothing
from lossdoctor.remote.place import Place

#: Logs of unusual names that are tried one after another, where there is neither a state file nor event files.
MOST_TRIES = 6


def read(given: str, load: Callable[[Path], list[Log]]) -> list[Log]:
    """The runs at an address, see `lossdoctor.remote.read`."""
    if path := local(given):
        return [replace(log, run=replace(log.run, path=given)) for log in load(path)]
    address = parse(given)
    with _folder() as folder:
        place = Place(address, folder)
        try:
            return [_at(address, place, log, note) for log, note in _logs(place, load)]
        except LossDoctorError as error:
            raise type(error)(place.said(str(error))) from None


def _logs(place: Place, load: Callable[[Path], list[Log]]) -> Iterator[tuple[Log, str]]:
    """The logs of the first candidate that can be read, each with what is to be noted of it."""
    tried: list[str] = []
    for candidate in islice(candidates(place), MOST_TRIES):
        try:
            logs = load(copied(place, candidate))
        except LossDoctorError:
            if not candidate.guessed:
                raise
            tried.append(candidate.files[0].name)
            continue
        yield from ((log, candidate.note) for log in logs)
        return
    raise LossDoctorError(found_nothing(place, tried))


def _at(address: Address, place: Place, log: Log, note: str) -> Log:
    saved = tuple(Checkpoint(c.step, place.said(c.path)) for c in log.run.checkpoints)
    notes = tuple(place.said(text) for text in (*log.run.notes, *([note] if note else [])))
    return replace(log, run=replace(log.run, path=address.given, checkpoints=saved, notes=notes))


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is gone afterwards, however that comes: a request to end is met like Ctrl-C."""
    with _leaving(), tempfile.TemporaryDirectory(prefix="lossdoctor-", ignore_cleanup_errors=True) as name:
        yield Path(os.path.realpath(name))


@contextmanager
def _leaving() -> Iterator[None]:
    def leave(*_: Any) -> None:
        raise KeyboardInterrupt

    usual = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if usual:
        signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if usual:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
