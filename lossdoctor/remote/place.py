"""A remote place that is listed and copied from within bounds, into a folder that mirrors it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lossdoctor.model import LossDoctorError
from lossdoctor.parsing import source
from lossdoctor.remote.address import Address
from lossdoctor.remote.errors import complaint, missing

#: Nobody's run takes more: folders listed, names in one of them, files copied.
MOST_LISTINGS, MOST_NAMES, MOST_FILES = 150, 20_000, 400
PIECE = 4 * 1024 * 1024
#: What file systems call the time when a file was last written to.
WRITTEN = ("LastModified", "last_modified", "mtime", "updated", "created")
#: No name of ours: a path, a drive, a control character; on Windows also what names a device or no file at all.
_UNSAFE = re.compile(r"^\.{0,2}$|^[A-Za-z]:|[/\\\x00-\x1f\x7f]")
_UNSAFE_ON_WINDOWS = re.compile(r"[<>:\"|?*]|[. ]$|^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.I)


class Entry(NamedTuple):
    """A file or a folder there: `path` is the one there, `written` seconds since 1970 where that is known."""

    name: str
    path: str
    folder: bool
    size: int
    written: float | None


class Place:
    """What is at an address. Paths there are tuples of names below `top`, the folder that is mirrored at `mirror`.

    Raises, with every call:
        LossDoctorError: it cannot be reached, or is more than is read.
    """

    def __init__(self, address: Address, folder: Path) -> None:
        self.address = address
        self.mirror = folder / "copy"
        self.mirror.mkdir()
        self.top = address.path
        self._listed: dict[tuple[str, ...], dict[str, Entry]] = {}
        self._called: dict[str, str] = {}
        self._files = 0
        self._budget = source.LARGEST
        try:
            import fsspec

            self._system = fsspec.filesystem(address.protocol)
            self._system.invalidate_cache()
        except ImportError as error:
            raise LossDoctorError(missing(address, error)) from None
        except Exception as error:  # an unknown protocol, or no credentials: each package has errors of its own
            raise LossDoctorError(complaint(address, error)) from None

    def url(self, *names: str) -> str:
        """The address of a file or a folder below the top."""
        return "/".join((f"{self.address.protocol}://{self.top.lstrip('/')}", *names))

    def said(self, text: str) -> str:
        """A text in which the copies are called by their addresses."""
        for copied, name in sorted(self._called.items(), key=lambda item: -len(item[0])):
            text = text.replace(copied, name)
        there = self.address.given if self.address.web else self.url()
        mirror = str(self.mirror)
        return text.replace(mirror + os.sep, there + "/").replace(mirror, there)

    def is_folder(self) -> bool:
        """Whether the address is that of a folder."""
        if self.address.web:
            return False
        try:
            return self._is_folder()
        except Exception as error:
            raise LossDoctorError(complaint(self.address, error)) from None

    def _is_folder(self) -> bool:
        """Without a key S3 is asked again as anybody may: the folder may be public."""
        try:
            info = self._system.info(self.address.path)
        except Exception as error:
            if type(error).__name__ != "NoCredentialsError":
                raise
            self._system = type(self._system)(anon=True)
            info = self._system.info(self.address.path)
        return bool(info["type"] == "directory")

    def files(self, *names: str) -> dict[str, Entry]:
        """The files in a folder by their names; nothing where there is no such folder."""
        return {name: entry for name, entry in self._list(names).items() if not entry.folder}

    def folders(self, *names: str) -> dict[str, Entry]:
        """The folders in a folder, likewise."""
        return {name: entry for name, entry in self._list(names).items() if entry.folder}

    def _list(self, names: tuple[str, ...]) -> dict[str, Entry]:
        if self.address.web or (names and names[-1] not in self._list(names[:-1])):
            return {}
        if names not in self._listed:
            if len(self._listed) >= MOST_LISTINGS:
                raise LossDoctorError(
                    f"{self.address.given} has more than {MOST_LISTINGS} folders to look into; name one of them"
                )
            self._listed[names] = self._names("/".join((self.top, *names)))
        return self._listed[names]

    def _names(self, path: str) -> dict[str, Entry]:
        try:
            listed = self._system.ls(path, detail=True)
        except Exception as error:
            raise LossDoctorError(complaint(self.address, error)) from None
        if len(listed) > MOST_NAMES:
            raise LossDoctorError(f"{self.address.given} has a folder with {len(listed):,} names; name the log itself")
        own = path.strip("/").rpartition("/")[2]
        entries = (_entry(info) for info in listed if str(info["name"]).strip("/") != path.strip("/") or own == "")
        return {entry.name: entry for entry in entries if is_safe(entry.name)}

    def copy(self, entry: Entry, *names: str, most: int | None = None) -> Path:
        """A file, copied into the mirror below these names; up to `most` bytes, or what is left for logs, if it is one."""
        self._files += 1
        if self._files > MOST_FILES:
            raise LossDoctorError(f"{self.address.given} takes more than {MOST_FILES} files; name one of them")
        to = self.mirror.joinpath(*names, entry.name)
        if to.exists():
            return to
        to.parent.mkdir(parents=True, exist_ok=True)
        name = self._called[str(to)] = self.address.given if self.address.web else self.url(*names, entry.name)
        limit = self._budget if most is None else most
        streamed = {"block_size": 0} if self.address.protocol in ("hf", "http", "https") else {}
        try:
            with self._system.open(entry.path, "rb", **streamed) as file, to.open("xb") as copied:
                head = file.read(source.HEAD)
                if most is None and not source.is_opened_by_reader(head):
                    source.refuse_foreign(name, head, entry.size)
                total = copied.write(head)
                while total <= limit and (piece := file.read(PIECE)):
                    total += copied.write(piece)
            if total > limit:
                read = f"logs up to {source.LARGEST / 2**20:,.0f} MiB are read"
                raise LossDoctorError(f"{name} has more than {limit / 2**20:,.0f} MiB; {read}")
        except Exception as error:
            to.unlink(missing_ok=True)  # what was copied in part must not be taken for the whole
            known = isinstance(error, LossDoctorError)
            raise error if known else LossDoctorError(complaint(self.address, error, name)) from None
        if most is None:
            self._budget -= total
        return to


def is_safe(name: str) -> bool:
    """Whether a name from elsewhere may be that of a file of ours: it is one name, and leads nowhere."""
    if _UNSAFE.search(name) or len(name.encode("utf-8", "surrogatepass")) > 255:
        return False
    return os.name != "nt" or not _UNSAFE_ON_WINDOWS.search(name)


def _entry(info: Mapping[str, Any]) -> Entry:
    path = str(info["name"])
    written: Any = next((info[key] for key in WRITTEN if info.get(key)), None)
    try:
        seconds = None if written is None else float(written.timestamp() if hasattr(written, "timestamp") else written)
    except (TypeError, ValueError):
        seconds = None
    return Entry(path.rstrip("/").rpartition("/")[2], path, info["type"] == "directory", int(info.get("size") or 0), seconds)
