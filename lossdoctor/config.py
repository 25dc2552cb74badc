"""Thresholds from `[tool.lossdoctor.<slug>]` in the nearest pyproject.toml, or from lossdoctor.toml."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lossdoctor.base import Page
from lossdoctor.model import LossDoctorError


def settings(start: Path | None = None) -> dict[str, dict[str, Any]]:
    """Slug → threshold → value, from the first file found in `start` (the working directory) and above.

    Raises:
        LossDoctorError: the file is not TOML, or names something that is no detector, cause or check.
    """
    folder = (start or Path.cwd()).resolve()
    for place in (folder, *folder.parents):
        for name in ("lossdoctor.toml", "pyproject.toml"):
            path = place / name
            own = name == "lossdoctor.toml"
            if path.is_file() and (b"lossdoctor" in (data := path.read_bytes()) or own):
                found = _table(path, data, own)
                if found is not None:
                    return _checked(path, found)
    return {}


def _table(path: Path, data: bytes, own: bool) -> dict[str, Any] | None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise LossDoctorError(f"{path} is not TOML: {error}") from None
    tool = document.get("tool", {})
    table = tool.get("lossdoctor") if isinstance(tool, dict) else tool
    if own and table is None:
        table = document  # in its own file the tables need no prefix
    if table is not None and not isinstance(table, dict):
        raise LossDoctorError(f"{path}: [tool.lossdoctor] must be a table, found {table!r}")
    return table


def _checked(path: Path, found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    from lossdoctor.registry import all_causes, all_checks, all_data_checks, all_detectors, check, installed

    known: dict[str, type[Page]] = {**all_detectors(), **all_causes()}
    if not known.keys() >= found.keys():
        known |= {**all_checks(), **all_data_checks()}
    for slug, values in found.items():
        if slug not in known and installed()[1]:
            continue  # it may be that of a plugin which cannot be imported; the report says which one
        if slug not in known:
            raise LossDoctorError(f"{path} sets {slug!r}, which is no detector, cause or check; see: lossdoctor list")
        if not isinstance(values, dict):
            raise LossDoctorError(f"{path}: [tool.lossdoctor.{slug}] must be a table of thresholds, found {values!r}")
        try:
            check(known[slug], values)
        except LossDoctorError as error:
            raise LossDoctorError(f"{path}: {error}") from None
    return found
