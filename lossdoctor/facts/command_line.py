"""Flags of a command line, alone or in a shell script: `--learning_rate 2e-4 --fp16 \\`. Nothing is run or expanded."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from lossdoctor.facts.canonical import NAMES, canonical

#: Longer lines are data; only the first commands of a script are looked at.
LONGEST_LINE, LONGEST_VALUE, MOST_COMMANDS = 20_000, 200, 200
_FLAG = re.compile(r"(?<!\S)--[A-Za-z][\w-]*")
_LAUNCHER = re.compile(r"(?<![\w./-])(deepspeed|torchrun|accelerate|llamafactory-cli|swift|axolotl|python[\d.]*)(?![\w.-])")
_SET = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)=(['\"]?)([^\s'\"$`;]*)\2\s*(?:#.*)?$")
#: Where the flags of a command end and the shell goes on.
_END = re.compile(r"(?:\d?>|&|\||;)")
#: Kinds of training that a script is named after.
_KINDS = ("dpo", "kto", "orpo", "cpo", "simpo", "reward", "grpo", "ppo", "rloo")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def recognise(text: str) -> bool:
    """By a flag after a launcher, or by flags that are facts."""
    known = sum(canonical(flag) is not None for flag in set(_FLAG.findall(text[:200_000])))
    return known >= 2 or (known == 1 and _LAUNCHER.search(text) is not None)


def values(text: str) -> dict[str, Any]:
    """The flags of all commands; where two have the same one, the later counts."""
    found: dict[str, Any] = {}
    variables: dict[str, str] = {}
    for count, line in enumerate(_commands(text, variables)):
        if count >= MOST_COMMANDS:
            break
        found |= _flags(line)
    return found


def _commands(text: str, variables: dict[str, str]) -> Iterator[list[str]]:
    """The words of each line with flags in it, continued lines joined, variables that the script sets to plain text put in."""
    for line in re.sub(r"\\[ \t]*\n", " ", text).split("\n"):
        if line.lstrip().startswith("#") or len(line) > LONGEST_LINE:
            continue
        if setting := _SET.fullmatch(line):
            variables[setting[1]] = setting[3][:LONGEST_VALUE]
        elif _FLAG.search(line):
            for command in re.split(r"\s(?:&&|\|\||;|\|)\s", line):
                yield [_put_in(word, variables) for word in _words(command)]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a quote that is not closed
        return line.split()


def _put_in(word: str, variables: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], match[0]), word)


def _flags(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    name, given = "", []  # type: str, list[str]
    end = next((place for place, word in enumerate(words) if _END.match(word)), len(words))
    for word in [*words[:end], "--"]:
        if not re.match(r"--(?:[A-Za-z]|$)", word):
            given.append(word)
            continue
        if name:
            _note(found, name, given)
        name, sign, value = word[2:].partition("=")
        given = [value] if sign else []
    _launched(found, words)
    return found


def _note(found: dict[str, Any], name: str, given: list[str]) -> None:
    """One flag: bare it is true, `--no_…` is false, and several values are a list where the fact may be one."""
    plain = name.replace("-", "_").lower()
    if any("$" in value or "`" in value for value in given[:1]):
        return  # what the shell would put in is not known
    known = canonical(plain)
    if known is None and plain.startswith("no_") and not given and canonical(plain[3:]):
        found[plain[3:]] = False
        return
    kind = NAMES.get(known or "", str)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    found[plain] = given if len(given) > 1 and list in kinds else given[0] if given and not _script(given[0]) else True


def _script(word: str) -> bool:
    """Whether the word after a bare flag is the script to run."""
    return word.endswith((".py", ".sh"))


def _launched(found: dict[str, Any], words: list[str]) -> None:
    """What the launcher says: processes times nodes, and whether it is DeepSpeed's."""
    each = next((_count(found.pop(name)) for name in ("nproc_per_node", "num_gpus") if name in found), None)
    nodes = next((_count(found.pop(name)) for name in ("nnodes", "num_nodes") if name in found), 1)
    if each and nodes:
        found["world_size"] = each * nodes
    programs = [word.rpartition("/")[2] for word in words if not word.startswith("--") and "=" not in word][:2]
    if "deepspeed" in programs and "deepspeed" not in found:
        found["deepspeed"] = True
    _trainer(found, words)


def _trainer(found: dict[str, Any], words: list[str]) -> None:
    """What the name of the script or the module says of the kind of training: `trl/scripts/dpo.py`, `trl kto`."""
    place = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
    modules = [words[at + 1] for at, word in enumerate(words[:-1]) if word in ("-m", "--module")]
    called = [word for word in words if word.endswith(".py")][:1] or modules[:1]
    if "trl" in words[:place]:
        called = words[words.index("trl") : place]
    parts = [part for word in called for part in re.split(r"[^a-z0-9]+", word.lower().removesuffix(".py"))]
    if "trl" in parts:
        found.setdefault("framework", "TRL")
    kind = next((part for part in reversed(parts) if part in _KINDS), None)
    if kind and "trainer" not in found and "stage" not in found:
        found["trainer"] = kind


def _count(value: Any) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < 6 else None
