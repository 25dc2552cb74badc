"""Where the examples are that somebody named with a file or folder on this machine: which files, and of which format."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lossdoctor.confinement import is_file_of
from lossdoctor.model import LossDoctorError

#: Endings by format; what else there is shows in its first bytes.
ENDINGS = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "lines",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
}
#: Files that lie beside examples and hold none.
_BESIDE = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json", "metadata.json")
_HELD_OUT = re.compile(r"(?:^|[^a-z])(?:test|val|valid|validation|eval|evaluation|dev)(?:[^a-z]|$)", re.I)
_TRAINING = re.compile(r"(?:^|[^a-z])train(?:ing)?(?:[^a-z]|$)", re.I)
#: More parts than any set of data on one machine has.
MOST_FILES = 2_000
EXPECTED = "JSON lines, a JSON array, CSV, TSV, parquet or a folder with one of those"


def files_of(path: Path) -> tuple[str, list[Path]]:
    """The format of the examples, and the files that hold them, in order.

    Raises:
        LossDoctorError: there is nothing, or nothing that can be read as examples.
    """
    if not os.path.lexists(path):
        raise LossDoctorError(f"{path}: no such file or folder; --data takes {EXPECTED} on this machine")
    if not path.is_dir():
        if not path.is_file():
            raise LossDoctorError(f"{path} is no regular file; --data takes {EXPECTED}")
        return _format(path), [path]
    found = _candidates(path)
    if not found:
        raise LossDoctorError(f"{path} has no file with examples; --data takes {EXPECTED}")
    first = _format(found[0])
    return first, [file for file in found if _format(file) == first][:MOST_FILES]


def _candidates(folder: Path) -> list[Path]:
    """The files of the training split; those of the folder itself, or else of the folders in it."""
    try:
        for pattern in ("*", "*/*"):
            there = sorted(file for file in folder.glob(pattern) if _ending(file) in ENDINGS and is_file_of(file, folder))
            there = [file for file in there if file.name not in _BESIDE and not file.name.startswith((".", "_", "cache-"))]
            if there:
                return _training(there, folder)
    except OSError as error:
        raise LossDoctorError(f"{folder}: {(error.strerror or str(error)).lower()}") from None
    return []


def _training(files: list[Path], folder: Path) -> list[Path]:
    names = {file: str(file.relative_to(folder)) for file in files}
    named = [file for file in files if _TRAINING.search(names[file])]
    return named or [file for file in files if not _HELD_OUT.search(names[file])] or files


def _ending(file: Path) -> str:
    name = file.name.lower().removesuffix(".gz")
    return os.path.splitext(name)[1]  # noqa: PTH122  # a name, not a path


def _format(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise LossDoctorError(f"{file}: {(error.strerror or str(error)).lower()}") from None
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    return ENDINGS.get(_ending(file), "json")
