"""Finds every detector, cause and check: ours by walking their folders, those of other packages through entry points."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from functools import cache
from importlib import import_module
from math import isfinite
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, TypeVar

from lossdoctor import causes, checks, detectors, plugins
from lossdoctor.base import Cause, Check, DataCheck, Detector, Page
from lossdoctor.language import say
from lossdoctor.model import LossDoctorError, NotJudged

P = TypeVar("P", bound=Page)


def _find(package: ModuleType, kind: type[P]) -> dict[str, type[P]]:
    """The class of every file in a folder; a file whose class is not named for it is refused."""
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
def built_in() -> dict[str, type[Page]]:
    """Our own detectors and causes by their slugs, detectors first."""
    return {**_find(detectors, Detector), **_find(causes, Cause)}


@cache
def all_checks() -> dict[str, type[Check]]:
    """Every check class by its slug. Who only analyses a log never asks, and loads none of them."""
    return _find(checks, Check)  # type: ignore[type-abstract]


@cache
def installed() -> tuple[dict[str, type[Page]], tuple[NotJudged, ...]]:
    """The detectors and causes of other packages by their slugs, and why any of them is left out: none stops anything."""
    found: dict[str, type[Page]] = {}
    notes: list[NotJudged] = []
    for name, target in plugins.declared():
        try:
            pages = plugins.load(target)
        except (Exception, SystemExit) as error:
            why = say("cannot be imported: {name}: {split}", name=type(error).__name__, split=" ".join(str(error).split()))
            notes.append(NotJudged(say("plugin {name}", name=name), why))
            continue
        for page in pages:
            if why := plugins.fault(page) or _taken(page, found):
                notes.append(NotJudged(say("plugin {name}", name=name), why))
            else:
                found[page.slug] = page
    return found, tuple(notes)


def _taken(page: type[Page], others: dict[str, type[Page]]) -> str:
    if page.slug in built_in():
        return say("lossdoctor has a {slug} of its own, which is used instead", slug=page.slug)
    return say("another plugin named {slug} came first", slug=page.slug) if others.get(page.slug, page) is not page else ""


@cache
def all_detectors() -> dict[str, type[Detector]]:
    """Every detector class by its slug."""
    return {slug: page for slug, page in (built_in() | installed()[0]).items() if issubclass(page, Detector)}


@cache
def all_causes() -> dict[str, type[Cause]]:
    """Every cause class by its slug."""
    return {slug: page for slug, page in (built_in() | installed()[0]).items() if issubclass(page, Cause)}


@cache
def all_data_checks() -> dict[str, type[DataCheck]]:
    """Every check of data and model by its slug; loaded only where somebody asks for them."""
    from lossdoctor import data_checks

    return _find(data_checks, DataCheck)  # type: ignore[type-abstract]


def thresholds(page: type[Page]) -> dict[str, Any]:
    """The thresholds of a detector, cause or check with their defaults."""
    return {f.name: f.default for f in fields(page)}  # type: ignore[arg-type]


def build(kind: dict[str, type[P]], settings: dict[str, dict[str, Any]] | None = None) -> list[P]:
    """One instance of each, with thresholds from `settings` (slug → threshold → value).

    Raises:
        LossDoctorError: a setting names no threshold of its detector, cause or check, or its value has another type.
    """
    settings = settings or {}
    return [cls(**check(cls, settings[slug])) if slug in settings else cls() for slug, cls in kind.items()]


def given(extra: Iterable[Any], settings: dict[str, dict[str, Any]] | None = None) -> list[Page]:
    """Fresh instances of the plugins that somebody passed, as instances or as classes.

    Raises:
        LossDoctorError: one of them is no detector or cause, or has the name of another.
    """
    made: list[Page] = []
    for plugin in extra:
        page: Any = plugin if isinstance(plugin, type) else type(plugin)
        if why := plugins.fault(page):
            raise LossDoctorError(f"plugins: {why}")
        if page.slug in built_in():
            raise LossDoctorError(f"plugins: lossdoctor has a {page.slug} of its own; choose another name for {page.__name__}")
        if page.slug in {other.slug for other in made}:
            raise LossDoctorError(f"plugins: {page.slug} is there twice")
        fresh = build({page.slug: page}, settings)[0] if plugin is page else replace(plugin)  # without the state of another run
        made.append(fresh)
    return made


def check(page: type[Page], settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of one page under their threshold names, or a LossDoctorError for what is wrong with them."""
    known = thresholds(page)
    for name, value in settings.items():
        name = name.replace("-", "_")
        if name not in known:
            raise LossDoctorError(f"{page.slug} has no threshold {name!r}; it has: {', '.join(known) or 'none'}")
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not isfinite(value):
            raise LossDoctorError(f"{page.slug}.{name} must be a number like {known[name]!r}, found {value!r}")
    return {name.replace("-", "_"): value for name, value in settings.items()}
