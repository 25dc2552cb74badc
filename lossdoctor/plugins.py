"""Detectors and causes of other packages: found through entry points of the group `lossdoctor.plugins`, and checked.

The files that installers write are read directly: `importlib.metadata` alone takes 30 ms to import, ten times the search.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

from lossdoctor.base import Cause, Detector

GROUP = "lossdoctor.plugins"


def declared() -> Iterator[tuple[str, str]]:
    """The entry points of all installed packages: name and target; of a package that is there twice the one that is imported."""
    seen: set[str] = set()
    for folder in dict.fromkeys(sys.path):
        here = set()
        for entry in _entries(folder):
            project = re.sub(r"[-_.]+", "-", entry.name.removesuffix(".dist-info").removesuffix(".egg-info").partition("-")[0])
            here.add(project.lower())
            if project.lower() not in seen:
                yield from _points(os.path.join(entry.path, "entry_points.txt"))  # noqa: PTH118  # a path costs more than the rest
        seen |= here


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder or ".") as entries:
            return [entry for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
    except OSError:  # gone, or a zip file
        return []


def _points(path: str) -> list[tuple[str, str]]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read()
    except OSError:  # most packages have none
        return []
    if GROUP.encode() not in data:
        return []
    found, ours = [], False
    for line in map(str.strip, data.decode("utf-8", "replace").splitlines()):
        if line.startswith("["):
            ours = line == f"[{GROUP}]"
        elif ours and "=" in line and not line.startswith(("#", ";")):
            name, _, target = line.partition("=")
            found.append((name.strip(), target.partition("[")[0].strip()))
    return found


def load(target: str) -> list[Any]:
    """What an entry point names: one class, or the classes of a list."""
    module, _, path = target.partition(":")
    found: Any = import_module(module)
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return list(found) if isinstance(found, (list, tuple)) else [found]


def fault(plugin: Any) -> str | None:
    """Why something cannot serve as a detector or cause; None where it can."""
    if not isinstance(plugin, type) or not issubclass(plugin, (Detector, Cause)):
        return f"must be a class that inherits Detector or Cause, found {plugin!r}"
    name = plugin.__name__
    if inspect.isabstract(plugin):
        return f"{name} does not define {', '.join(sorted(getattr(plugin, '__abstractmethods__', ())))}"
    if issubclass(plugin, Cause) and not getattr(plugin, "title", ""):
        return f"{name} has no title"
    if not is_dataclass(plugin):
        return f"{name} must be a dataclass: @dataclass(eq=False, repr=False)"
    for field in fields(plugin):
        if isinstance(field.default, bool) or not isinstance(field.default, (int, float)):
            return f"{name}.{field.name} is a threshold and needs a number as its default"
    try:
        plugin()
    except Exception as error:
        return f"{name}() fails: {type(error).__name__}: {' '.join(str(error).split())}"
    return None
