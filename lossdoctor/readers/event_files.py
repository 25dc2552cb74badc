"""TensorBoard event files: one, or all of a run's folder. Every point of every scalar is read, none is sampled away."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lossdoctor.facts.config_file import of_mapping
from lossdoctor.language import say
from lossdoctor.model import Fact, Log, LossDoctorError, NothingToAnalyse, Run
from lossdoctor.parsing.points import Point as Point  # whoever imports EventFile wants what it gives
from lossdoctor.parsing.points import as_rows as joined
from lossdoctor.parsing.rows import records
from lossdoctor.parsing.source import EVENT_FILE, Source
from lossdoctor.readers.folder import event_files

KIND = "event_files"
#: A record is framed by its length, a checksum of that, and a checksum of its data.
HEADER, FOOTER = 12, 4
#: A longer record holds pictures or a graph, and no scalar.
LARGEST_RECORD = 16 * 1024 * 1024
#: Text summaries of the Trainer's callback, as JSON: the arguments, and the model's configuration.
CONFIGURATIONS = ("args/text_summary", "model_config/text_summary", "args", "model_config")


class EventFile:
    """The points of one file, in the order they were written; a record that is not yet complete is left for later."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self.texts: dict[str, str] = {}
        self._offset = 0
        self._tensors: set[str] = set()  # tags whose tensors are scalars

    def points(self) -> Iterator[Point]:
        """What was written since the last call.

        Raises:
            LossDoctorError: the package tensorboard is missing.
        """
        parse = _parser()
        for record in self.records():
            try:
                event = parse(record)
            except Exception:  # protobuf's DecodeError, whose home differs between releases
                self.problem = say(
                    "a record before byte {offset:,} is broken; what comes after it was left out", offset=self._offset
                )
                return
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                if kind == "simple_value":
                    yield Point(value.tag, event.step, value.simple_value, event.wall_time)
                elif kind == "tensor":
                    yield from self._of_tensor(value, event)

    def records(self) -> Iterator[bytes]:
        """The serialised events that were written since the last call."""
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(self._offset)
            while len(header := file.read(HEADER)) == HEADER:
                (length,) = struct.unpack_from("<Q", header)
                if not length or self._offset + HEADER + length + FOOTER > size:
                    break
                self._offset += HEADER + length + FOOTER
                if length > LARGEST_RECORD:
                    file.seek(self._offset)
                    continue
                yield file.read(length + FOOTER)[:length]
            self.problem = "" if self._offset == size else say("its last record is cut off, as while it is being written")

    def _of_tensor(self, value: Any, event: Any) -> Iterator[Point]:
        """TensorFlow writes scalars as tensors without dimensions, and says so with the first of each tag."""
        plugin = value.metadata.plugin_data.plugin_name
        if plugin == "text" and value.tensor.string_val and value.tag in CONFIGURATIONS:
            self.texts[value.tag] = value.tensor.string_val[0].decode("utf-8", "replace")
        if plugin == "scalars":
            self._tensors.add(value.tag)
        if value.tag in self._tensors:
            number = _number(value.tensor)
            if number is not None:
                yield Point(value.tag, event.step, number, event.wall_time)


def _parser() -> Callable[[bytes], Any]:
    """tensorboard's own message; loaded only when there is an event file to read."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
    except ImportError as error:
        missing = "pip install tensorboard" if "tensorboard" in str(error) else str(error)
        raise LossDoctorError(f"reading TensorBoard event files takes the package tensorboard: {missing}") from None
    parse: Callable[[bytes], Any] = Event.FromString
    return parse


def _number(tensor: Any) -> float | None:
    """The one number in a tensor, whichever of its fields holds it."""
    for field in ("float_val", "double_val", "int_val", "int64_val"):
        if held := getattr(tensor, field):
            return float(held[0])
    if tensor.tensor_content:
        from tensorboard.util.tensor_util import make_ndarray

        try:
            return float(make_ndarray(tensor).flat[0])
        except (ValueError, TypeError, IndexError):  # bytes that are no number of the kind they are said to be
            return None
    return None


def recognise(source: Source) -> bool:
    """The mark of the first record, or a folder with such files."""
    if source.folder is not None:
        return bool(event_files(source.folder))
    return EVENT_FILE in source.magic


def read(source: Source) -> list[Log]:
    """One run.

    Raises:
        LossDoctorError: the package tensorboard is missing.
        NothingToAnalyse: no scalar is in it.
    """
    assert source.path is not None
    return [run_of(event_files(source.folder) if source.folder else [source.path], source.name)]


def run_of(paths: Iterable[Path], name: str, see: Callable[[Point], None] | None = None) -> Log:
    """The run whose files these are; `see` is told of every point.

    Raises:
        LossDoctorError: the package tensorboard is missing.
        NothingToAnalyse: no scalar is in them.
    """
    opened = [EventFile(path) for path in paths]
    rows = records(row for file in opened for row in as_rows(_seen(file.points(), see) if see else file.points()))
    notes = [f"{file.path.name}: {file.problem}" for file in opened if file.problem]
    if not rows.records:
        raise NothingToAnalyse(f"{name} has no scalar of a training: nothing to analyse")
    run = Run(kind=KIND, facts=_facts(opened), notes=(*notes, *rows.notes), resumed_at=rows.resumed_at)
    return Log(run, tuple(rows.records))


def _seen(points: Iterable[Point], see: Callable[[Point], None]) -> Iterator[Point]:
    for point in points:
        see(point)
        yield point


def as_rows(points: Iterable[Point]) -> Iterator[dict[str, Any]]:
    """Points → rows as they were logged, with the shortest numbers that are meant."""
    return joined(points, _short)


def _short(value: float) -> float:
    """The shortest number that has the same 32 bits: 5e-05 rather than 4.9999998736893758e-05."""
    short = float(f"{value:.7g}")
    return short if struct.pack("f", short) == struct.pack("f", value) else value


def _facts(opened: Iterable[EventFile]) -> dict[str, Fact]:
    found: dict[str, Fact] = {}
    for file in opened:
        for tag, text in file.texts.items():
            try:
                values = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(values, dict):
                name = tag.partition("/")[0]
                found |= {k: v for k, v in of_mapping(values, f"event file ({name})").items() if k not in found or name == "args"}
    return found
