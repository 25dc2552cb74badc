"""The bytes of a log, and the errors that keep us from reading them."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lossdoctor.model import LossDoctorError, NotALog

#: 3 million rows have 512 MiB; a larger file is not a log, or wants thinning out first.
LARGEST = 512 * 1024 * 1024
HEAD = 4096
#: What is read at once from a pipe.
PIECE = 1024 * 1024
STANDARD_INPUT = "standard input"
#: Stands at the start of every event file of TensorBoard, in its first record.
EVENT_FILE = b"brain.Event:"
#: How the other binary files begin that a reader opens by itself: SQLite databases, and the files of W&B.
OPENED_BY_READERS = (b"SQLite format 3\0", b":W&B")


@dataclass
class Source:
    """A file of a sane size, or a folder; `text` is all of the file, until it is taken.

    Of an event file of TensorBoard, a database or a W&B file only the first bytes are here, in `magic`: its reader opens it.
    """

    name: str
    path: Path | None
    text: str
    magic: bytes = b""
    folder: Path | None = None

    @property
    def head(self) -> str:
        return self.text[:HEAD]

    def take(self) -> str:
        """The text, for good: whoever reads it may then let go of it, since a huge one need not outlive its parsing."""
        text, self.text = self.text, ""
        return text

    @classmethod
    def open(cls, path: Path) -> Source:
        """Reads a file, or what tells what a binary file is; of a folder it reads nothing.

        Raises:
            LossDoctorError: it is missing, too large, empty, binary or a Git LFS pointer.
        """
        name = str(path)
        try:
            if path.is_dir():
                return cls(name, path, "", folder=path)
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    return cls(name, path, _text(name, _of_pipe(name, file)))
                head = file.read(HEAD)
                if is_opened_by_reader(head):
                    return cls(name, path, "", head)
                refuse_foreign(name, head, status.st_size)
                file.seek(0)
                data = file.read(status.st_size or LARGEST)  # what the system makes up has no size
        except OSError as error:
            raise LossDoctorError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        return cls(name, path, _text(name, data))

    @classmethod
    def standard_input(cls) -> Source:
        """Reads what is piped in, or pasted, to its end.

        Raises:
            LossDoctorError: it is closed, too large, empty or binary.
        """
        stream = getattr(sys.stdin, "buffer", None)
        if stream is None or stream.closed:
            raise LossDoctorError(f"{STANDARD_INPUT} is closed; a log was expected there")
        try:
            data = _of_pipe(STANDARD_INPUT, stream)
        except OSError as error:
            raise LossDoctorError(f"{STANDARD_INPUT}: {(error.strerror or str(error)).lower()}") from None
        return cls(STANDARD_INPUT, None, _text(STANDARD_INPUT, data))


def _of_pipe(name: str, stream: BinaryIO) -> bytes | bytearray:
    """All of a stream, but not more than is read of a file. A piece that is not full is the last: a terminal ends but once."""
    head = stream.read(HEAD)
    if is_opened_by_reader(head):
        raise NotALog(f"{name} is a binary log, which is read where it lies; name the file itself")
    refuse_foreign(name, head)
    data, piece, wanted = bytearray(head), head, HEAD
    while len(piece) == wanted and len(data) <= LARGEST:
        wanted = PIECE
        piece = stream.read(wanted)
        data += piece
    if len(data) > LARGEST:
        raise NotALog(f"{name} has more than {LARGEST / 2**20:,.0f} MiB; logs up to that are read")
    return data


def _text(name: str, data: bytes | bytearray) -> str:
    text = decode(name, data)
    if not text or text.isspace():
        raise LossDoctorError(f"{name} is empty; a training log was expected")
    return text


def decode(name: str, data: bytes | bytearray) -> str:
    """The text of a log: UTF-8, or UTF-16 with its mark as Windows shells write it.

    Raises:
        LossDoctorError: the bytes are not text.
    """
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if error.start > 3 and error.reason == "unexpected end of data":  # a log that is just being written
            return decode(name, data[: error.start])
        raise NotALog(f"{name} is not text (byte {error.start:,}); a training log was expected") from None


def is_opened_by_reader(head: bytes) -> bool:
    """Whether a file that begins so is a binary log, which its reader opens by itself."""
    return EVENT_FILE in head[:64] or head.startswith(OPENED_BY_READERS)


def refuse_foreign(name: str, head: bytes, size: int = 0) -> None:
    """What is no log by its first bytes, or too large for one.

    Raises:
        NotALog: it is.
    """
    if head.startswith(b"version https://git-lfs"):
        raise NotALog(f"{name} is a Git LFS pointer, not the log itself; fetch it with: git lfs pull")
    kind = _archive(head)
    if kind or (b"\0" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff")):
        what = kind or _kind(head)
        unpack = "; archives are not opened: unpack it, and name the log in it" if kind else ", such as trainer_state.json"
        raise NotALog(f"{name} is a binary file ({what}); a training log was expected{unpack}")
    if size > LARGEST:
        raise NotALog(f"{name} has {size / 2**20:,.0f} MiB; logs up to {LARGEST / 2**20:,.0f} MiB are read")


def _archive(head: bytes) -> str:
    marks = (
        (b"PK\x03\x04", "zip or PyTorch"),
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"7z\xbc\xaf", "7z"),
        (b"Rar!", "rar"),
    )
    return next((kind for mark, kind in marks if head.startswith(mark)), "tar" if head[257:262] == b"ustar" else "")


def _kind(head: bytes) -> str:
    for mark, kind in ((b"\x89PNG", "PNG picture"), (b"%PDF", "PDF")):
        if head.startswith(mark):
            return kind
    return "safetensors" if head[8:9] == b"{" else "unknown kind"
