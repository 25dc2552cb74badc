"""The bytes of a log, and the errors that keep us from reading them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lossdoctor.model import LossDoctorError, NotALog

#: 1.25 million rows have 215 MB; a larger file is not a log, or wants thinning out first.
LARGEST = 256 * 1024 * 1024
HEAD = 4096
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
        try:
            if path.is_dir():
                return cls(str(path), path, "", folder=path)
            size = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(HEAD)
                if EVENT_FILE in head[:64] or head.startswith(OPENED_BY_READERS):
                    return cls(str(path), path, "", head)
                _refuse_foreign(path, head, size)
                data = head + file.read()
        except OSError as error:
            raise LossDoctorError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        text = decode(str(path), data)
        if not text or text.isspace():
            raise LossDoctorError(f"{path} is empty; a training log was expected")
        return cls(str(path), path, text)


def decode(name: str, data: bytes) -> str:
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


def _refuse_foreign(path: Path, head: bytes, size: int) -> None:
    if head.startswith(b"version https://git-lfs"):
        raise NotALog(f"{path} is a Git LFS pointer, not the log itself; fetch it with: git lfs pull")
    if b"\0" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise NotALog(f"{path} is a binary file ({_kind(head)}); a training log was expected, such as trainer_state.json")
    if size > LARGEST:
        raise NotALog(f"{path} has {size / 2**20:,.0f} MiB; logs up to {LARGEST / 2**20:,.0f} MiB are read")


def _kind(head: bytes) -> str:
    for mark, kind in ((b"PK\x03\x04", "zip or PyTorch"), (b"\x1f\x8b", "gzip"), (b"\x89PNG", "PNG picture"), (b"%PDF", "PDF")):
        if head.startswith(mark):
            return kind
    return "safetensors" if head[8:9] == b"{" else "unknown kind"
