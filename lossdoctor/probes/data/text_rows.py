"""Examples in files of text: JSON lines, a JSON array or object, CSV, TSV, plain lines; read once, in bounded memory."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lossdoctor.model import LossDoctorError

#: A larger example is none; a JSON object that holds all of them is read whole.
LARGEST_ROW = 4 * 1024 * 1024
LARGEST_OBJECT = 128 * 1024 * 1024
CHUNK = 1024 * 1024
_BETWEEN = re.compile(r"[\s,]*")
#: Where a JSON object keeps its examples, the usual name first.
_HOLDERS = ("data", "train", "rows", "examples", "instances")

#: An example as it was read: a line of JSON that nobody has parsed yet, or what is in it.
Raw = bytes | dict[str, Any]


def rows(path: Path, kind: str) -> Iterator[Raw]:
    """The examples of one file, unparsed where they are lines.

    Raises:
        LossDoctorError: the file cannot be read, or is not what its ending says.
    """
    try:
        with _opened(path) as stream:
            if kind == "json":
                yield from _json(path, stream)
            elif kind == "lines":
                yield from ({"text": line.decode("utf-8", "replace").rstrip("\r\n")} for _, line in _lines(path, stream))
            else:
                yield from _csv(path, stream, kind)
    except (OSError, EOFError, zlib.error) as error:
        raise LossDoctorError(f"{path}: {str(getattr(error, 'strerror', None) or error).lower()}") from None
    except UnicodeDecodeError:
        raise LossDoctorError(f"{path} is not text in UTF-8") from None


def parsed(raw: Raw, path: Path | str, number: int) -> dict[str, Any]:
    """The example, with its columns by name.

    Raises:
        LossDoctorError: the line is not JSON, or no object.
    """
    if isinstance(raw, dict):
        return raw
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise LossDoctorError(f"{path}: example {number:,} is not JSON: {why[:80]}") from None
    return _object(value, path, number)


def _object(value: Any, path: Path | str, number: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LossDoctorError(f"{path}: example {number:,} is {_kind(value)}; an object with named columns was expected")
    return value


def _kind(value: Any) -> str:
    words = {"NoneType": "null", "str": "text", "bool": "true or false", "int": "a number", "float": "a number"}
    return words.get(type(value).__name__, f"a {type(value).__name__}")


def _opened(path: Path) -> IO[bytes]:
    stream = path.open("rb")
    if stream.read(2) == b"\x1f\x8b":
        stream.close()
        return gzip.open(path, "rb")  # type: ignore[return-value]
    stream.seek(0)
    return stream


def _json(path: Path, stream: IO[bytes]) -> Iterator[Raw]:
    """By its first character an array, else lines, or one object over many lines."""
    head = stream.read(CHUNK)
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    stream.seek(0)
    if begin.startswith(b"["):
        yield from _elements(path, io.TextIOWrapper(stream, encoding="utf-8-sig"))
    elif begin.startswith(b"{") and begin.partition(b"\n")[0].strip() in (b"{", b'{"data": ['):
        yield from _held(path, stream)
    elif begin:
        for number, line in _lines(path, stream):
            if number == 1 and not line.lstrip(b"\xef\xbb\xbf \t").startswith(b"{"):
                raise LossDoctorError(f"{path} holds no examples: it begins with {line[:20].decode('utf-8', 'replace')!r}")
            yield line


def _lines(path: Path, stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Every line that has anything on it, with its number among those."""
    number = 0
    while line := stream.readline(LARGEST_ROW + 1):
        if len(line) > LARGEST_ROW:
            raise LossDoctorError(f"{path}: example {number + 1:,} has more than {LARGEST_ROW // 2**20} MB")
        if line.strip():
            number += 1
            yield number, line


def _elements(path: Path, stream: io.TextIOWrapper) -> Iterator[dict[str, Any]]:
    """The objects of a JSON array, one after another, however long it is."""
    decoder, buffer, at, number, ended = json.JSONDecoder(), "", 0, 0, False
    while not buffer.lstrip():
        buffer = stream.read(CHUNK)
    at = buffer.index("[") + 1
    while True:
        at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]  # matches nothing as well
        if buffer.startswith("]", at):
            return
        try:
            value, at = decoder.raw_decode(buffer, at)
        except (ValueError, RecursionError) as error:
            if ended or isinstance(error, RecursionError) or len(buffer) - at > 2 * LARGEST_ROW:
                raise LossDoctorError(f"{path}: example {number + 1:,} of the JSON array cannot be read") from None
            more = stream.read(max(CHUNK, len(buffer) - at))
            buffer, at, ended = buffer[at:] + more, 0, not more
            continue
        number += 1
        yield _object(value, path, number)
        if at > CHUNK:
            buffer, at = buffer[at:], 0


def _held(path: Path, stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The examples that one JSON object holds under some name."""
    content = stream.read(LARGEST_OBJECT + 1)
    if len(content) > LARGEST_OBJECT:
        raise LossDoctorError(f"{path} is one JSON object of more than {LARGEST_OBJECT // 2**20} MB; JSON lines were expected")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise LossDoctorError(f"{path} is neither JSON lines nor one JSON value") from None
    held = [name for name, part in value.items() if isinstance(part, list) and part and isinstance(part[0], dict)]
    name = next((name for name in _HOLDERS if name in held), held[0] if len(held) == 1 else None)
    if name is None:
        keys = ", ".join(str(key)[:40] for key in list(value)[:5]) or "none"
        raise LossDoctorError(f"{path} is one JSON object without a list of examples; its keys are: {keys}")
    for number, part in enumerate(value[name], 1):
        yield _object(part, path, number)


def _csv(path: Path, stream: IO[bytes], kind: str) -> Iterator[dict[str, Any]]:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
    before = csv.field_size_limit(LARGEST_ROW)
    try:
        reader = csv.reader(text, delimiter="\t" if kind == "tsv" else ",")
        header = next(reader, None)
        if not header:
            raise LossDoctorError(f"{path} has no header; a line with the names of the columns was expected")
        for cells in reader:
            if cells:
                yield dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise LossDoctorError(f"{path} is not {kind.upper()}: {error}") from None
    finally:
        csv.field_size_limit(before)
