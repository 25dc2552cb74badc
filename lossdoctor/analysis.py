"""From a path to reports: finds the log, reads it, gathers the facts beside it and runs the engine."""

from __future__ import annotations

import gc
import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from lossdoctor import facts, remote
from lossdoctor.base import Page
from lossdoctor.engine import examine
from lossdoctor.model import Fact, Log, LossDoctorError, Report, Run
from lossdoctor.parsing.points import Point
from lossdoctor.readers import Source, folder, read_file, tree
from lossdoctor.readers.dialects import reads_folder
from lossdoctor.same_run import Fingerprint, fingerprint, groups

_PAUSED = Lock()


def _unpause() -> None:
    """A process that was forked while a thread had paused the collector is not paused itself."""
    global _PAUSED
    _PAUSED = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unpause)

#: Stands for standard input; a file of that name is ./-
PIPE = "-"
_ANY_DEPTH = re.compile(r"(?:(?<=[/\\])|^)\*\*(?:[/\\]|$)")


def load(path: str | Path) -> list[Log]:
    """The runs in a file or a folder, with the facts that lie beside them; or at an address, or, of "-", in standard input.

    Raises:
        LossDoctorError: there is no readable log at `path`.
        NothingToAnalyse: it is a log without a row.
    """
    if path == PIPE:
        source = Source.standard_input()
        return [replace(log, run=replace(log.run, path=source.name)) for log in read_file(source)]
    if remote.is_address(path):
        return remote.read(str(path), load)
    given = Path(path)
    try:
        if told := remote.hint(given):
            raise LossDoctorError(f"{given}: no such file or directory{told}")
        file = folder.newest_log(given) if given.is_dir() and not reads_folder(given) else given
        with _collector_paused():
            logs = read_file(Source.open(file))
        return _with_facts(logs, str(given), file)
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise LossDoctorError(f"{given}: {(error.strerror or str(error)).lower()}") from None


