"""Small JSON and YAML files with a mapping in them, read with one-line errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lossdoctor.model import LossDoctorError

LARGEST = 8 * 1024 * 1024


def mapping(path: Path) -> dict[str, Any]:
    """The mapping in a JSON or YAML file (JSON is YAML, but is read faster as JSON).

    Raises:
        LossDoctorError: the file is missing, too large, neither JSON nor YAML, or not a mapping.
    """
    try:
        if path.is_dir():
            raise LossDoctorError(f"{path} is a folder; a JSON or YAML file was expected")
        if path.stat().st_size > LARGEST:
            raise LossDoctorError(f"{path} has {path.stat().st_size:,} bytes, too many for a configuration")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LossDoctorError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise LossDoctorError(f"{path} is not text; a JSON or YAML file was expected") from None
    found = _parse(path, text)
    if not isinstance(found, dict):
        kind = "nothing" if found is None else f"a {type(found).__name__}"
        raise LossDoctorError(f"{path} holds {kind}; a mapping of names to values was expected")
    return {str(key): value for key, value in found.items()}


def _parse(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    import yaml  # only where it is YAML

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise LossDoctorError(f"{path} is neither JSON nor YAML{where}") from None
