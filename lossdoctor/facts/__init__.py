"""One file per source of run facts; `beside` gathers those that lie beside a log, best source first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lossdoctor.facts import adapter_config, model_config, training_args
from lossdoctor.model import Fact, LossDoctorError

#: File name beside the log → what reads it; the best source comes first.
SOURCES: Mapping[str, Callable[[Path], dict[str, Fact]]] = {
    "training_args.bin": training_args.read,
    "adapter_config.json": adapter_config.read,
    "config.json": model_config.read,
}


def beside(folder: Path) -> tuple[dict[str, Fact], list[str]]:
    """The facts from the files in `folder`, and a note for every file that could not be read."""
    facts: dict[str, Fact] = {}
    notes: list[str] = []
    for name, read in SOURCES.items():
        path = folder / name
        if not path.is_file():
            continue
        try:
            for key, fact in read(path).items():
                facts.setdefault(key, fact)
        except LossDoctorError as error:
            notes.append(str(error))
    return facts, notes
