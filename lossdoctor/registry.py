"""Finds every detector and cause by walking their folders, and refuses a file whose class is not named for it."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from importlib import import_module
from math import isfinite
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, TypeVar

from lossdoctor import causes, detectors
from lossdoctor.base import Cause, Detector, Page
from lossdoctor.model import LossDoctorError

P = TypeVar("P", bound=Page)


def _find(package: ModuleType, kind: type[P]) -> dict[str, type[P]]:
    found: dict[str, type[P]] = {}
    for info in iter_modules(package.__path__):
        module = import_module(f"{package.__name__}.{info.name}")
        classes = [
            item
            for item in vars(module).values()
            if isinstance(item, type) and issubclass(item, kind) and item.__module__ == module.__name__
        ]
        if [c.slug for c in classes] != [info.name.replace("_", "-")]:
            names = ", ".join(c.__name__ for c in classes) or "none"
            raise TypeError(f"{module.__name__} must hold exactly one {kind.__name__} named for its file, found: {names}")
        found[classes[0].slug] = classes[0]
    return found


@cache
def all_detectors() -> dict[str, type[Detector]]:
    """Every detector class by its slug."""
    return _find(detectors, Detector)


@cache
def all_causes() -> dict[str, type[Cause]]:
    """Every cause class by its slug."""
    return _find(causes, Cause)  # type: ignore[type-abstract]


def thresholds(page: type[Page]) -> dict[str, Any]:
    """The thresholds of a detector or cause with their defaults."""
    return {f.name: f.default for f in fields(page)}  # type: ignore[arg-type]


def build(kind: dict[str, type[P]], settings: dict[str, dict[str, Any]] | None = None) -> list[P]:
    """One instance of each, with thresholds from `settings` (slug → threshold → value).

    Raises:
        LossDoctorError: a setting names no threshold of its detector or cause, or its value has another type.
    """
    settings = settings or {}
    return [cls(**check(cls, settings.get(slug, {}))) for slug, cls in kind.items()]


def check(page: type[Page], settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of one detector or cause under their threshold names, or a LossDoctorError for what is wrong with them."""
    known = thresholds(page)
    for name, value in settings.items():
        name = name.replace("-", "_")
        if name not in known:
            raise LossDoctorError(f"{page.slug} has no threshold {name!r}; it has: {', '.join(known) or 'none'}")
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not isfinite(value):
            raise LossDoctorError(f"{page.slug}.{name} must be a number like {known[name]!r}, found {value!r}")
    return {name.replace("-", "_"): value for name, value in settings.items()}
