"""Marks on the charts that TensorBoard draws of a run: dots of the same tag in sub-runs, and a summary in the Text tab.

Everything goes into `<run>/lossdoctor/`, into files of our own: a second file in the directory that the Trainer writes to
would freeze its curve (tensorflow/tensorboard#1011). Deleting that folder undoes it all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lossdoctor.dots import MAIN, Dot, apart, curves, dots
from lossdoctor.engine import Event
from lossdoctor.model import RANK, Report
from lossdoctor.readers.event_files import EventFile, Point
from lossdoctor.readers.folder import event_files
from lossdoctor.reports import markdown, words
from lossdoctor.sinks.console import write

#: The folder in a run's own, and how the names of our files end.
FOLDER, SUFFIX = "lossdoctor", ".lossdoctor"
#: Likewise, of a callback that may still be writing.
LIVE = f".live{SUFFIX}"
TEXT_TAG = "lossdoctor/findings"
#: More findings than this are only counted in the description of a chart.
DESCRIBED = 20


class TensorBoard:
    """The sink: marks each warning on its chart as it comes, and rewrites the summary with every change.

    Args:
        folder: the run's own folder of event files, which is only read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, EventFile] = {}
        self._points: list[Point] = []
        self._writers: dict[str, Any] = {}
        self._placed: dict[tuple[str, str], list[Dot]] = {}
        self._identities: set[tuple[str, str, int]] = set()

    def __call__(self, event: Event) -> None:
        finished = event.symptom is None
        if not finished and RANK[event.symptom.severity] < RANK["warning"]:  # type: ignore[union-attr]
            return
        report = event.report()
        if words.alarming(report):
            self._mark(report)
        if finished:
            for writer in self._writers.values():
                writer.close()
            self._writers = {}

    def _mark(self, report: Report) -> None:
        if not self._identities:
            write(f"lossdoctor: marked in TensorBoard: {address()}")
        drawn = self._drawn()
        for kind, found in dots(report, drawn).items():
            fresh = [dot for dot in found if dot.symptom.identity not in self._identities]
            for tag in dict.fromkeys(dot.tag for dot in fresh):
                self._add(kind, tag, [dot for dot in fresh if dot.tag == tag], report)
            self._identities |= {dot.symptom.identity for dot in fresh}
        latest = max((points[-1].wall_time for points in drawn.values() if points), default=None)
        self._write("", [summary(report, latest)])

    def _drawn(self) -> dict[str, list[Point]]:
        """The run's curves up to now, of which only what is new is read."""
        for path in event_files(self.folder):
            self._points += self._read.setdefault(path, EventFile(path)).points()
        return curves(self._points)

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
        if kind not in self._writers:
            self._writers[kind] = writer_in(self.folder, kind, LIVE)
        for event in events:
            self._writers[kind].add_event(event)
        self._writers[kind].flush()


def address(tag: str = MAIN) -> str:
    """What opens that chart in a TensorBoard that runs on this machine, without the smoothing that hides spikes."""
    return f"http://localhost:6006/?tagFilter={quote(tag, safe='')}&smoothing=0#timeseries"


def marks(report: Report, drawn: Mapping[str, Sequence[Point]]) -> dict[str, list[Any]]:
    """All events of a finished run by sub-run, that of the summary under ""; nothing where there is nothing to mark."""
    found = dots(report, drawn)
    events: dict[str, list[Any]] = {}
    for kind, placed in found.items():
        events[kind] = [restart(0)]
        for tag in dict.fromkeys(dot.tag for dot in placed):
            there = [dot for dot in placed if dot.tag == tag]
            events[kind] += scalars(apart([dot.point for dot in there]), described(kind, there, report))
    if words.alarming(report):
        latest = max((points[-1].wall_time for points in drawn.values() if points), default=None)
        events[""] = [restart(0), summary(report, latest)]
    return events


def writer_in(folder: Path, kind: str, suffix: str = SUFFIX) -> Any:
    """tensorboard's own writer for a sub-run."""
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    return EventFileWriter(str(folder / FOLDER / kind), filename_suffix=suffix)


def write_new(folder: Path, kind: str, events: Iterable[Any]) -> None:
    """A sub-run that was not there."""
    writer = writer_in(folder, kind)
    for event in events:
        writer.add_event(event)
    writer.close()


def append(path: Path, events: Iterable[Any]) -> None:
    """Events at the end of a file of ours, in tensorboard's own framing."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    with path.open("ab") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())
        file.flush()


def scalars(points: Iterable[Point], description: str) -> Iterator[Any]:
    """The events of one series; the first one carries the description, as TensorBoard wants it."""
    from tensorboard.compat.proto.event_pb2 import Event as Written
    from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, Summary

    for point in points:
        value = Summary.Value(tag=point.tag, simple_value=point.value)
        if description:
            value.metadata.summary_description, description = description, ""
            value.metadata.plugin_data.plugin_name = "scalars"
            value.metadata.data_class = DATA_CLASS_SCALAR  # without it the faster of TensorBoard's loaders drops the description
        yield Written(wall_time=point.wall_time, step=point.step, summary=Summary(value=[value]))


def summary(report: Report, wall_time: float | None) -> Any:
    """The whole report as one text: the Text tab keeps a few of them only, so each has all."""
    from tensorboard.compat.proto.event_pb2 import Event as Written
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.types_pb2 import DataType
    from tensorboard.plugins.text.metadata import create_summary_metadata

    value = Summary.Value(tag=TEXT_TAG, metadata=create_summary_metadata("", ""))
    value.tensor.dtype = DataType.DT_STRING
    value.tensor.string_val.append(markdown.render([report]).encode("utf-8", "replace"))
    return Written(wall_time=wall_time or 0.0, step=report.last_step or 0, summary=Summary(value=[value]))


def described(kind: str, placed: Sequence[Dot], report: Report) -> str:
    """What the (i) of a chart says of its dots, as Markdown."""
    lines = [f"**lossdoctor: {kind}**", ""]
    lines += [f"- step {d.symptom.onset:,}: {markdown.plain(words.what_was_seen(d.symptom))}" for d in placed[:DESCRIBED]]
    if len(placed) > DESCRIBED:
        lines.append(f"- and {len(placed) - DESCRIBED} more")
    cause = words.likeliest(report)
    if cause is not None and cause.confidence != "low":
        lines += ["", f"Most likely: {markdown.plain(cause.title)}."]
        lines += [f"- {markdown.plain(remedy.do)}" for remedy in cause.remedies if not remedy.alternative]
    return "\n".join(lines)


def restart(step: int) -> Any:
    """Tells TensorBoard to forget what it has of this sub-run from that step on, as after a resume."""
    from tensorboard.compat.proto.event_pb2 import Event as Written
    from tensorboard.compat.proto.event_pb2 import SessionLog

    return Written(step=step, session_log=SessionLog(status=SessionLog.START))
