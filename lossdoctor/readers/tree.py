"""Every run below a folder: output folders, folders of event files or that are logs, and files that a dialect recognises."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lossdoctor.facts import SOURCES
from lossdoctor.model import LossDoctorError
from lossdoctor.parsing.source import EVENT_FILE, HEAD, LARGEST, OPENED_BY_READERS, Source
from lossdoctor.readers import dialects, folder

#: Folders below each other, files and folders looked at, and sources of one run that are read together.
DEEPEST, MOST_ENTRIES, MOST_TOGETHER = 16, 1_000_000, 32
#: What is read of a file to see whether it is a log: so much of its beginning, and as much of its end.
PEEK = 32 * 1024
#: How far below an output folder something may lie that belongs to it: `runs/<date>/events.out…`.
BELONGS = 2
#: Marks of our own: what they are drawn on is read, they are not.
OURS = ".lossdoctor"
#: Folders that hold programs, and files that hold weights, data, pictures or settings: nobody need open them.
NO_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})
_WEIGHTS = "safetensors bin pt pth ckpt gguf onnx h5 msgpack npy npz pkl pickle model distcp"
_DATA = "arrow parquet feather gz bz2 xz zst zip tar tgz 7z whl png jpg jpeg gif webp svg pdf mp4 wav mp3 tiktoken vocab lock so"
_WRITTEN = "py pyc sh c cpp h rs js ts css html md rst yaml yml toml cfg ini"
NO_LOGS = frozenset(f".{ending}" for endings in (_WEIGHTS, _DATA, _WRITTEN) for ending in endings.split())
NO_NAMES = frozenset({*SOURCES, "training_args.json", "tokenizer.json", "vocab.json", "merges.txt"})
NO_ENDINGS = ("_results.json", "_config.json", "_map.json", ".index.json")

Sources = tuple[str, ...]


class Tree(NamedTuple):
    """What was found: `runs` has the sources that may be of one run together, best first; `notes` tell what was not looked at."""

    runs: list[Sources]
    notes: list[str]


@dataclass
class _Place:
    """A folder still to be looked at, and the output folder above it: what lies in it may be of the same run."""

    path: str
    depth: int = 0
    owner: list[str] | None = None
    below: int = 0


@dataclass
class _Walk:
    found: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    entries: int = 0
    too_deep: str = ""


def find(top: Path) -> Tree:
    """All runs below a folder, by path. Links are not followed; what cannot be entered is noted."""
    walk, waiting = _Walk(), [_Place(str(top))]
    while waiting:
        place = waiting.pop()
        waiting += reversed(list(_look(walk, place)))
        if walk.entries > MOST_ENTRIES:
            walk.notes.append(
                f"{top} holds more than {MOST_ENTRIES:,} files and folders: those after {place.path} were not looked at"
            )
            break
    if walk.too_deep:
        walk.notes.append(f"{walk.too_deep} lies more than {DEEPEST} folders deep: what is below such folders was not looked at")
    return Tree([tuple(sources) for sources in walk.found], walk.notes)


def _look(walk: _Walk, place: _Place) -> Iterator[_Place]:
    """Adds the sources in a folder; gives the folders in it that are still to be looked at."""
    try:
        with os.scandir(place.path) as entries:
            inside = sorted((e for e in entries if not e.is_symlink()), key=lambda e: e.name)
        folders = [e for e in inside if e.is_dir(follow_symlinks=False)]
        files = [e for e in inside if e.is_file(follow_symlinks=False)]
    except OSError as error:
        walk.notes.append(f"{place.path}: {(error.strerror or str(error)).lower()}")
        return
    walk.entries += len(inside)
    if inside and dialects.reads_folder(Path(place.path)):
        _add(walk, place, place.path)
        return
    place = _as_run(walk, place, files, folders)
    for file in files:
        if file.name != folder.STATE and not _events(file.name) and _may_be_log(file) and recognised(file.path):
            _add(walk, place, file.path)
    if folders and place.depth >= DEEPEST:
        walk.too_deep = walk.too_deep or place.path
        return
    for entry in folders:
        if entry.name[:1] != "." and entry.name not in NO_FOLDERS and folder.checkpoint_step(entry.name) is None:
            owner = place.owner if place.below < BELONGS else None
            yield _Place(entry.path, place.depth + 1, owner, place.below + 1)


def _as_run(walk: _Walk, place: _Place, files: list[os.DirEntry[str]], folders: list[os.DirEntry[str]]) -> _Place:
    """Adds the folder itself if it is that of a run; what lies further down then belongs to it."""
    kept = (e for e in folders if folder.checkpoint_step(e.name) is not None)
    if any(file.name == folder.STATE for file in files) or any(os.path.isfile(f"{e.path}/{folder.STATE}") for e in kept):  # noqa: PTH113
        walk.found.append([place.path])
        return _Place(place.path, place.depth, walk.found[-1])
    if any(_events(file.name) for file in files):
        _add(walk, place, place.path)
    return place


def _add(walk: _Walk, place: _Place, path: str) -> None:
    if place.owner is not None and len(place.owner) < MOST_TOGETHER:
        place.owner.append(path)
    else:
        walk.found.append([path])


def _events(name: str) -> bool:
    return "tfevents" in name and not name.endswith(OURS)


def _may_be_log(file: os.DirEntry[str]) -> bool:
    """What the name and the size of a file say; whatever is not surely something else is looked into."""
    name = file.name.lower()
    if name[:1] == "." or name.endswith(OURS) or file.name in NO_NAMES or name.endswith(NO_ENDINGS):
        return False
    if os.path.splitext(name)[1] in NO_LOGS:  # noqa: PTH122  # a Path for each of 100,000 files takes longer than all else
        return False
    try:
        return file.stat(follow_symlinks=False).st_size > 0
    except OSError:
        return False


def recognised(path: str) -> bool:
    """Whether some dialect knows the content of a file, by its beginning and its end."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            head = file.read(PEEK)
            size = os.fstat(file.fileno()).st_size
            if EVENT_FILE in head[:64] or head.startswith(OPENED_BY_READERS):
                return _known(Source(path, Path(path), "", head[:HEAD]))
            wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
            if size > LARGEST or (b"\0" in head[:HEAD] and not wide):
                return False
            if size > len(head) and not wide:
                file.seek(max(len(head), size - PEEK))
                head += b"\n" + file.read(PEEK).partition(b"\n")[2]
    except OSError:
        return False
    text = head.decode("utf-16" if wide else "utf-8-sig", "replace")
    if text.lstrip()[:1] == "{" and "\n" not in text.strip() and '"log_history"' not in text:
        return False  # one row, or the settings of something
    return bool(text.strip()) and _known(Source(path, Path(path), text))


def _known(source: Source) -> bool:
    return any(dialect.recognise(source) for dialect in dialects.dialects())


def stamp(sources: Iterable[str]) -> tuple[int, int]:
    """The size of the logs in bytes, and when the last one was written in nanoseconds since 1970: another stamp, another log.

    Raises:
        OSError: one of them is gone.
    """
    size = newest = 0
    for source in sources:
        for path in _logs(Path(source)):
            status = path.stat()
            size, newest = size + status.st_size, max(newest, status.st_mtime_ns)
    return size, newest


def _logs(source: Path) -> Iterable[Path]:
    """The files that a source consists of, as far as they tell whether something was added."""
    if not source.is_dir():
        return (source,)
    try:
        log = folder.newest_log(source)
    except LossDoctorError:
        return [path for path in source.rglob("*") if path.is_file()]
    return folder.event_files(log) if log.is_dir() else (log,)
