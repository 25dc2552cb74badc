"""Writes files as W&B does, for tests that need one of a shape that no training leaves on demand."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from lossdoctor.parsing.wandb_blocks import BLOCK, FIRST, LAST, MIDDLE, PART_HEADER, WHOLE
from lossdoctor.readers.wandb_run import CONFIGURATION, HISTORY, KEY, NESTED_KEY, NUMBER, RUN, RUN_NAME, SUMMARY, VALUE_JSON

START = b":W&B\xe1\xbe\x00"


def varint(value: int) -> bytes:
    """An integer, seven bits a byte."""
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


def field(number: int, data: bytes) -> bytes:
    """A field of a message that holds bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def item(name: str, value: Any, form: str = "nested") -> bytes:
    """An item of a history: `nested` as W&B writes it since its core is in Go, `plain` as before, `number` as it may yet be."""
    if form == "number" and isinstance(value, float):
        return field(1, field(KEY, name.encode()) + varint(NUMBER << 3 | 1) + struct.pack("<d", value))
    names = [field(NESTED_KEY, part.encode()) for part in name.split("|")] if form == "nested" else [field(KEY, name.encode())]
    return field(1, b"".join(names) + field(VALUE_JSON, json.dumps(value).encode()))


def record(kind: int, message: bytes, number: int = 1) -> bytes:
    """A record, which has a number of its own besides what it holds."""
    return varint(8) + varint(number) + field(kind, message)


def history(values: Mapping[str, Any], form: str = "nested") -> bytes:
    """The values of one call of `log`."""
    return record(HISTORY, b"".join(item(name, value, form) for name, value in values.items()))


def summary(values: Mapping[str, Any]) -> bytes:
    """What the summary of a run becomes."""
    return record(SUMMARY, b"".join(item(name, value, "plain") for name, value in values.items()))


def configuration(values: Mapping[str, Any]) -> bytes:
    """Settings of a run."""
    return record(CONFIGURATION, b"".join(item(name, value, "plain") for name, value in values.items()))


def run(name: str) -> bytes:
    """The name of a run."""
    return record(RUN, field(RUN_NAME, name.encode()))


def framed(records: Iterable[bytes]) -> bytes:
    """A file with these records, those that do not fit into a block in parts."""
    out = bytearray(START)
    for rest in records:
        begun = False
        while rest or not begun:
            left = BLOCK - len(out) % BLOCK
            if left < PART_HEADER.size:
                out += bytes(left)
                continue
            part, rest = rest[: left - PART_HEADER.size], rest[left - PART_HEADER.size :]
            kind = (MIDDLE if begun else FIRST) if rest else LAST if begun else WHOLE
            out += PART_HEADER.pack(zlib.crc32(part, zlib.crc32(bytes((kind,)))), len(part), kind) + part
            begun = True
    return bytes(out)
