"""Settings put into a TrainingArguments that is there already. Works on any dataclass: no training library is imported."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar

from lossdoctor.settings import SUCCESSORS, TWINS

A = TypeVar("A")


def changed(args: A, changes: Mapping[str, Any]) -> A:
    """A new object of the class of `args` with `changes` to those of its fields that they name; `args` stays as it is.

    Not `dataclasses.replace`: it gives back as if the user had asked for it what `__post_init__` filled in, which GRPOConfig
    refuses and which lets an old name of a field win over the new one. So fields that stay at their default are left out, and
    of those that begin as None or empty only the ones that do not come out the same by themselves are passed.

    Raises:
        ValueError: `args` is no such object, or its class refuses the change; one line.
    """
    if not is_dataclass(args) or isinstance(args, type):
        raise ValueError(f"a TrainingArguments object is needed, found {type(args).__name__}")
    kind = type(args).__name__
    wanted = _wanted(args, changes)
    try:
        result = type(args)(**{**_asked_for(args), **deepcopy(wanted)})
    except Exception as error:
        told = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
        raise ValueError(f"{kind} refuses {told}: {' '.join(str(error).split())}") from None
    for name, value in wanted.items():
        if getattr(result, name) != value and _is(getattr(result, name), getattr(args, name)):
            raise ValueError(f"{kind} does not take {name}={value!r}: it stays {getattr(result, name)!r}")
    return result


def _wanted(args: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes under the names that this version of the class has; a mapping adds to the one that is there."""
    known = {field.name for field in fields(args) if field.init}
    wanted: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known and name in SUCCESSORS:
            name, values = SUCCESSORS[name]
            value = values.get(value, value)
        for place in _places(args, name, known):
            before = getattr(args, place)
            both = isinstance(value, Mapping) and isinstance(before, Mapping)
            wanted[place] = {**before, **value} if both else value
    return wanted


def _places(args: Any, name: str, known: set[str]) -> list[str]:
    """The fields that a setting goes to: none if the class has none of that name, two if it has the old and the new one."""
    pair = next((twins for twins in TWINS if name in twins), (name,))
    there = [twin for twin in pair if twin in known]
    if name in there:
        return [twin for twin in there if twin == name or getattr(args, twin) is not None]
    return there


def _asked_for(args: Any) -> dict[str, Any]:
    """The arguments that make an equal object: what differs from its default, unless `__post_init__` fills it in anyway."""
    differing = [field for field in fields(args) if field.init and not _is(getattr(args, field.name), _default(field))]
    open_questions = [f.name for f in differing if f.default is None or f.default_factory is not MISSING]
    given = {field.name: getattr(args, field.name) for field in differing if field.name not in open_questions}
    if open_questions:
        base = _made(type(args), given)
        for name in open_questions:
            if not _is(getattr(base, name, MISSING), getattr(args, name)):
                given[name] = getattr(args, name)
                base = _made(type(args), given)
    return deepcopy(given)


def _made(kind: type, given: Mapping[str, Any]) -> Any:
    """The object, or None as long as what is given so far does not make one."""
    try:
        with warnings.catch_warnings():  # what they say of the values was said when `args` was made
            warnings.simplefilter("ignore")
            return kind(**deepcopy(dict(given)))
    except Exception:
        return None


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _is(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # values that cannot be compared
        return False
