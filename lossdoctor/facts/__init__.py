"""One file per source of run facts; `beside` gathers those that lie beside a log, best source first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path

from lossdoctor.model import Fact, LossDoctorError

#: File name beside the log → the module that reads it, loaded when there is such a file; the best source comes first.
SOURCES: Mapping[str, str] = {
    "training_args.bin": "training_args",
    "adapter_config.json": "adapter_config",
    "config.json": "model_config",
}


def beside(folders: Iterable[Path]) -> tuple[dict[str, Fact], list[str]]:
    """The facts from the files in these folders, the first of each name, and a note for every one that is unreadable."""
    facts: dict[str, Fact] = {}
    notes: list[str] = []
    folders = tuple(folders)
    for name, module in SOURCES.items():
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is None:
            continue
        try:
            for key, fact in import_module(f"{__name__}.{module}").read(path).items():
                facts.setdefault(key, fact)
        except LossDoctorError as error:
            notes.append(str(error))
    return facts, notes