def _with_facts(logs: Iterable[Log], path: str, file: Path) -> list[Log]:
    """The runs of a file or a folder with what lies beside it."""
    output = folder.output_folder(file)
    near = [file, output] if file.is_dir() else [file.parent] if file.is_file() else []  # nothing lies beside a pipe
    saved = folder.checkpoints(output) if near else ()
    last = [Path(checkpoint.path) for checkpoint in saved[-1:]]
    known, notes = facts.beside(dict.fromkeys([*near, *last]), within=(output, *near))
    return [replace(log, run=_complete(log, path, known, saved, notes)) for log in logs]


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Reading and judging make millions of objects and no cycle: the collector would go through all of them for nothing.

    There is one collector for all threads: whoever pauses it first lets it go on, and the others leave it as it is.
    """
    lock = _PAUSED
    if not lock.acquire(blocking=False):
        yield
        return
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
        lock.release()


def _complete(log: Log, path: str, known: Iterable[Mapping[str, Fact]], saved: tuple[Any, ...], notes: Iterable[str]) -> Run:
    run = log.run
    for source in known:
        run = run.knowing(source)
    return replace(run, path=path, checkpoints=saved, notes=(*run.notes, *notes))


def analyze(
    path: str | Path,
    *,
    known: Mapping[str, Fact] | None = None,
    configurations: Iterable[Mapping[str, Fact]] = (),
    settings: dict[str, dict[str, Any]] | None = None,
    plugins: Iterable[Page | type[Page]] = (),
) -> list[Report]:
    """The reports on the runs at `path`, with what the user says of them besides what is found beside the log.

    `configurations` win over the files beside the log and the later of them over the earlier, `known` wins over all.
    `plugins` are detectors and causes of your own, as instances or classes, besides those that are there anyway.

    Raises:
        LossDoctorError: there is no readable log at `path`, or a setting or a plugin is wrong.
        NothingToAnalyse: it is a log without a row.
    """
    with _collector_paused():
        own, stated = tuple(plugins), tuple(configurations)
        return [examine(log.records, _told(log.run, stated, known or {}), settings, own) for log in load(path)]


def analyze_events(
    events: Path, *, known: Mapping[str, Fact] | None = None, see: Callable[[Point], None] | None = None
) -> Report:
    """The report on the event files in a folder, whatever other logs lie in it; `see` is told of every point.

    Raises:
        LossDoctorError: they cannot be read.
        NothingToAnalyse: there is no scalar of a training in them.
    """
    from lossdoctor.readers.event_files import run_of

    try:
        with _collector_paused():
            log = run_of(folder.event_files(events), str(events), see)
            (log,) = _with_facts([log], str(events), events)
            return examine(log.records, _told(log.run, (), known or {}))
    except OSError as error:
        raise LossDoctorError(f"{error.filename or events}: {(error.strerror or str(error)).lower()}") from None


class Judged(NamedTuple):
    """The report on a run, and what tells it from others; None where its log has too few losses for that."""

    report: Report
    print_: Fingerprint | None


def together(
    paths: Sequence[str],
    *,
    known: Mapping[str, Fact] | None = None,
    configurations: Iterable[Mapping[str, Fact]] = (),
    **more: Any,
) -> list[Judged]:
    """The reports on sources that may be of one run, such as all that lies in its output folder; `more` as for `analyze`.

    Of sources with the same rows the best one is judged, knowing what the others state; the report names them. One that
    cannot be read beside others that can is a note.

    Raises:
        LossDoctorError: none of them can be read, or a setting or a plugin is wrong.
    """
    with _collector_paused():  # until the rows are let go of as well
        return _together(paths, tuple(configurations), known or {}, more)


def _together(
    paths: Sequence[str], stated: tuple[Mapping[str, Fact], ...], known: Mapping[str, Fact], more: Mapping[str, Any]
) -> list[Judged]:
    logs, failed = _loaded(paths)
    prints = [fingerprint(log) for log in logs]
    judged = []
    for best, *others in groups(prints) if len(paths) > 1 else [[place] for place in range(len(logs))]:
        run = logs[best].run
        for other in others:
            run = run.knowing(logs[other].run.facts)
        titles = tuple(dict.fromkeys(logs[other].run.title for other in others))
        run = replace(run, same=titles, notes=(*run.notes, *failed))
        failed = []
        judged.append(Judged(_judged(logs[best], run, stated, known, more), prints[best]))
    return judged


def _loaded(paths: Sequence[str]) -> tuple[list[Log], list[str]]:
    logs: list[Log] = []
    failed: list[LossDoctorError] = []
    for path in paths:
        try:
            logs += load(path)
        except LossDoctorError as error:
            failed.append(error)
    if not logs:
        raise failed[0]
    return logs, [str(error) for error in failed]


def _judged(
    log: Log, run: Run, stated: tuple[Mapping[str, Fact], ...], known: Mapping[str, Fact], more: Mapping[str, Any]
) -> Report:
    return examine(
        log.records, _told(run, stated, known), more.get("settings"), tuple(more.get("plugins", ())), rows=more.get("rows", True)
    )


def _told(run: Run, configurations: tuple[Mapping[str, Fact], ...], known: Mapping[str, Fact]) -> Run:
    for stated in (*configurations, known):
        run = run.knowing(stated, first=True)
    return replace(run, configurations=configurations)


def find_runs(*paths: str | os.PathLike[str]) -> list[tuple[str, ...]]:
    """The sources of every run at and below these paths, for `analyze_many`: those that may be of one run are together.

    A folder that holds a log itself is one run, as for `analyze`; otherwise all runs below it are found. Paths may be globs.

    Raises:
        LossDoctorError: a glob matches nothing.
    """
    return find([os.fspath(path) for path in paths]).runs


def find(paths: Iterable[str]) -> tree.Tree:
    """The same, with notes on what was not looked at; other paths stay as they are, to be judged when they are read."""
    found: list[tree.Sources] = []
    notes: list[str] = []
    for path in expand(paths):
        below = _below(path)
        found += below.runs if below and below.runs else [(path,)]
        notes += [] if below is None else below.notes
    return tree.Tree(list(dict.fromkeys(found)), notes)


def _below(path: str) -> tree.Tree | None:
    """The runs below a folder; None where it is a file, holds a log itself, or has none below: reading it says so."""
    given = Path(path)
    if path == PIPE or remote.is_address(path):
        return None
    try:
        if not given.is_dir() or reads_folder(given):
            return None
        folder.newest_log(given)
    except (OSError, ValueError):
        return None
    except LossDoctorError:
        found = tree.find(given)
        return found if found.runs or found.notes else None
    return None


def expand(patterns: Iterable[str]) -> list[str]:
    """Paths and globs (for shells that leave them alone) → paths, each once, in the order given.

    Raises:
        LossDoctorError: a glob matches nothing, or standard input is named twice.
    """
    found: list[str] = []
    for pattern in patterns:
        if pattern == PIPE and PIPE in found:
            raise LossDoctorError(f"{PIPE} is named twice, but standard input can be read only once")
        if glob.has_magic(pattern) and not remote.is_address(pattern) and not os.path.exists(pattern):  # noqa: PTH110  # says False where Path would raise
            matches = sorted(_matches(pattern))
            if not matches:
                raise LossDoctorError(f"{pattern} matches no file")
            found += matches
        else:
            found.append(pattern)
    return list(dict.fromkeys(found))


def _matches(pattern: str) -> set[str]:
    """What a glob matches; as in a shell, `**` does not follow links, which may lead round in circles without end."""
    parts = _ANY_DEPTH.split(pattern, maxsplit=1)
    if len(parts) == 1:
        return set(glob.glob(pattern))
    base, rest = parts
    found: set[str] = set()
    for top in glob.glob(base) if glob.has_magic(base) else [base]:
        for place, below, files in os.walk(top or "."):
            below[:] = [name for name in below if not name.startswith(".")]
            inside = place if top else place[2:]  # without ./
            if rest:
                found |= _matches(os.path.join(glob.escape(inside), rest))  # noqa: PTH118
            else:
                found |= {os.path.join(inside, name) for name in files if not name.startswith(".")}  # noqa: PTH118
    return found
