"""Whether two statements of a fact say the same: 2e-4 and "0.0002", a name and a path that ends in it, "auto" and anything."""

from __future__ import annotations

import re
from math import ceil, isclose, isfinite
from typing import Any

TOLERANCE = 1e-6
#: Labels rather than settings: each source calls them in its own way.
_LABELS = ("framework", "trainer", "task", "finetuning_type", "distributed_type")
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
_STEPS = ("logging_steps", "eval_steps", "save_steps", "warmup_steps")


def agree(name: str, one: Any, other: Any) -> bool:
    """Whether two statements of a fact say the same, or one of them says nothing ("auto", None, empty)."""
    if name in _LABELS or silent(one) or silent(other):
        return True
    if isinstance(one, bool) or isinstance(other, bool):
        return None in (truths := (_truth(one), _truth(other))) or truths[0] == truths[1]
    if name == "deepspeed" or isinstance(one, dict) != isinstance(other, dict):
        return True  # a path and what is in it
    first, second = number(one), number(other)
    if first is not None and second is not None:
        return _same_number(name, first, second)
    if isinstance(one, (list, tuple, set)) or isinstance(other, (list, tuple, set)):
        return _same_names(one, other)
    return one == other if isinstance(one, dict) else _same_text(name, str(one), str(other))


def silent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in ("", "auto", "none"))


def _truth(value: Any) -> bool | None:
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in ("true", "yes", "on", "1") else False if word in ("false", "no", "off", "0") else None
    return bool(value) if isinstance(value, (bool, int, float)) else None


def number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def _same_number(name: str, one: float, other: float) -> bool:
    if name == "num_train_epochs" and ceil(one) == ceil(other) and (one == ceil(one) or other == ceil(other)):
        return True  # the Trainer's state rounds epochs up
    if name in _STEPS and (0 < one < 1) != (0 < other < 1) and one and other:
        return True  # a share of the run and the steps that came of it
    return isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-12)


def _same_names(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        text, names = (one, other) if isinstance(one, str) else (other, one)
        return text.strip() in ("all", "all-linear") or not text.isidentifier() or [str(n) for n in names] == [text.strip()]
    return sorted(map(str, one)) == sorted(map(str, other)) if isinstance(one, list) and isinstance(other, list) else False


def _same_text(name: str, one: str, other: str) -> bool:
    first, second = one.strip().lower(), other.strip().lower()
    if first == second:
        return True
    if name in ("model_name_or_path", "ref_model", "dataset", "resume_from_checkpoint"):
        return _same_place(first, second)
    if name == "torch_dtype":
        return _dtype(first) == _dtype(second)
    if name == "quantization":
        return re.findall(r"\d+", first)[:1] == re.findall(r"\d+", second)[:1]
    if name.endswith("_version"):
        return re.match(r"[\d.]*\d|", first)[0] == re.match(r"[\d.]*\d|", second)[0]  # type: ignore[index]  # always matches
    return name == "gpu" and (first in second or second in first)


def _dtype(word: str) -> str:
    word = word.removeprefix("torch.")
    return _DTYPES.get(word, word)


def _same_place(one: str, other: str) -> bool:
    """Whether a name and a path, or two paths, end in the same name; two names on the Hub must have the same owner."""
    parts = [_cached(place).replace("\\", "/").rstrip("/").split("/") for place in (one, other)]
    named = [len(part) == 2 and part[0] not in ("", ".", "..", "~") for part in parts]
    return parts[0] == parts[1] if all(named) else parts[0][-1] == parts[1][-1]


def _cached(place: str) -> str:
    """The name of a model in the cache of the Hub: `…/models--org--name/snapshots/…`."""
    found = re.search(r"(?:models|datasets)--([^/\\]+)", place)
    return found[1].replace("--", "/") if found else place
