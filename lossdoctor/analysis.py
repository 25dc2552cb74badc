"""From a path to reports: finds the log, reads it, gathers the facts beside it and runs the engine."""

from __future__ import annotations

import gc
import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lossdoctor import facts, remote
from lossdoctor.base import Page
from lossdoctor.engine import examine
from lossdoctor.model import Fact, Log, LossDoctorError, Report, Run
from lossdoctor.readers import Source, folder, read_file

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
        file = folder.newest_log(given) if given.is_dir() else given
        with _collector_paused():
            logs = read_file(Source.open(file))
        output = folder.output_folder(file)
        near = [file, output] if file.is_dir() else [file.parent] if file.is_file() else []  # nothing lies beside a pipe
        saved = folder.checkpoints(output) if near else ()
        last = [Path(checkpoint.path) for checkpoint in saved[-1:]]
        known, notes = facts.beside(dict.fromkeys([*near, *last]), within=(output, *near))
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise LossDoctorError(f"{given}: {(error.strerror or str(error)).lower()}") from None
    return [replace(log, run=_complete(log, str(given), known, saved, notes)) for log in logs]


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Reading and judging make millions of objects and no cycle: the collector would go through all of them for nothing."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


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


def _told(run: Run, configurations: tuple[Mapping[str, Fact], ...], known: Mapping[str, Fact]) -> Run:
    for stated in (*configurations, known):
        run = run.knowing(stated, first=True)
    return replace(run, configurations=configurations)


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
