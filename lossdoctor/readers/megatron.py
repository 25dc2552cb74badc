"""What Megatron-LM, GPT-NeoX and their forks print: `iteration 10/ 1000 | learning rate: … | lm loss: … | loss scale: … |`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from lossdoctor.facts.canonical import translate
from lossdoctor.model import Log
from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.printed_lines import Row, followed, logs, rest
from lossdoctor.parsing.rows import number
from lossdoctor.parsing.source import Source

KIND = "megatron"
#: Whatever stands before it on the line: a rank, a host, a date; GPT-NeoX has a column there already.
ITERATION = re.compile(r"\biteration\s{1,12}(\d{1,12})\s{0,4}/\s{0,12}(\d{1,12})\s{0,4}\|")
#: At least one of them is in every row, and in no other program's.
TELLING = ("elapsed time per iteration", "number of nan iterations", "number of skipped iterations")
#: An evaluation; those of a test set come after training and tell nothing of it.
EVALUATION = re.compile(
    r"\bvalidation (?:loss|results) at (?:iteration\s{1,4}(\d{1,12})\b|the end of training)(?! on test| for test)[^|\r\n]{0,80}\|"
)
#: Columns before the iteration stand at most so far before it.
BEFORE = 200
RENAMED = {"number_of_skipped_iterations": "skipped_steps", "number_of_nan_iterations": "nan_iterations"}
#: Columns that say how far and how fast rather than what was measured.
PACE = re.compile(
    r"consumed |elapsed|samples/sec|throughput|flops|batch size|mem|time |usage|(?:samples|tokens) per|seqlen", re.I
)


def recognise(source: Source) -> bool:
    """At least one row is in the text."""
    text = source.text
    if not any(word in text for word in TELLING):
        return False
    return any(_is_row(rest(text, line.end(), until)) for line, until in followed(ITERATION, text))


def _is_row(behind: str) -> bool:
    return any(word in behind for word in TELLING)


def read(source: Source) -> list[Log]:
    """Every run in the text: one whose iterations begin anew is another.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    text = source.take()
    rows = list(_rows(text))
    totals = [int(line[2]) for line in ITERATION.finditer(text)]
    scales = {row.values.get("loss_scale", 1.0) for row in rows}
    known = translate({"max_steps": totals[-1] if totals else None, "fp16": True if scales - {1.0} else None}, KIND)
    return logs(KIND, source.name, text, rows, known)


def _rows(text: str) -> Iterator[Row]:
    """Rows and evaluations in the order in which they stand."""
    lines = [(line, until, _trained) for line, until in followed(ITERATION, text)]
    lines += [(line, until, _evaluated) for line, until in followed(EVALUATION, text)]
    last = 0
    for line, until, values in sorted(lines, key=lambda found: found[0].start()):
        step = int(line[1] or last)
        last = step
        if row := values(_columns(text, line, until)):
            yield Row(line.start(), {"step": step, **row})


def _columns(text: str, line: re.Match[str], until: int) -> dict[str, float]:
    """`name: value` between the bars, also those before the iteration."""
    begin = max(0, line.start() - BEFORE)
    begin = max(begin, text.rfind("\n", begin, line.start()) + 1)
    found: dict[str, float] = {}
    for part in (text[begin : line.start()] + rest(text, line.end(), until)).split("|"):
        name, _, value = part.rpartition(":")
        if not name:  # the oldest releases
            name, _, value = part.strip().rpartition(" ")
        if name and (known := _name(name)) and (measured := number(value)) is not None:
            found[known] = measured
    return found


@lru_cache(maxsize=1024)
def _name(printed: str) -> str:
    """What is measured, in words joined by "_", without what stands before it on the line; "" for the pace of the training."""
    name = " ".join(printed.rpartition(":")[2].split())
    return "" if PACE.search(name) else re.sub(r"\s+", "_", name)


def _trained(values: Mapping[str, float]) -> dict[str, float]:
    """A row of training; one whose iterations all were NaN is printed without its loss."""
    row = {RENAMED.get(name, column(name)): value for name, value in values.items()}
    lost, skipped = row.get("nan_iterations", 0), row.get("skipped_steps", 0)
    if "loss" not in row and lost and lost >= skipped and not any(name.endswith("_loss") for name in row):
        row["loss"] = math.nan
    return row


def _evaluated(values: Mapping[str, float]) -> dict[str, float]:
    """An evaluation: `lm loss value` is its loss, `lm loss PPL` its perplexity."""
    row: dict[str, float] = {}
    for name, value in values.items():
        plain = name.lower().removesuffix("_value")
        row[{"lm_loss": "eval_loss", "lm_loss_ppl": "eval_ppl"}.get(plain, f"eval_{plain}")] = value
    return row
