"""The chart that TensorBoard gives to download as JSON: `[[wall time, step, value], …]`, without its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from lossdoctor.language import say
from lossdoctor.parsing.rows import number

#: By these words in the file's name it is told which column it is; any other is taken for the loss.
MEASURED = {"eval_loss": ("eval", "val_", "valid"), "learning_rate": ("learning", "_lr"), "grad_norm": ("grad",)}
#: The first point. A wall time has ten digits: no other list of three numbers begins so.
POINT = re.compile(r"\[\s{0,8}\[\s{0,8}1\d{9}(?:\.\d{0,20})?\s{0,8},\s{0,8}\d{1,15}\s{0,8},\s{0,8}(?:-?\d|\"?NaN|\"?-?Inf)")


def recognise(text: str) -> bool:
    """Whether a text begins with a wall time, a step and a value."""
    return POINT.match(text) is not None


def rows(points: list[Any], file: str) -> tuple[Iterator[dict[str, Any]], list[str]] | None:
    """The rows of a chart, and the note that says what they are taken for; None for any other array."""
    if not points or not (isinstance(points[0], list) and len(points[0]) == 3):
        return None
    name = column(file)
    whole = (point for point in points if isinstance(point, list) and len(point) == 3 and number(point[1]) is not None)
    return ({"step": step, name: value} for _, step, value in whole), [say("the values are taken for {name}", name=name)]


def column(file: str) -> str:
    """What a chart shows that was downloaded from TensorBoard, as far as the name of its file tells."""
    name = PurePath(file).name.lower()
    return next((known for known, words in MEASURED.items() if any(word in name for word in words)), "loss")
