"""One printed line of names and numbers → where it belongs and what was measured, under the Trainer's names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from math import isfinite
from typing import NamedTuple

from lossdoctor.readers.column_names import column
from lossdoctor.readers.printed_lines import NUMBER, end_of_line, rest

#: A longer line is prose or data.
LONGEST = 1_000
#: Words beside the pairs that a row may have: a level, a logger, a rank. Prose has more.
MOST_WORDS = 4
STEPS = ("step", "steps", "global_step", "iteration", "iter", "iters", "it", "update", "num_updates", "batch")
EPOCHS = ("epoch", "epochs", "ep")
TRAINING = frozenset({"train", "training", "tr"})
EVALUATING = frozenset({"val", "valid", "validation", "eval", "evaluation", "dev"})
#: Words that tell which mean of the loss it is; any other makes it another loss, of which there may be several.
MEANS = frozenset({"epoch", "step", "avg", "average", "mean", "running", "total", "batch", "lm", "ce", "current", "iter", "the"})
#: The lowest of several is no measurement of now, and a test tells nothing of the training.
ELSEWHERE = frozenset({"best", "min", "lowest", "max", "prev", "previous", "test", "target"})
PACE = re.compile(r"time|eta|sec|speed|throughput|mem|elapsed|remaining|token|mfu|date", re.I)
WORD = re.compile(r"[Ll]oss|LOSS")
_WORD = r"[A-Za-z_][\w./@%-]{0,60}"
#: What may follow a name without a sign between them; any other name needs `:` or `=`.
_BARE = (
    r"(?:(?:train(?:ing)?|val(?:id(?:ation)?)?|eval|dev|test|lm|avg|total|mean|running) )?loss(?: (?:train|val))?"
    r"|global_step|steps?|iter(?:ation)?s?|epoch|batch|update|lr|learning rate|grad[ _]norm|gnorm|ppl|perplexity"
)
_VALUE = rf"[\[(]?(?:tensor\()?({NUMBER})|[\[(]?(\d{{1,12}})[ \t]{{0,3}}(?:/|of)[ \t]{{0,3}}(\d{{1,12}})(?![\w.:])[\])]?"
PAIR = re.compile(
    rf"(?<![\w./%-])(?:({_WORD}(?: {_WORD}){{0,2}}?)[ \t]{{0,4}}[:=][ \t]{{0,12}}|((?i:{_BARE}))[ \t#]{{1,4}})(?:{_VALUE})"
)
#: What else may stand between the pairs: dates, times, numbers with a unit.
NOISE = re.compile(
    r"\d[\d.:,/T-]{0,30} ?(?:ms|s|sec|secs|min|h|it/s|s/it|GB|MB|%|tokens/s|samples/s)?(?![A-Za-z])|n/a|None"
    r"|\b(?:INFO|DEBUG|WARNING|time|eta|iter time|remaining time)\b"
)
#: Between commas, a few words and a number, as mlx prints its speed: no prose either.
ITEM = re.compile(
    r"(?<![^,;|])[ ]{0,4}[A-Za-z][A-Za-z/ ]{0,30} [\d.]{1,20}(?:e[-+]?\d{1,4})?[ ]?[A-Za-z/%]{0,8}[ ]{0,4}(?=[,;|]|$)"
)
#: `200/ 2983 batches`, where others put the name first.
BATCHES = re.compile(r"(\d{1,12})[ ]?/[ ]{0,6}(\d{1,12}) batches")
_PLACE = re.compile(r"^(?:train(?:ing)?|current|cur|completed|finished)_(?=(?:epoch|step|iter)$)")
DEVICE = re.compile(r", (?:device|dtype|grad_fn|requires_grad)=[^,)\r\n]{1,60}")
LETTERS = re.compile(r"[^\W\d_]{3,}")


class Pairs(NamedTuple):
    """A line of pairs: its step, epoch and what they are of, what was measured, and what tells its kind of line from others."""

    step: int | None
    epoch: float | None
    steps: int | None
    epochs: int | None
    values: dict[str, float]
    shape: tuple[str, ...]
    unit: str  # what the step is called


class Line(NamedTuple):
    """A line with a loss, and where it begins in the text."""

    start: int
    pairs: Pairs


def lines(text: str, most: int | None = None) -> Iterator[Line]:
    """The lines in which a loss has a number; `most` is how many with that word are looked at."""
    end = tried = 0
    for word in WORD.finditer(text):
        if word.start() < end:
            continue
        begin = max(text.rfind("\n", end, word.start()), text.rfind("\r", end, word.start()), end - 1) + 1
        line = rest(text, begin)
        end = begin + len(line) if line else end_of_line(text, begin)
        tried += 1
        if pairs := parse(line.strip()):
            yield Line(begin, pairs)
        if tried == most:
            return


def parse(line: str) -> Pairs | None:
    """The pairs in a line with a loss; None for any other line, for progress bars, and for prose that has a loss in it."""
    if (
        len(line) > LONGEST or "%|" in line or " iter time (s): " in line
    ):  # bars, and the pipeline of DeepSpeed, have readers of their own
        return None
    line = DEVICE.sub("", line) if "tensor(" in line else line
    line = BATCHES.sub(r"batch \1/\2", line) if " batches" in line else line
    found: dict[str, tuple[float, int | None]] = {}
    beside, end = [], 0
    for pair in PAIR.finditer(line):
        beside.append(line[end : pair.start()])
        end = pair.end()
        name = _PLACE.sub("", "_".join((pair[1] or pair[2]).lower().split()))
        value = float(pair[3] if pair[3] is not None else pair[4])
        found.setdefault(name, (value, int(pair[5]) if pair[5] else None))
    beside.append(line[end:])
    if "loss_train" in found and "val" in found:  # litgpt: loss train: 1.234, val: 1.567
        found["val_loss"] = found.pop("val")
    values = {known: value for name, (value, _) in found.items() if (known := _column(name))}
    losses = ("loss",) if "loss" in values else ("loss", "eval_loss")  # an evaluation may come and go
    shape = tuple(name for name in found if name in (*STEPS, *EPOCHS) or _column(name) in losses)
    words = LETTERS.findall(NOISE.sub(" ", ITEM.sub(" ", " ".join(beside))))
    if not values.keys() & {"loss", "eval_loss"} or len(words) > MOST_WORDS:
        return None
    unit = next((name for name in STEPS if name in found), "")
    step, steps = found.get(unit, (None, None))
    epoch, epochs = next((found[name] for name in EPOCHS if name in found and isfinite(found[name][0])), (None, None))
    whole = step is not None and 0 <= step < 2**53 and step == int(step)
    return Pairs(int(step) if whole and step is not None else None, epoch, steps, epochs, values, shape, unit)


@lru_cache(maxsize=1024)
def _column(name: str) -> str:
    """The Trainer's name; "" for what is no measurement of the training."""
    words = [word for word in re.split(r"[_./ -]+", name) if word]
    if name in (*STEPS, *EPOCHS) or PACE.search(name) or ELSEWHERE & set(words) or words[-1:] == ["py"]:
        return ""
    rest = [word for word in words if word not in TRAINING and word not in EVALUATING]
    evaluated = bool(EVALUATING & set(words))
    if "loss" in rest and set(rest) <= MEANS | {"loss"}:
        return "eval_loss" if evaluated else "loss"
    known = column(name)
    return f"eval_{'_'.join(rest)}" if evaluated and rest and not known.startswith("eval_") else known
