"""The files in the folder of a tracker and those below it, each with the name of what it holds. No link is followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path


def entries(folder: Path, most: int) -> list[os.DirEntry[str]]:
    """Some of what is in a folder, by name; nothing where it cannot be opened."""
    try:
        with os.scandir(folder) as opened:
            return sorted(islice(opened, most), key=lambda entry: entry.name)
    except OSError:
        return []


def folders(folder: Path, most: int) -> list[Path]:
    """The folders in a folder."""
    return [Path(entry.path) for entry in entries(folder, most) if entry.is_dir(follow_symlinks=False)]


def files(folder: Path, most: int, depth: int, under: str = "") -> Iterator[tuple[str, Path]]:
    """The files, those of the folder itself first, by names such as `eval/loss`; so many of each folder, so many levels."""
    found = entries(folder, most)
    for entry in found:
        if entry.is_file(follow_symlinks=False):
            yield under + entry.name, Path(entry.path)
    for entry in found if depth > 1 else ():
        if entry.is_dir(follow_symlinks=False):
            yield from files(Path(entry.path), most, depth - 1, f"{under}{entry.name}/")
