"""Values as people and programs write them in text: literals, enumeration members, lists. Nothing is ever evaluated."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any

#: Longer text is no literal of a setting; deeper nesting is not left to the parser of Python.
LONGEST, DEEPEST = 2_000, 6
_MEMBER = re.compile(r"<(\w+)\.(\w+): ['\"]?([^'\"<>]*)['\"]?>|((?:\w+\.)*[A-Z]\w*)\.([A-Z][A-Z0-9_]*)")
_TOO_DEEP = re.compile(rf"[(\[{{](?:\s*[(\[{{]){{{DEEPEST}}}")
_DTYPE = re.compile(r"torch\.(float16|bfloat16|float32|half|float)")


def literal(words: str, *, bare: bool) -> Any:
    """The value that the text stands for, or None where it is an expression; `bare` words count as text, or do not.

    Numbers stay text: the name of the fact says which kind is wanted.
    """
    words = words.strip()
    if not words or len(words) > LONGEST or words in ("None", "null"):
        return None
    member = _MEMBER.fullmatch(words)
    if member:
        return member[3] if member[1] else member[5].lower()
    if dtype := _DTYPE.fullmatch(words):
        return dtype[1]
    if words[0] in "([{" or words[0] in "'\"":
        return _written(words)
    if re.fullmatch(r"[+-]?[\d.][\w.+-]*|True|False|true|false", words):
        return words
    return words if bare and "(" not in words else None


def _written(words: str) -> Any:
    if sum(words.count(bracket) for bracket in "([{") > 50 or _TOO_DEEP.search(words):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python thinks of somebody's escapes
            return ast.literal_eval(words)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
