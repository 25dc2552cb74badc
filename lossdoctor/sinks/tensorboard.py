"""Marks on the charts that TensorBoard draws of a run: dots of the same tag in sub-runs, and a summary in the Text tab.

Everything goes into `<run>/lossdoctor/`, into files of our own: a second file in the directory that the Trainer writes to
would freeze its curve (tensorflow/tensorboard#1011). Deleting that folder undoes it all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lossdoctor.dots import MAIN, Dot, Growing, apart, dots
from lossdoctor.engine import Event
from lossdoctor.language import say
from lossdoctor.mark_events import FOLDER, LIVE, append, described, new_file, restart, scalars, summary
from lossdoctor.model import RANK, Report
from lossdoctor.readers.event_files import EventFile, Point
from lossdoctor.readers.folder import RUNS, event_files, newest_run
from lossdoctor.reports import words
from lossdoctor.sinks.console import write


class TensorBoard:
    """The sink: marks each warning on its chart as it comes, and rewrites the summary with every change.

    Args:
        folder: the run's own folder of event files, which is only read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, EventFile] = {}
        self._curves: dict[str, Growing] = {}
        self._files: dict[str, Path] = {}
        self._placed: dict[tuple[str, str], list[Dot]] = {}
        self._known: set[tuple[str, str, int]] = set()
        self._told = False

    def __call__(self, event: Event) -> None:
        if event.symptom is not None and RANK[event.symptom.severity] < RANK["warning"]:
            return
        report = event.report()
        if words.alarming(report):
            self._mark(report, final=event.symptom is None)
        elif event.symptom is None:
            for kind in list(self._files):
                self._remove(kind)

    def _mark(self, report: Report, *, final: bool) -> None:
        drawn = self._drawn()
        every = dots(report, drawn)
        if final:
            self._take_back(every)
        for kind, found in every.items():
            fresh = [dot for dot in found if (kind, dot.symptom.series, dot.onset) not in self._known]
            for tag in dict.fromkeys(dot.tag for dot in fresh):
                self._add(kind, tag, [dot for dot in fresh if dot.tag == tag], report)
            self._known |= {(kind, dot.symptom.series, dot.onset) for dot in fresh}
        self._write("", [summary(report, drawn)])
        if not self._told:
            self._told = True
            write(say("lossdoctor: marked in TensorBoard: {address}", address=address()))

    def _take_back(self, every: Mapping[str, Sequence[Dot]]) -> None:
        """Marks that are no finding of their own in the end: they turned out as part of another one, or as expected."""
        for kind, tag in list(self._placed):
            wanted = {(dot.symptom.series, dot.onset) for dot in every.get(kind, ())}
            placed = self._placed[kind, tag]
            kept = [dot for dot in placed if (dot.symptom.series, dot.onset) in wanted]
            if not wanted:
                self._remove(kind)
            elif len(kept) < len(placed):
                self._placed[kind, tag] = kept
                self._write(kind, [restart(placed[0].point.step), *scalars(apart([dot.point for dot in kept]), "")])

    def _remove(self, kind: str) -> None:
        """Takes a sub-run of this training away; another file in it stays, and with it the folder."""
        path = self._files.pop(kind, None)
        if path is not None:
            path.unlink(missing_ok=True)
            for folder in dict.fromkeys((path.parent, self.folder / FOLDER)):
                if not any(folder.iterdir()):
                    folder.rmdir()

    def _drawn(self) -> dict[str, list[Point]]:
        """The run's curves up to now, of which only what is new is read."""
        for path in event_files(self.folder):
            for point in self._read.setdefault(path, EventFile(path)).points():
                self._curves.setdefault(point.tag, Growing()).add(point)
        return {tag: curve.points() for tag, curve in self._curves.items()}

    def _add(self, kind: str, tag: str, fresh: Sequence[Dot], report: Report) -> None:
        """Adds dots to a series; one before the last makes TensorBoard forget what comes after it, so that is written again."""
        before = self._placed.get((kind, tag), [])
        every = sorted([*before, *fresh], key=lambda dot: dot.point.step)
        self._placed[kind, tag] = every
        points = [dot.point for dot in every]
        if before and fresh[0].point.step <= before[-1].point.step:
            self._write(kind, [restart(points[0].step), *scalars(apart(points), "")])
            return
        joined = apart([before[-1].point, *(dot.point for dot in fresh)])[1:] if before else apart(points)
        self._write(kind, scalars(joined, "" if before else described(kind, every, report)))

    def _write(self, kind: str, events: Iterable[Any]) -> None:
        append(self._files.setdefault(kind, new_file(self.folder, kind, LIVE)), events)


def folder_of(args: Any, trainer: Any) -> Path | None:
    """Where the Trainer writes its event files: as its own writer says, else where its callback would put them; None if nowhere.

    Args:
        args: the TrainingArguments.
        trainer: the Trainer, or None where it is not known.
    """
    callbacks = getattr(getattr(trainer, "callback_handler", None), "callbacks", ())
    writers = [writer for callback in callbacks if (writer := getattr(callback, "tb_writer", None)) is not None]
    places = [getattr(writer, "log_dir", None) or getattr(writer, "logdir", None) for writer in writers]
    if not places and trainer is None and "tensorboard" in (getattr(args, "report_to", None) or ()):
        stated = os.environ.get("TENSORBOARD_LOGGING_DIR") or getattr(args, "logging_dir", None)
        newest = newest_run(Path(args.output_dir or ".").glob(f"{RUNS}/*"))  # the Trainer's callback has just begun it
        places = [stated or (newest and newest.folder)]
    local = [place for place in places if place and "://" not in str(place)]
    return Path(local[0]) if local else None


def address(tag: str = MAIN) -> str:
    """What opens that chart in a TensorBoard that runs on this machine, without the smoothing that hides spikes."""
    return f"http://localhost:6006/?tagFilter={quote(re.escape(tag), safe='')}&smoothing=0#timeseries"
