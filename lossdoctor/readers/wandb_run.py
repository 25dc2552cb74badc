"""The file that W&B keeps of a run: its history as rows, its configuration as facts, its summary as the last row."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lossdoctor.model import Log
from lossdoctor.readers.protobuf_wire import fields
from lossdoctor.readers.source import Source
from lossdoctor.readers.tracked import Kept, columns, logs, settings, with_steps
from lossdoctor.readers.wandb_blocks import MAGIC, RunFile

KIND = "wandb_run"
#: Numbers of fields in W&B's messages: of a record, of the run in it, and of an item of a history, a summary or a configuration.
HISTORY, SUMMARY, CONFIGURATION, RUN = 2, 3, 5, 17
RUN_ID, RUN_CONFIGURATION, RUN_NAME = 1, 4, 8
ITEM = 1
KEY, NESTED_KEY, NUMBER, VALUE_JSON = 1, 2, 6, 16
#: What the Trainer's callback writes into the summary alone, once training is over.
LAST_ROW = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss", "total_flos")


def recognise(source: Source) -> bool:
    """The mark at its start, or the folder of a run with such a file."""
    return bool(_files(source.folder)) if source.folder is not None else source.magic.startswith(MAGIC)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.glob("run-*.wandb") if path.is_file() and not path.is_symlink())
    except OSError:
        return []


def read(source: Source) -> list[Log]:
    """One run; of a folder, each that has a file in it.

    Raises:
        NothingToAnalyse: it has no history.
    """
    assert source.path is not None
    files = _files(source.folder) if source.folder is not None else [source.path]
    return logs(KIND, source.name, map(_run, files))


def _run(path: Path) -> Kept:
    file = RunFile(path)
    rows: list[dict[str, Any]] = []
    known: dict[str, Any] = {}
    last: dict[str, Any] = {}
    names = {RUN_ID: "", RUN_NAME: ""}
    for record in file.records():
        try:
            _add(record, rows, known, last, names)
        except ValueError:
            file.broken += 1
    if "train_runtime" in last and rows:
        rows.append({**{name: rows[-1][name] for name in ("step", "_step") if name in rows[-1]}, **last})
    stepped, notes = with_steps(rows, "W&B")
    return Kept(names[RUN_ID], names[RUN_NAME], settings(known, "W&B"), stepped, (*file.notes(), *notes))


def _add(record: bytes, rows: list[dict[str, Any]], known: dict[str, Any], last: dict[str, Any], names: dict[int, str]) -> None:
    """Puts what a record says where it belongs: a row, settings, the numbers of the last row, or what the run is called.

    Raises:
        ValueError: it is broken.
    """
    for kind, message in fields(record):
        if not isinstance(message, bytes):
            continue
        if kind == HISTORY:
            values = dict(_items(message))
            count = values.get("_step", -1.0)
            rows.append({**columns(values), "_step": int(count) if 0 <= count < 2**53 else len(rows)})
        elif kind == SUMMARY and b"train_runtime" in message:
            last |= {name: value for name, value in _items(message) if name in LAST_ROW}
        elif kind == CONFIGURATION:
            known |= _settings(message)
        elif kind == RUN:
            for number, value in fields(message):
                if number in names and isinstance(value, bytes):
                    names[number] = value.decode("utf-8", "replace")
                elif number == RUN_CONFIGURATION and isinstance(value, bytes):
                    known |= _settings(value)


def _items(message: bytes) -> Iterator[tuple[str, float]]:
    """The names and values of those items that are numbers."""
    for name, value in _texts(message):
        if isinstance(value, float):
            yield name, value
            continue
        try:
            yield name, float(value.strip(b'"'))
        except ValueError:
            continue


def _settings(message: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in _texts(message):
        try:
            found[name] = value if isinstance(value, float) else json.loads(value)
        except (ValueError, RecursionError):
            continue
    return found


def _texts(message: bytes) -> Iterator[tuple[str, bytes | float]]:
    """The name of each item, whose parts are joined by a slash, and its value in JSON, or as the number that it is."""
    for number, item in fields(message):
        if number != ITEM or not isinstance(item, bytes):
            continue
        names: list[str] = []
        value: bytes | float | None = None
        for part, held in fields(item):
            if isinstance(held, int):
                continue
            if part in (KEY, NESTED_KEY):
                names.append(held.decode("utf-8", "replace"))
            elif part == VALUE_JSON:
                value = held
            elif part == NUMBER and len(held) == 8:
                value = struct.unpack("<d", held)[0]
        if value is not None and names:
            yield "/".join(names), value
