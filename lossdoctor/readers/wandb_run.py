"""The file that W&B keeps of a run: its history as rows, its configuration as facts, its summary as the last row."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossdoctor.model import Log
from lossdoctor.parsing.protobuf_wire import fields
from lossdoctor.parsing.source import Source
from lossdoctor.parsing.tracked import Kept, columns, logs, settings, with_steps
from lossdoctor.parsing.wandb_blocks import MAGIC, RunFile

KIND = "wandb_run"
#: Numbers of fields in W&B's messages: of a record, of the run in it, and of an item of a history, a summary or a configuration.
HISTORY, SUMMARY, CONFIGURATION, RUN = 2, 3, 5, 17
RUN_ID, RUN_CONFIGURATION, RUN_NAME = 1, 4, 8
ITEM = 1
KEY, NESTED_KEY, NUMBER, VALUE_JSON = 1, 2, 6, 16
#: How the field with a value begins; a shorter one has its length in one byte. So many names are remembered.
VALUE, SHORT, MOST_HEADS = b"\x82\x01", 127, 10_000
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


@dataclass
class _Read:
    """What was read of a run so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=lambda: {RUN_ID: "", RUN_NAME: ""})
    heads: dict[bytes, str] = field(default_factory=dict)


def _run(path: Path) -> Kept:
    file, read = RunFile(path), _Read()
    for record in file.records():
        try:
            _add(record, read)
        except ValueError:
            file.broken += 1
    rows = read.rows
    if "train_runtime" in read.last and rows:
        rows.append({**{name: rows[-1][name] for name in ("step", "_step") if name in rows[-1]}, **read.last})
    stepped, notes = with_steps(rows, "W&B")
    return Kept(read.names[RUN_ID], read.names[RUN_NAME], settings(read.known, "W&B"), stepped, (*file.notes(), *notes))


def _add(record: bytes, read: _Read) -> None:
    """Puts what a record says where it belongs: a row, settings, the numbers of the last row, or what the run is called.

    Raises:
        ValueError: it is broken.
    """
    for kind, message in fields(record):
        if not isinstance(message, bytes):
            continue
        if kind == HISTORY:
            values = _numbers(message, read.heads)
            count = values.get("_step", -1.0)
            read.rows.append({**columns(values), "_step": int(count) if 0 <= count < 2**53 else len(read.rows)})
        elif kind == SUMMARY and b"train_runtime" in message:
            read.last |= {name: value for name, value in _numbers(message, read.heads).items() if name in LAST_ROW}
        elif kind == CONFIGURATION:
            read.known |= _settings(message)
        elif kind == RUN:
            for number, value in fields(message):
                if number in read.names and isinstance(value, bytes):
                    read.names[number] = value.decode("utf-8", "replace")
                elif number == RUN_CONFIGURATION and isinstance(value, bytes):
                    read.known |= _settings(value)


def _numbers(message: bytes, heads: dict[bytes, str]) -> dict[str, float]:
    """The names and values of those items that are numbers.

    `heads` keeps the bytes before a value with the name in them: in every row they are the same, and need not be taken apart.

    Raises:
        ValueError: it is broken.
    """
    found: dict[str, float] = {}
    for number, item in fields(message):
        if number != ITEM or not isinstance(item, bytes):
            continue
        head, _, rest = item.partition(VALUE)
        name, value = heads.get(head), rest[1:]
        if name is None or not rest or rest[0] != len(value) or len(value) > SHORT:
            name, held = _item(item)
            if isinstance(held, float):
                found[name] = held
                continue
            if rest and held == value and rest[0] == len(value) <= SHORT and len(heads) < MOST_HEADS:
                heads[head] = name
            value = held
        try:
            found[name] = float(value)
        except ValueError:
            with suppress(ValueError):
                found[name] = float(value.strip(b'"'))  # what is not finite is text in JSON
    found.pop("", None)
    return found


def _settings(message: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, item in fields(message):
        if number != ITEM or not isinstance(item, bytes):
            continue
        name, value = _item(item)
        with suppress(ValueError, RecursionError):
            found[name] = value if isinstance(value, float) else json.loads(value)
    found.pop("", None)
    return found


def _item(item: bytes) -> tuple[str, bytes | float]:
    """The name of an item, whose parts are joined by a slash, and its value in JSON, or as the number that it is.

    Raises:
        ValueError: it is broken.
    """
    names: list[str] = []
    value: bytes | float = b""
    for part, held in fields(item):
        if isinstance(held, int):
            continue
        if part in (KEY, NESTED_KEY):
            names.append(held.decode("utf-8", "replace"))
        elif part == VALUE_JSON:
            value = held
        elif part == NUMBER and len(held) == 8:
            value = struct.unpack("<d", held)[0]
    return "/".join(names), value
