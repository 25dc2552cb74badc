"""Marks what is wrong with finished runs on the charts that TensorBoard draws of them; takes the marks away again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose, isnan
from pathlib import Path
from typing import Any

from lossdoctor import analysis
from lossdoctor.dots import MAIN, Curves, chart_of, curves
from lossdoctor.language import say
from lossdoctor.mark_events import FOLDER, LIVE, SUFFIX, append, marks, new_file, restart
from lossdoctor.model import Fact, LossDoctorError, Report
from lossdoctor.readers.event_files import EventFile, Point
from lossdoctor.readers.folder import event_files

#: Rows at both ends of a state file that are compared with the curve, and how far a loss may be off: releases before 5 round.
COMPARED, ROUNDED = 50, 1e-4
#: A file that was written to within so many seconds may belong to a training that goes on.
GOING_ON = 300


@dataclass(frozen=True)
class Annotated:
    """What was done to a run: the number of marks by kind, the charts they are on, and whether anything had to be written.

    `told` says that there was something to tell: the Text tab has it, also where no curve has a number to put a mark on.
    """

    folder: Path
    report: Report
    marks: Mapping[str, int]
    tags: tuple[str, ...]
    written: bool
    told: bool = True


def runs(folder: Path) -> list[Path]:
    """The run folders at or below a log directory: those with event files that are not marks of ours.

    Raises:
        LossDoctorError: there is none.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise LossDoctorError(f"{folder} {what}; the folder of a run with TensorBoard event files was expected")
    found = [Path(top) for top, _, names in os.walk(folder) if any(map(_is_foreign, names))]
    if not found:
        raise LossDoctorError(f"{folder} holds no TensorBoard event files (events.out.tfevents.…), nor does a folder in it")
    return sorted(found)


def annotate(folder: Path, *, state: Path | None = None, known: Mapping[str, Fact] | None = None) -> Annotated:
    """Marks one run. What is there of ours is replaced if it differs; the run's own files are only read.

    Args:
        folder: the run's own folder of event files.
        state: a trainer_state.json of the same run, which has more digits and more facts, to judge by.
        known: facts by their canonical names, as for `analyze`.

    Raises:
        LossDoctorError: the files cannot be read or written, or `state` is of another run.
        NothingToAnalyse: there is no scalar of a training in the folder.
    """
    points: list[Point] = []  # of one reading: what a training adds meanwhile is for the next time
    of_events = analysis.analyze_events(folder, known=known, see=points.append)
    drawn = curves(points)
    _refuse_while_watched(folder, drawn)
    report = of_events if state is None else analysis.analyze(state, known=known)[0]
    if state is not None:
        _compare(state, report, drawn)
    events = marks(report, drawn)
    counts = {kind: sum(map(_is_mark, written)) for kind, written in events.items() if kind}
    tags = {value.tag for kind, written in events.items() if kind for event in written for value in event.summary.value}
    return Annotated(folder, report, counts, tuple(sorted(tags)), _replace(folder, events), bool(events))


def title(folder: Path) -> str:
    """The path of a run on one line, whatever its name holds."""
    return "".join(letter if letter.isprintable() else "�" for letter in str(folder))


def outcome(done: Annotated) -> str:
    """What was marked, in a few words."""
    if not done.marks:
        return say("no number on a curve to mark, the report is in the Text tab") if done.told else say("nothing to mark")
    marked = ", ".join(f"{kind} {count}" for kind, count in done.marks.items())
    return marked if done.written else say("{marked} (there already)", marked=marked)


def undo(folder: Path) -> int:
    """Takes the marks of one run away; gives the number of files that were deleted. What is not ours stays.

    Raises:
        LossDoctorError: they cannot be deleted.
    """
    ours = list(_ours(folder))
    try:
        for path in ours:
            path.unlink()
        _without_empty(folder)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return len(ours)


def _without_empty(folder: Path) -> None:
    """Folders of sub-runs that hold nothing any more go, and then their own."""
    top = folder / FOLDER
    for inside in (*_kinds(folder), *([top] if top.is_dir() and not top.is_symlink() else [])):
        if not any(inside.iterdir()):
            inside.rmdir()


