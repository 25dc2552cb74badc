"""Small files of text, JSON or YAML, read with one-line errors and without harm from hostile ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lossdoctor.model import LossDoctorError

LARGEST = 8 * 1024 * 1024
#: What a configuration in YAML never reaches: bytes, values, levels, aliases, and keys that `<<` merges into one mapping.
LARGEST_YAML = 1024 * 1024
MOST_VALUES, MOST_LEVELS, MOST_ALIASES, MOST_MERGED = 100_000, 60, 200, 2_000


def text(path: Path) -> str:
    """The text of a file.

    Raises:
        LossDoctorError: the file is missing, a folder, too large, or not text.
    """
    try:
        if path.is_dir():
            raise LossDoctorError(f"{path} is a folder; a JSON or YAML file was expected")
        with path.open("rb") as stream:
            data = stream.read(LARGEST + 1)  # a pipe has no size to ask for
        if len(data) > LARGEST:
            size = path.stat().st_size
            raise LossDoctorError(f"{path} has {size:,} bytes, too many for a configuration")
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise LossDoctorError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise LossDoctorError(f"{path} is not text; a JSON or YAML file was expected") from None


def mapping(path: Path) -> dict[str, Any]:
    """The mapping in a JSON or YAML file (JSON is YAML, but is read faster as JSON).

    Raises:
        LossDoctorError: the file is missing, too large, neither JSON nor YAML, or not a mapping.
    """
    found = parsed(path, text(path))
    if not isinstance(found, dict):
        raise LossDoctorError(f"{path} holds {kind_of(found)}; a mapping of names to values was expected")
    return {str(key): value for key, value in found.items()}


def kind_of(value: Any) -> str:
    """What a file holds that is no mapping, in words."""
    words = {"NoneType": "nothing", "str": "text", "bool": "a truth value", "int": "a number", "float": "a number"}
    kind = type(value).__name__
    return words.get(kind, f"a {kind}")


def parsed(path: Path, content: str) -> Any:
    """What JSON or YAML makes of the text.

    Raises:
        LossDoctorError: it is neither, or larger, deeper or more entangled than a configuration is.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        pass
    if len(content) > LARGEST_YAML:
        raise LossDoctorError(f"{path} is neither JSON nor YAML below {LARGEST_YAML // 1024:,} KiB")
    import yaml  # only where it is YAML

    try:
        return _yaml(content)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise LossDoctorError(f"{path} is neither JSON nor YAML{where}") from None


def _yaml(content: str) -> Any:
    """A walk over the events first: a parser in C does not survive deep nesting, nor would we what aliases can unfold to."""
    import yaml

    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(fast):  # type: ignore[misc, valid-type]
        def flatten_mapping(self, node: Any) -> None:
            super().flatten_mapping(node)
            if len(node.value) > MOST_MERGED:
                raise yaml.YAMLError("too many merged keys")

    levels = aliases = 0
    for values, event in enumerate(yaml.parse(content, Loader=fast)):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            levels += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            levels -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        if levels > MOST_LEVELS or values > MOST_VALUES or aliases > MOST_ALIASES:
            raise yaml.YAMLError("not the shape of a configuration")
    found = yaml.load(content, Loader=Loader)
    if aliases and not _small(found):
        raise yaml.YAMLError("aliases that unfold without end")
    return found


def _small(value: Any) -> bool:
    """Whether the value stays small when every alias in it is written out."""
    waiting, seen = [value], 0
    while waiting and seen <= MOST_VALUES:
        seen += 1
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, (list, tuple, set)):
            waiting += part
    return seen <= MOST_VALUES
