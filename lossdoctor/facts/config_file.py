"""`--config FILE` and `--set name=value`: what the user says of the run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lossdoctor.facts.canonical import fact, translate
from lossdoctor.facts.files import mapping
from lossdoctor.model import Fact, LossDoctorError


def read(path: Path) -> dict[str, Fact]:
    """The facts in a JSON or YAML file: canonical names or usual other ones; other keys are passed over."""
    return translate(mapping(path), path.name)


def settings(pairs: Iterable[str]) -> dict[str, Fact]:
    """The facts of `name=value` pairs.

    Raises:
        LossDoctorError: a pair has no `=`, names no fact, or gives it a value of another kind.
    """
    facts: dict[str, Fact] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise LossDoctorError(f"--set takes name=value, found {pair!r}")
        key, known = fact(name, value, "--set")
        facts[key] = known
    return facts
