"""What DeepSpeed prints of itself, in every release: steps, the learning rate, skipped steps and the loss scale of fp16."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lossdoctor.language import later
from lossdoctor.model import Fact
from lossdoctor.parsing.printed_lines import NUMBER, Row

#: `[Rank 0] step=10, skipped=0, lr=[0.001, 0.001], mom=[…]`; one rate for each group of parameters.
STEP = re.compile(rf"\] step=(\d{{1,12}}), skipped=(\d{{1,12}}), lr=\[({NUMBER})?")
#: The pipeline engine: `steps: 10 loss: 2.3012 iter time (s): 0.512 samples/sec: 31.250`, with other losses in between.
PIPELINE = re.compile(
    rf"steps?: {{1,8}}(\d{{1,12}})(?: {{1,8}}/ {{1,8}}\d{{1,12}})? loss: ({NUMBER})[^\r\n]{{0,400}}? iter time \(s\): "
)
#: A step that is thrown away; where hysteresis is left, the scale stays as it was.
OVERFLOW = re.compile(rf"(?:Rank (\d{{1,6}}) )?Skipping step\. Attempted loss scale: ({NUMBER}), (?:reducing to ({NUMBER})|but)")
#: Optimizers without ZeRO say it in two lines; of these the second has the scale.
REDUCED = re.compile(rf"Reducing dynamic loss scale from ({NUMBER}) to ({NUMBER})")
#: What apex and fairseq say of the same; nothing of it is DeepSpeed's.
OTHERS = re.compile(
    rf"Gradient overflow\. {{1,4}}Skipping step, loss scaler \d{{1,4}} reducing loss scale to ({NUMBER})"
    rf"|gradient overflow detected, ignoring gradient, setting loss scale to: ({NUMBER})"
)
EXHAUSTED = "Current loss scale already at minimum"
EXHAUSTED_NOTE = later("DeepSpeed gave up: the loss scale was at its minimum, and the step overflowed all the same")


class Overflow(NamedTuple):
    """A step that was thrown away: where that stands in the text, and the loss scale from then on."""

    start: int
    scale: float


def overflows(text: str) -> list[Overflow]:
    """Every skipped step, once: the first process tells of it, and old releases let all of them tell."""
    found: list[Overflow] = []
    if "Attempted loss scale" in text:
        for line in OVERFLOW.finditer(text):
            if line[1] in (None, "0"):
                found.append(Overflow(line.start(), float(line[3] or line[2])))
    if not found and "Reducing dynamic loss scale" in text:
        found = [Overflow(line.start(), float(line[2])) for line in REDUCED.finditer(text)]
    if not found and "radient overflow" in text:
        found = [Overflow(line.start(), float(line[1] or line[2])) for line in OTHERS.finditer(text)]
    return found


def by_others(text: str) -> bool:
    """Whether apex or fairseq told of overflows, rather than DeepSpeed."""
    return "radient overflow" in text and OTHERS.search(text) is not None


def columns(skipped: Sequence[Overflow]) -> dict[str, float]:
    """What the overflows since the row before add to a row; nothing where there was none."""
    return {"skipped_steps": float(len(skipped)), "loss_scale": skipped[-1].scale} if skipped else {}


def scaled(text: str, rows: Iterable[Row]) -> tuple[list[Row], dict[str, Fact]]:
    """The rows of another program with what DeepSpeed printed between them, and what that tells: only fp16 has a loss scale."""
    kept, told = list(rows), overflows(text)
    if not told:
        return kept, {}
    values = beside([(row.start, row.values) for row in kept], told)
    return [Row(row.start, more) for row, more in zip(kept, values, strict=True)], {"fp16": Fact(True, "deepspeed")}


def beside(rows: Sequence[tuple[int, Mapping[str, Any]]], told: Sequence[Overflow]) -> Iterator[dict[str, Any]]:
    """The rows, each given with where it stands in the text, with the overflows between the row before and this one.

    Those after the last row belong to it as well: the run may have ended in them.
    """
    place = 0
    trained = [number for number, (_, row) in enumerate(rows) if "loss" in row]
    last = trained[-1] if trained else -1
    for number, (start, row) in enumerate(rows):
        since = place
        while "loss" in row and place < len(told) and (told[place].start < start or number == last):
            place += 1
        yield {**row, **columns(told[since:place])}
