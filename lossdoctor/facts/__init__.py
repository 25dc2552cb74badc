"""One file per source of run facts; `beside` gathers those that lie beside a log, best source first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from lossdoctor.facts import adapter_config, model_config, training_args
from lossdoctor.model import Fact, LossDoctorError

#: File name beside the log → what reads it; the best source comes first.
SOURCES: Mapping[str, Callable[[Path], dict[str, Fact]]] = {
    "training_args.bin": training_args.read,
    "adapter_config.json": adapter_config.read,
    "config.json": model_config.read,
}


def beside(folders: Iterable[Path]) -> tuple[dict[str, Fact], list[str]]:
    """The facts from the files in these folders, the first of each name, and a note for every one that is unreadable."""
    facts: dict[str, Fact] = {}
    notes: list[str] = []
    folders = tuple(folders)
    for name, read in SOURCES.items():
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is None:
            continue
        try:
            for key, fact in read(path).items():
                facts.setdefault(key, fact)
        except LossDoctorError as error:
            notes.append(str(error))
    return facts, notes
