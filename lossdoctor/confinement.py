"""What may be read of a folder that somebody named: regular files that lie in it, whatever links lead elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

#: In the cache of the Hub a snapshot is a folder of links to the blobs of the same repository, which may lead on to shared ones.
_REPOSITORY = re.compile(r"(?:models|datasets|spaces)--[^/\\]+")
_SHARED = re.compile(r"[0-9a-f]{2}[/\\][0-9a-f]{64}")


def is_file_of(path: Path, *folders: Path) -> bool:
    """Whether `path` is a regular file that lies in one of the folders, at whatever depth, or is linked to one that does."""
    return os.path.isfile(path) and any(lies_in(path, folder) for folder in folders)  # noqa: PTH113  # never raises


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path leads to somewhere in the folder once all links are followed, or to the folder itself."""
    home, real = os.path.realpath(folder), os.path.realpath(path)
    return _below(real, home) or _is_blob(real, Path(home))


def _below(real: str, home: str) -> bool:
    return real == home or real.startswith(home.rstrip(os.sep) + os.sep)


def _is_blob(real: str, home: Path) -> bool:
    """Whether it is a blob of the repository in the Hub's cache in a snapshot of which the folder lies."""
    for place in (home, *home.parents):
        if place.parent.name == "snapshots" and _REPOSITORY.fullmatch(place.parent.parent.name):
            repository = place.parent.parent
            if _below(real, str(repository / "blobs")):
                return True
            shared = str(repository.parent / "blobs") + os.sep
            return real.startswith(shared) and _SHARED.fullmatch(real[len(shared) :]) is not None
    return False
