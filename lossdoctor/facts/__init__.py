"""One file per source of run facts; `beside` gathers those that lie beside a log, best source first."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path

from lossdoctor.confinement import is_file_of
from lossdoctor.model import Fact, LossDoctorError

#: File name beside the log → the module that reads it, loaded when there is such a file; the best source comes first.
SOURCES: Mapping[str, str] = {
    "training_args.bin": "training_args",
    "adapter_config.json": "adapter_config",
    "config.json": "model_config",
}
#: Names under which other sources may lie there, best first after those above; what such a file is shows in its content.
SNIFFED = ("training_args.json", "training_args.yaml", "ds_config*.json", "deepspeed*.json", "zero*.json", "README.md")
#: A file of facts has a few kilobytes; larger ones are something else.
LARGEST = 512 * 1024


def beside(folders: Iterable[Path], within: Sequence[Path]) -> tuple[list[dict[str, Fact]], list[str]]:
    """What each source in these folders states, the best first, and a note for every file that is unreadable.

    Nothing is read from outside the folders `within`, whatever links or names in a file lead there.
    """
    folders = tuple(folders)
    there = [_names(folder) for folder in folders]
    found: list[dict[str, Fact]] = []
    notes: list[str] = []
    for path in _paths(folders, there, within):
        try:
            if path.name in SOURCES:
                found += _with_deepspeed(import_module(f"{__name__}.{SOURCES[path.name]}").read(path), path, within)
            elif facts := _sniffed(path):
                found += _with_deepspeed(facts, path, within)
        except LossDoctorError as error:
            notes.append(str(error))
    return found, notes


def _names(folder: Path) -> list[str]:
    """The names in a folder that may be a source, by one look at it."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if is_source(entry.name))
    except OSError:
        return []


def is_source(name: str) -> bool:
    """Whether a file of this name may hold facts."""
    return name in SOURCES or (
        name.endswith((".json", ".yaml", ".md")) and any(fnmatchcase(name, pattern) for pattern in SNIFFED)
    )


def _paths(folders: tuple[Path, ...], there: list[list[str]], within: Sequence[Path]) -> Iterator[Path]:
    """The files to read, best source first; of one source the first folder that has it counts."""
    for pattern in (*SOURCES, *SNIFFED):
        for folder, names in zip(folders, there, strict=True):
            matches = [name for name in names if fnmatchcase(name, pattern) and is_file_of(folder / name, *within)]
            if matches:
                yield from (folder / name for name in matches[:4])
                break


def _sniffed(path: Path) -> dict[str, Fact]:
    """The facts of a file whose name says little. What is no source of facts after all is nobody's error."""
    from lossdoctor.facts import config_file, files

    if path.stat().st_size > LARGEST:
        return {}
    if path.suffix == ".md":
        from lossdoctor.facts import model_card

        try:
            text = files.text(path)
        except LossDoctorError:
            return {}
        return config_file.of_mapping(model_card.values(text), path.name) if model_card.recognise(text) else {}
    if path.stem == "training_args":
        return config_file.of_mapping(files.mapping(path), path.name)
    from lossdoctor.facts import deepspeed_config

    try:
        values = files.mapping(path)
    except LossDoctorError:
        return {}
    return config_file.of_mapping(values, path.name) if deepspeed_config.recognise(values) else {}


def _with_deepspeed(facts: dict[str, Fact], path: Path, within: Sequence[Path]) -> list[dict[str, Fact]]:
    """The facts, and after them those of a DeepSpeed configuration that they hold or name."""
    if "deepspeed" not in facts:
        return [facts]
    from lossdoctor.facts import config_file

    return [part for part in config_file.with_deepspeed(facts, path.parent, within) if part]
