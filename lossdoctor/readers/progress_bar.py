"""Rows that stand only beside a progress bar of tqdm: `35%|███ | 525/1500 [02:14<04:09, 3.91it/s, avr_loss=0.123]`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import NamedTuple

from lossdoctor.facts.canonical import translate
from lossdoctor.language import later, say
from lossdoctor.model import Log
from lossdoctor.parsing import deepspeed_lines
from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.printed_lines import COLOURS, NUMBER, PAIR, Row, changed, logs
from lossdoctor.parsing.printed_pairs import lines
from lossdoctor.parsing.source import Source
from lossdoctor.readers import mmengine, torchtune, trainer_stdout

KIND = "progress_bar"
#: One frame: how far of how many, and what stands behind the pace. Its description stands before, on the same line.
FRAME = re.compile(
    r"\d{1,3}%\|[^|\r\n]{0,500}\|\s{0,4}(\d{1,12})/(\d{1,12}) \[[^\],\r\n]{0,60},[^\],\r\n]{0,40}(?:, ([^\r\n\]]{0,2000}))?(\]?)"
)
#: So many bars are looked at before a text is given up.
MOST_TRIED = 10_000
#: A longer description is none.
DESCRIPTION = 200
LOSS = re.compile(rf"loss[\w/@]{{0,40}}(?:[:=] {{0,2}}|=tensor\()({NUMBER})", re.I)
#: In a description, with nothing between: `Iter 10 Loss 2.31:  1%|`.
BARE = re.compile(rf"(?<![\w./-])(loss|lr|acc) {{1,4}}(?={NUMBER})", re.I)
TENSOR = re.compile(rf"tensor\(({NUMBER})[^)\r\n]{{0,60}}\)?")
#: Bars over other data than those that are learned from.
OTHER = re.compile(r"\b(?:val|valid|validat\w*|eval\w*|test\w*|dev|infer\w*|predict\w*|sampl\w*|generat\w*|sanity)\b", re.I)
EPOCH = re.compile(r"\bepochs?[ :=]{0,3}\[?(\d{1,6})(?:/(\d{1,6}))?", re.I)
#: What Lightning and others call the loss of a step; the first that is there counts.
LOSSES = (
    "loss",
    "train_loss_step",
    "loss_step",
    "train_loss",
    "reduced_train_loss",
    "step_loss",
    "gpt_loss",
    "policy_loss",
    "avg_loss",
    "average_loss",
    "running_loss",
)
#: A loss of which the bar says that it is the mean of all steps so far.
AVERAGED = re.compile(r"\b(?:avr|avg|average|running)_loss(?==)")
AVERAGE = later("the loss is a running average ({name}): it hides spikes and noise, and one NaN in it stays for good")
ANEW = later("steps are those of the progress bar; it begins anew in each epoch, and they are counted on")


class Frame(NamedTuple):
    """A bar as it was drawn once: where, its epoch and of how many, how far, of how many, and the numbers beside it."""

    start: int
    epoch: int | None
    epochs: int | None
    done: int
    total: int
    values: dict[str, float]


def recognise(source: Source) -> bool:
    """A bar has a loss beside it, and no rows of another program stand between the bars."""
    text = source.text
    if not ("%|" in text and any(word in text for word in ("loss", "Loss"))):
        return False
    if next(_frames(text, MOST_TRIED), None) is None:
        return False
    return not any(other.recognise(source) for other in (trainer_stdout, torchtune, mmengine))


def read(source: Source) -> list[Log]:
    """Every run in the text, one row for each step: that of the last time the bar was drawn.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    text = source.take()
    counter = _Counter()
    drawn = changed(_last_of_each(counter.rows(_frames(text))))
    rows = list(merge(drawn, _evaluations(text), key=lambda row: row.start))
    averaged = AVERAGED.search(text)
    notes = [say(ANEW)] * counter.anew + ([say(AVERAGE, name=averaged[0])] if averaged else [])
    known = translate({"max_steps": counter.total, "num_train_epochs": counter.epochs or None}, KIND)
    scaled, told = deepspeed_lines.scaled(text, rows)
    return logs(KIND, source.name, text, scaled, {**known, **told}, notes)


def _evaluations(text: str) -> Iterator[Row]:
    """What is printed between the bars of an evaluation: it belongs to the last step before it."""
    for line in lines(text):
        values = {name: value for name, value in line.pairs.values.items() if name.startswith("eval_")}
        if "eval_loss" in values:
            yield Row(line.start, values)


def _frames(text: str, most: int | None = None) -> Iterator[Frame]:
    """The bars of training with a number for the loss, among the first `most` or all."""
    end = 0
    for bar in islice(FRAME.finditer(text), most):
        described = _described(text, end, bar.start())
        end = bar.end()
        beside = bar[3] or ""
        if not bar[4]:  # a narrow terminal has cut it off, maybe within a number
            beside = beside.rpartition(",")[0]
        shown = BARE.sub(r"\1: ", f"{described} {beside}")
        if "loss" not in shown.lower() or OTHER.search(described) or not LOSS.search(shown):
            continue
        if values := _measured(shown):
            epoch = EPOCH.search(described)
            of = int(epoch[2]) if epoch and epoch[2] else None
            yield Frame(bar.start(), int(epoch[1]) if epoch else None, of, int(bar[1]), int(bar[2]), values)


def _described(text: str, begin: int, end: int) -> str:
    """What stands before a bar on its line."""
    begin = max(begin, end - DESCRIPTION)
    begin = max(begin, text.rfind("\n", begin, end) + 1, text.rfind("\r", begin, end) + 1)
    return COLOURS.sub("", text[begin:end])


def _measured(shown: str) -> dict[str, float]:
    """The numbers beside a bar, also those that are still tensors."""
    pairs = PAIR.findall(TENSOR.sub(lambda tensor: tensor[1], shown))
    values = {column(name): float(value) for name, value in pairs if name not in ("v_num", "epoch", "step")}
    loss = next((values[name] for name in LOSSES if name in values), None)
    rest = {name: value for name, value in values.items() if name not in LOSSES}
    return rest if loss is None else {"loss": loss, **rest}


class _Counter:
    """The steps of bars that may begin anew; `total` is known once all are counted."""

    def __init__(self) -> None:
        self.anew = self.through = False  # in each epoch; or through several epochs, as one bar
        self.total = self.epochs = 0

    def rows(self, frames: Iterator[Frame]) -> Iterator[Row]:
        before = 0
        last: Frame | None = None
        for frame in frames:
            if last is not None and frame.epoch is not None and frame.epoch < (last.epoch or 0):
                before = 0  # another run
            elif last is not None:
                later = (frame.epoch or 0) > (last.epoch or 0)
                if frame.done < last.done or (later and frame.done == last.done):
                    self.anew = True
                    before += last.done
                self.through |= later
            last = frame
            self.epochs = frame.epochs or self.epochs
            if frame.done:
                yield Row(frame.start, {"step": before + frame.done, **frame.values})
        if last is not None:
            whole = not self.anew and (self.through or not self.epochs)
            self.total = last.total if whole else last.total * self.epochs


def _last_of_each(rows: Iterator[Row]) -> Iterator[Row]:
    waiting: Row | None = None
    for row in rows:
        if waiting is not None and waiting.values["step"] != row.values["step"]:
            yield waiting
        waiting = row
    if waiting is not None:
        yield waiting
