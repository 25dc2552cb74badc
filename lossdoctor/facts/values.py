"""The value of a fact in the kind that its name takes, however somebody wrote it."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from lossdoctor.language import say
from lossdoctor.model import LossDoctorError

#: How the kinds are called in messages.
KINDS: Mapping[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a mapping",
}
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False, "none": False}
#: What a precision may be besides true and false: as DeepSpeed, kohya and Apex write it.
MODES = ("auto", "full", "pure", "apex", "apex o1", "apex o2", "o1", "o2")
#: True or false, or the path to a file.
_PATHS = ("deepspeed", "resume_from_checkpoint")
#: Counts that people round ("10k steps", "4.2M parameters"); a length or a vocabulary of 32k may be 32,000 or 32,768.
_ROUNDED = ("max_steps", "dataset_size", "trainable_parameters")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_SUFFIXED = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMbB])")


def coerce(name: str, named: type | tuple[type, ...], value: Any) -> Any:
    """The value in a kind that the name takes; what counts as true, as a number or as a list may be written in many ways.

    Raises:
        LossDoctorError: the value is of another kind.
    """
    kinds = named if isinstance(named, tuple) else (named,)
    if bool in kinds and (truth := _truth(value)) is not None:
        return truth
    if bool in kinds and str in kinds and isinstance(value, str):
        if name in _PATHS and value.strip():
            return value
        if value.strip().lower() in MODES:
            return value.strip().lower()
    number = None if bool in kinds else _number(value, name in _ROUNDED)
    if number is not None and int in kinds and number == int(number):
        return int(number)
    if number is not None and float in kinds:
        return number
    if list in kinds and (several := _several(value)) is not None:
        return several
    if dict in kinds and isinstance(value, dict):
        return value
    if str in kinds and bool not in kinds and isinstance(value, (str, int, float)) and str(value).strip():
        return "no" if value is False and name.endswith("_strategy") else str(value)  # YAML reads a bare no as false
    wanted = say(" or ").join(KINDS[kind] for kind in kinds)
    if bool in kinds and str in kinds:
        wanted = "true, false or a path" if name in _PATHS else f"true, false or one of {', '.join(MODES)}"
    raise LossDoctorError(f"{name} takes {wanted}, found {reprlib.repr(value)}")


def _truth(value: Any) -> bool | None:
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower())
    return bool(value) if isinstance(value, bool) or value in (0, 1) else None


def _several(value: Any) -> list[str] | None:
    """The names in a list, or in text that puts plain commas between them."""
    if isinstance(value, (list, tuple, set)):
        return [str(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"\s*[\w./-]+(?:\s*,\s*[\w./-]+)+\s*", value):
        return [part.strip() for part in value.split(",")]
    return None


def _number(value: Any, rounded: bool = False) -> float | None:
    """A finite number that an integer of 64 bits could count to; text counts if it reads as one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str):
        value = value.strip()
        if _THOUSANDS.fullmatch(value):
            value = value.replace(",", "")
        elif rounded and (parts := _SUFFIXED.fullmatch(value)):
            value = f"{parts[1]}e{ {'k': 3, 'm': 6, 'b': 9}[parts[2].lower()] }"
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 2.0**63 else None
