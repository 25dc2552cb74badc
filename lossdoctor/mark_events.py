"""Marks as events of TensorBoard, through its own record writer: dots with a description, and a summary for the Text tab."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lossdoctor.dots import Curves, Dot, apart, dots
from lossdoctor.language import say
from lossdoctor.model import Report
from lossdoctor.readers.event_files import Point
from lossdoctor.reports import markdown, words

#: The folder in a run's own, and how the names of our files end.
FOLDER, SUFFIX = "lossdoctor", ".lossdoctor"
#: Likewise, of a callback that may still be writing.
LIVE = f".live{SUFFIX}"
TEXT_TAG = "lossdoctor/findings"
_FILES = itertools.count()
#: More findings than this are only counted in the description of a chart.
DESCRIBED = 20


def marks(report: Report, drawn: Curves) -> dict[str, list[Any]]:
    """All events of a finished run by sub-run, that of the summary under ""; nothing where there is nothing to mark."""
    found = dots(report, drawn)
    events: dict[str, list[Any]] = {}
    for kind, placed in found.items():
        events[kind] = [restart(0)]
        for tag in dict.fromkeys(dot.tag for dot in placed):
            there = [dot for dot in placed if dot.tag == tag]
            events[kind] += scalars(apart([dot.point for dot in there]), described(kind, there, report))
    if words.alarming(report):
        events[""] = [restart(0), summary(report, drawn)]
    return events


def new_file(folder: Path, kind: str, suffix: str = SUFFIX) -> Path:
    """The name of a file in a sub-run; names rise with time, since TensorBoard reads them in their order.

    The last number keeps two trainings of one process apart that begin in the same second.
    """
    begun = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_FILES):06d}"
    return folder / FOLDER / kind / f"events.out.tfevents.{begun}{suffix}"


def append(path: Path, events: Iterable[Any]) -> None:
    """Events at the end of a file of ours, which is begun if it is not there.

    Through tensorboard's own record writer, and not through its event file writer: that one has a thread, to wait for which
    could hold up a training.

    Raises:
        OSError: the file cannot be written.
    """
    from tensorboard.compat.proto.event_pb2 import Event as Written
    from tensorboard.summary.writer.record_writer import RecordWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        writer = RecordWriter(file)
        if not file.tell():
            writer.write(Written(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        for event in events:
            writer.write(event.SerializeToString())


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


def summary(report: Report, drawn: Curves) -> Any:
    """The whole report as one text, at the time of the latest point: the Text tab keeps a few of them only, so each has all."""
    from tensorboard.compat.proto.event_pb2 import Event as Written
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.types_pb2 import DataType
    from tensorboard.plugins.text.metadata import create_summary_metadata

    value = Summary.Value(tag=TEXT_TAG, metadata=create_summary_metadata("", ""))
    value.tensor.dtype = DataType.DT_STRING
    value.tensor.string_val.append(markdown.render([report]).encode("utf-8", "replace"))
    latest = max((points[-1].wall_time for points in drawn.values() if points), default=0.0)
    return Written(wall_time=latest, step=report.last_step or 0, summary=Summary(value=[value]))


def described(kind: str, placed: Sequence[Dot], report: Report) -> str:
    """What the (i) of a chart says of its dots, as Markdown."""
    lines = [say("**lossdoctor: {kind}**", kind=kind), ""]
    seen = list({dot.symptom.identity: dot.symptom for dot in placed}.values())
    lines += [
        say("- step {onset:,}: {symptom}", onset=symptom.onset, symptom=markdown.plain(words.what_was_seen(symptom)))
        for symptom in seen[:DESCRIBED]
    ]
    if len(seen) > DESCRIBED:
        lines.append(say("- and {number_of_placed} more", number_of_placed=len(seen) - DESCRIBED))
    cause = words.likeliest(report)
    if cause is not None and cause.confidence != "low":
        lines += ["", say("Most likely: {cause_title}.", cause_title=markdown.plain(cause.title))]
        lines += [f"- {markdown.plain(remedy.do)}" for remedy in cause.remedies if not remedy.alternative]
    return "\n".join(lines)


def restart(step: int) -> Any:
    """Tells TensorBoard to forget what it has of this sub-run from that step on, as after a resume."""
    from tensorboard.compat.proto.event_pb2 import Event as Written
    from tensorboard.compat.proto.event_pb2 import SessionLog

    return Written(step=step, session_log=SessionLog(status=SessionLog.START))
