"""One printed line of names and numbers → where it belongs and what was measured, under the Trainer's names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from math import isfinite
from typing import NamedTuple

from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.printed_lines import NUMBER, end_of_line, rest

#: A longer line is prose or data.
LONGEST = 1_000
#: Words beside the pairs that a row may have: a level, a logger, a rank. Prose has more.
MOST_WORDS = 4
STEPS = ("step", "steps", "global_step", "iteration", "iter", "iters", "it", "update", "num_updates", "batch")
EPOCHS = ("epoch", "epochs", "ep")
TRAINING = frozenset({"train", "training", "tr"})
EVALUATING = frozenset({"val", "valid", "validation", "eval", "evaluation", "dev"})
#: Words that tell which mean of the loss it is; any other makes it another loss, of which there may be several.
MEANS = frozenset(
    {
        "epoch",
        "step",
        "avg",
        "average",
        "mean",
        "running",
        "total",
        "batch",
        "lm",
        "ce",
        "gpt",
        "current",
        "iter",
        "reduced",
        "the",
    }
)
#: The lowest of several is no measurement of now, and a test tells nothing of the training.
ELSEWHERE = frozenset({"best", "min", "lowest", "max", "prev", "previous", "test", "target"})
PACE = re.compile(r"time|eta|sec|speed|throughput|mem|elapsed|remaining|token|mfu|date|flops|/s$", re.I)
#: Of machines as well; they are short, and part of other words.
NO_MEASURE = frozenset({"tps", "tgs", "wps", "ups", "wpb", "bsz", "ips", "rank", "wall", "train_wall", "gb_free", "dt", "pid"})
#: Which part of the data a line is of, before its first pair or as a heading within it: `| valid | loss 2.1`, `val: loss=2.1`.
PART = re.compile(
    r"(?<![\w./-])(?:(train(?:ing|_inner)?)|(val(?:id(?:at(?:ion|e))?)?|eval(?:uat(?:ion|e))?|dev)|test(?:ing)?)"
    r"(?!\w|[./-]\w)( ?[:\])}])?",
    re.I,
)
#: Batches in brackets behind the epoch: `Epoch: [0][ 10/5005]`, `Train: [0/300][0/1251]`; with a share they may be samples.
BRACKETS = re.compile(
    r"\b(?:train(?:ing)?|epoch|train epoch)[: ]{1,2}(?:\[ {0,4}(\d{1,9})(?:/(\d{1,9}))?\]|(\d{1,9}))"
    r"[ \t]{0,4}\[ {0,12}(\d{1,12}) ?/ {0,12}(\d{1,12})( ?\( {0,4}[\d.]{1,8} ?%\))?\]",
    re.I,
)
#: The bar of Keras: `1875/1875 [=====] - 5s 3ms/step - loss: 2.1`.
KERAS = re.compile(r"^(\d{1,12})/(\d{1,12}) (?=\[[=>.]{5}|\u2501{5}| {0,4}\u2501{2})\S{1,60}")
WORD = re.compile(r"[Ll]oss|LOSS")
_WORD = r"[A-Za-z_][\w./@%-]{0,60}"
#: What may follow a name without a sign between them; any other name needs `:` or `=`.
_BARE = (
    r"(?:(?:train(?:ing)?|val(?:id(?:ation)?)?|eval|dev|test|lm|avg|total|mean|running)[ _])?loss(?: (?:train|val))?"
    r"|global_step|steps?|iter(?:ation)?s?|epoch|batch|update|num_updates|lr|learning rate|grad[ _]norm|gnorm|norm|ppl|perplexity"
)
_VALUE = rf"[\[(]?(\d{{1,12}})[ \t]{{0,3}}(?:/|of)[ \t]{{0,3}}(\d{{1,12}})(?![\w.:])[\])]?|[\[(]?(?:tensor\()?({NUMBER})"
PAIR = re.compile(
    rf"(?<![\w./%-])(?:({_WORD}(?: {_WORD}){{0,2}}?)[ \t]{{0,4}}[:=][ \t]{{0,12}}"
    rf"|((?i:{_BARE}))(?:\.{{2,3}})?[ \t#]{{1,12}})(?:{_VALUE})"
)
#: What else may stand between the pairs: dates, times, numbers with a unit.
NOISE = re.compile(
    r"\d[\d.:,/T-]{0,30} ?(?:ms|s|sec|secs|min|h|it/s|s/it|GB|MB|%|tokens/s|samples/s)?(?![A-Za-z])|n/a|None"
    r"|\b(?:INFO|DEBUG|WARNING|time|eta|iter time|remaining time|nan|inf)\b"
)
#: A number with a unit or with commas, which is no pair: `memory: 40.01GiB(42.1%)`, `tps: 3,456`.
MEASURED = re.compile(rf"{_WORD}(?: {_WORD}){{0,2}}[ \t]{{0,4}}[:=][ \t]{{0,12}}[-+]?\d[\d.,:]{{0,30}} ?[A-Za-z/%]{{0,10}}")
#: Between commas, a few words and a number, as mlx prints its speed: no prose either.
ITEM = re.compile(
    r"(?<![^,;|])[ ]{0,4}[A-Za-z][A-Za-z/_ ]{0,30} (?:[\d.]{1,20}(?:e[-+]?\d{1,4})?|nan|inf) ?[A-Za-z/%]{0,8}[ ]{0,4}(?=[,;|]|$)"
)
#: `200/ 2983 batches`, where others put the name first.
BATCHES = re.compile(r"(\d{1,12})[ ]?/[ ]{0,6}(\d{1,12}) batches")
#: A step without a name, at the start of the line: `10 | loss 2.31`, `[10 | 12.34] loss=2.31`; or behind `Train loss`.
LEADING = re.compile(r"^\[?(\d{1,12}) ?\| ")
BEHIND = re.compile(r"\b((?:train(?:ing)?|val(?:idation)?) loss) (\d{1,12}):? {1,12}(?=\d{1,9}\.\d|nan\b)", re.I)
_PLACE = re.compile(
    r"^(?:train(?:ing)?|current|cur|completed|finished|(?:\w{1,30}_)?(?:after|at)|(val(?:id(?:at(?:ion|e))?)?|eval))_"
    r"(?=(?:epoch|step|iter|iteration)$)"
)
#: What is called so beside a loss only.
RENAMED = {"norm": "grad_norm"}
DEVICE = re.compile(r", (?:device|dtype|grad_fn|requires_grad)=[^,)\r\n]{1,60}")
DECIMALS = re.compile(r"\.\d{0,40}$")
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
    share: float | None  # of the epoch, where no batches are counted


class Line(NamedTuple):
    """A line with a loss, and where it begins in the text."""

    start: int
    pairs: Pairs


def lines(text: str, most: int | None = None) -> Iterator[Line]:
    """The lines in which a loss has a number; `most` is how many with that word are looked at."""
    end = tried = 0
    before = ""
    for word in WORD.finditer(text):
        if word.start() < end:
            continue
        begin = max(text.rfind("\n", end, word.start()), text.rfind("\r", end, word.start()), end - 1) + 1
        line = rest(text, begin)
        end = end_of_line(text, begin)
        tried += 1
        line = line.strip()
        if end == len(text) and line:
            line = _whole(line, before)
        before = line
        if pairs := parse(line):
            yield Line(begin, pairs)
        if tried == most:
            return


def _whole(line: str, before: str) -> str:
    """The last line without its last pair, where that was cut within its number, as the line before tells.

    There, more stands behind the pair of this name; or it ends the line as well, with more digits behind its point.
    """
    last = next(reversed(list(PAIR.finditer(line))), None)
    if last is None or last.end() != len(line):
        return line
    same = [pair for pair in PAIR.finditer(before) if (pair[1] or pair[2]) == (last[1] or last[2])]
    if not same:
        return line
    now, then = (DECIMALS.search(pair[0]) for pair in (last, same[-1]))
    cut = same[-1].end() < len(before) or (now is not None and then is not None and len(now[0]) < len(then[0]))
    return line[: last.start()] if cut else line


def parse(line: str) -> Pairs | None:
    """The pairs in a line with a loss; None for any other line, for progress bars, and for prose that has a loss in it."""
    if (
        len(line) > LONGEST or "%|" in line or " iter time (s): " in line
    ):  # bars, and the pipeline of DeepSpeed, have readers of their own
        return None
    line, share = _batches(DEVICE.sub("", line) if "tensor(" in line else line)
    found, beside = _found(line)
    if "loss_train" in found and "val" in found:  # litgpt: loss train: 1.234, val: 1.567
        found["val_loss"] = found.pop("val")
    values = {known: value for name, (value, _) in found.items() if (known := _column(name))}
    if not values.keys() & {"loss", "eval_loss"}:
        return None
    losses = ("loss",) if "loss" in values else ("loss", "eval_loss")  # an evaluation may come and go
    shape = _shared(tuple(name for name in found if name in (*STEPS, *EPOCHS) or _column(name) in losses))
    unit = next((name for name in STEPS if name in found), "")
    step, steps = found.get(unit, (None, None))
    epoch, epochs = next((found[name] for name in EPOCHS if name in found and isfinite(found[name][0])), (None, None))
    words = LETTERS.findall(NOISE.sub(" ", ITEM.sub(" ", MEASURED.sub(" ", " ".join(beside)))))
    placed = step is not None or epoch is not None
    if len(words) > (max(MOST_WORDS, len(found)) if placed else MOST_WORDS):  # many pairs are no prose
        return None
    whole = step is not None and 0 <= step < 2**53 and step == int(step)
    return Pairs(int(step) if whole and step is not None else None, epoch, steps, epochs, values, shape, unit, share)


def _batches(line: str) -> tuple[str, float | None]:
    """The line with its batches as a pair, where they are told in another way; else with the share of the epoch that is done."""
    line = BATCHES.sub(r"batch \1/\2", line) if " batches" in line else line
    if line[:1].isdigit() or line[:1] == "[":
        line = LEADING.sub(r"step \1 | ", KERAS.sub(r"batch \1/\2 ", line))
    line = BEHIND.sub(r"step \2 \1 ", line)
    told = BRACKETS.search(line) if "[" in line else None
    if told is None:
        return line, None
    done, total = int(told[4]), int(told[5])
    epoch = f"epoch {told[1] or told[3]}" + (f"/{told[2]}" if told[2] else "")
    batch = "" if told[6] else f" batch {done}/{total}"
    return f"{line[: told.start()]}{epoch}{batch} {line[told.end() :]}", done / max(total, 1) if told[6] else None


def _found(line: str) -> tuple[dict[str, tuple[float, int | None]], list[str]]:
    """Name → number and what it is of, the names of an evaluation with "val_" before them; and what stands between the pairs."""
    found: dict[str, tuple[float, int | None]] = {}
    beside: list[str] = []
    end, part = 0, ""
    for pair in PAIR.finditer(line):
        between = line[end : pair.start()]
        for label in PART.finditer(between) if between else ():
            if not beside or label[3]:
                part = "" if label[1] else "val_" if label[2] else "test_"
        beside.append(between)
        end = pair.end()
        name = "_".join((pair[1] or pair[2]).lower().split())
        if place := _PLACE.match(name):
            name, part = name[place.end() :], "val_" if place[1] else part
        if part and name not in STEPS and name not in EPOCHS and not _column(name).startswith("eval_"):
            name = part + name
        found.setdefault(name, (float(pair[3] or pair[5]), int(pair[4]) if pair[4] else None))
    beside.append(line[end:])
    return found, beside


@lru_cache(maxsize=1024)
def _shared(shape: tuple[str, ...]) -> tuple[str, ...]:
    """The same shape as one object: a huge log has a million lines of it."""
    return shape


@lru_cache(maxsize=1024)
def _column(name: str) -> str:
    """The Trainer's name; "" for what is no measurement of the training."""
    words = [word for word in re.split(r"[_./ -]+", name) if word]
    if name in (*STEPS, *EPOCHS) or name in NO_MEASURE or PACE.search(name) or ELSEWHERE & set(words) or words[-1:] == ["py"]:
        return ""
    if name in RENAMED:
        return RENAMED[name]
    rest = [word for word in words if word not in TRAINING and word not in EVALUATING]
    evaluated = bool(EVALUATING & set(words))
    if "loss" in rest and set(rest) <= MEANS | {"loss"}:
        return "eval_loss" if evaluated else "loss"
    known = column(name)
    return f"eval_{'_'.join(rest)}" if evaluated and rest and not known.startswith("eval_") else known