def _kinds(folder: Path) -> list[Path]:
    """The folders of our sub-runs. One that is called lossdoctor as well is no kind: it has the marks of a run of that name."""
    top = folder / FOLDER
    if top.is_symlink() or not top.is_dir():
        return []
    return sorted(inside for inside in top.iterdir() if inside.is_dir() and not inside.is_symlink() and inside.name != FOLDER)


def _ours(folder: Path) -> Iterator[Path]:
    """Our files in a run, and no others: somebody may have a run that is called lossdoctor."""
    top = folder / FOLDER
    for inside in (*_kinds(folder), *([top] if top.is_dir() and not top.is_symlink() else [])):
        yield from sorted(path for path in inside.glob("*tfevents*") if path.name.endswith(SUFFIX) and path.is_file())


def _unwritable(folder: Path, error: OSError) -> LossDoctorError:
    return LossDoctorError(f"cannot write into {folder / FOLDER}: {(error.strerror or str(error)).lower()}")


def _is_foreign(name: str) -> bool:
    return "tfevents" in name and not name.endswith(SUFFIX)


def _is_mark(event: Any) -> bool:
    return any(not isnan(value.simple_value) for value in event.summary.value)


def _replace(folder: Path, events: Mapping[str, Sequence[Any]]) -> bool:
    """Whether it took any writing: marks that are there already stay as they are.

    New marks of a kind go to the end of the file that has the old ones: a TensorBoard that reads it (the loader in Python) would
    not see a second file in place of it. They begin with an event that makes it forget the old ones.
    """
    there: dict[str, list[Path]] = {}
    for path in _ours(folder):
        there.setdefault(path.parent.relative_to(folder / FOLDER).name, []).append(path)
    try:
        gone = [path for kind, paths in there.items() if kind not in events for path in paths]
        for path in gone:
            path.unlink()
        if gone:
            _without_empty(folder)
        return _written(folder, events, there) or bool(gone)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _written(folder: Path, events: Mapping[str, Sequence[Any]], there: Mapping[str, list[Path]]) -> bool:
    """Writes the kinds that are not `there` as they are wanted; whether there was one."""
    changed = False
    for kind, wanted in events.items():
        paths = there.get(kind, [])
        latest = _latest(paths)
        if latest == [event.SerializeToString() for event in wanted]:
            continue
        if latest is None:  # a file that was cut off can take no more
            for path in paths:
                path.unlink()
            paths = []
        changed = True
        append(paths[-1] if paths else new_file(folder, kind), wanted)
    return changed


def _latest(paths: Sequence[Path]) -> list[bytes] | None:
    """The events of a kind since it was last begun anew; None where a file is not whole."""
    files = [EventFile(path) for path in paths]
    records = [record for file in files for record in list(file.records())[1:]]  # the first one is the version
    if any(file.problem for file in files):
        return None
    begun = max((place for place, record in enumerate(records) if record == restart(0).SerializeToString()), default=0)
    return records[begun:]


def _refuse_while_watched(folder: Path, drawn: Curves) -> None:
    """Two writers would write over each other; a training that has logged its summary is over."""
    if any(tag.endswith("train_runtime") for tag in drawn):
        return
    live = [path.stat().st_mtime for path in _ours(folder) if path.name.endswith(LIVE)]
    ago = time.time() - max([*live, *(path.stat().st_mtime for path in event_files(folder))])
    if live and ago < GOING_ON:
        who = f"by the LossDoctorCallback of a training that logged {ago:.0f} s ago"
        raise LossDoctorError(f"{folder} is being marked {who}; annotate it when that is over")


def _compare(state: Path, report: Report, drawn: Curves) -> None:
    """A state file of another run would put marks where nothing was."""
    rows = (record for record in report.records if record.kind == "train" and "loss" in record.values)
    logged = {row.step: row.values["loss"] for row in rows}
    curve = {point.step: point.value for point in drawn.get(chart_of("loss", drawn) or MAIN, ())}
    both = sorted(logged.keys() & curve.keys())
    if not both:
        raise LossDoctorError(f"{state} is not of this run: no step of it has a loss in the event files too")
    for step in both[:COMPARED] + both[-COMPARED:]:
        one, other = logged[step], curve[step]
        if not (isclose(one, other, rel_tol=ROUNDED, abs_tol=ROUNDED) or (isnan(one) and isnan(other))):
            found = f"its loss at step {step:,} is {one:.6g}, in the event files it is {other:.6g}"
            raise LossDoctorError(f"{state} is not of this run: {found}")
