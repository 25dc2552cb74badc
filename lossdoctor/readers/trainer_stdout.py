"""What a Trainer printed, versions 4 and 5: its rows as Python dictionaries among progress bars, warnings and tracebacks."""

from __future__ import annotations

import re
import sys
from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from itertools import islice
from typing import Any

from lossdoctor.language import plural, say
from lossdoctor.model import Fact, Log
from lossdoctor.parsing import deepspeed_lines, stated
from lossdoctor.parsing.printed_lines import last_runs, log, which, with_numbers
from lossdoctor.parsing.printed_steps import Bar, Printed, number_steps
from lossdoctor.parsing.rows import emptied, number
from lossdoctor.parsing.source import Source
from lossdoctor.readers import notebook_table

KIND = "trainer_stdout"
#: A flat dictionary in single quotes, on one line, or on several where a terminal has wrapped it; a configuration that somebody
#: printed is longer, or nested.
ROW = re.compile(r"\{(?:\x1b\[[0-9;]{0,20}m){0,4}'[^{}\r\n]{1,4000}(?:\n(?! {0,4}\d{1,3}%\|)[^{}\r\n]{1,400}){0,8}\}")
PAIR = re.compile(r"'([^'\n]{1,200})':\s{0,8}('[^']{0,200}'|[^,}']{1,200})")
#: `np.float64(0.5)` and `tensor(0.5)`, as metrics are printed that were never made plain numbers.
WRAPPED = re.compile(r"(?:np\.|numpy\.|torch\.)?(?:float\d+|int\d+|tensor)\((.*)")
#: A bar of tqdm with a total; one with a description (`Map: `, `Loading weights: `) is not the Trainer's.
BAR = re.compile(r"(: {1,3})?\d{1,3}%\|[^|\r\n]{0,500}\|\s{0,4}(\d{1,15})/(\d{1,15}) \[")
NEW_LINE = re.compile(r"[\r\n]")
COLOURS = re.compile(r"\x1b\[[0-9;]{0,20}m")
#: What moves up again after a bar that stands below another: the one of an evaluation.
BELOW = "\x1b[A"
TELLING = ("loss", "grad_norm", "reward", "train_loss", "train_runtime", "eval_runtime")
#: What TRL's PPO calls the columns that its other trainers have.
PPO = "loss/policy_avg"
POLICY = {PPO: "loss", "objective/scores": "reward", "objective/kl": "kl", "policy/entropy_avg": "entropy", "lr": "learning_rate"}
#: The bars looked at after a row, before the next: that of training is among the first.
BARS = 4
#: Before a row that LLaMA-Factory prints for the second time, with fewer digits and no gradient norm.
AGAIN = re.compile(r"callbacks:\d{1,6} >> $")
#: A row that begins and never ends: its line was torn apart, or the training was just writing it.
BEGUN = re.compile(r"\{'(?:eval_)?(?:loss|grad_norm)': ")


def recognise(source: Source) -> bool:
    """At least one row of a Trainer is in the text, and the text is not JSON, nor a table with a summary below it."""
    text = source.text.lstrip()
    return (text[:1] != "{" or text[:2] == "{'") and next(_rows(text), None) is not None and not notebook_table.recognise(source)


def read(source: Source) -> list[Log]:
    """Every run in the text: one whose epochs begin anew after the summary of another.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    text = source.take()
    again = _again(text)
    runs, fewer = last_runs(_runs(_rows(text, again)))
    torn = sum(1 for row in BEGUN.finditer(text) if row.start() not in again) - sum(row.whole for run in runs for row in run)
    beside = list(_beside(text, runs))
    others = deepspeed_lines.by_others(text)
    del text  # before there are records beside the rows
    found: list[Log] = []
    several = len(runs)
    for place, (printed, (said, overflowed, notes)) in enumerate(zip(emptied(runs), beside, strict=True), 1):
        if torn > 0 and place == several:
            notes.append(
                plural(
                    "{torn} row printed only in part was left out",
                    "{torn} rows printed only in part were left out",
                    torn,
                    torn=torn,
                )
            )
        notes += fewer
        found += _log(_scaled(printed, overflowed), _in_fp16(said, others) if overflowed else said, notes, which(place, several))
    return with_numbers(found, source.name)


def _beside(
    text: str, runs: Sequence[Sequence[Printed]]
) -> Iterator[tuple[dict[str, Fact], list[deepspeed_lines.Overflow], list[str]]]:
    """What else the text says of each run: its settings, the overflows that DeepSpeed counted, and notes."""
    places = [(run[0].start, run[-1].start) for run in runs]
    skipped = deepspeed_lines.overflows(text)
    starts = [one.start for one in skipped]
    begin = 0
    for place, ((_, last), known) in enumerate(zip(places, stated.of_runs(text, places), strict=True), 1):
        end = last if place < len(runs) else len(text)
        notes = [say(deepspeed_lines.EXHAUSTED_NOTE)] if text.find(deepspeed_lines.EXHAUSTED, begin, end) >= 0 else []
        yield known, skipped[bisect_left(starts, begin) : bisect_left(starts, end)], notes
        begin = last


def _runs(rows: Iterator[Printed]) -> list[list[Printed]]:
    runs: list[list[Printed]] = []
    ended: float | None = None  # the epoch in which the run has ended, by its summary
    for row in rows:
        if not runs:
            runs.append([])
        epoch = number(row.values.get("epoch")) or 0.0
        if ended is not None and "loss" in row.values:
            if epoch < ended:
                runs.append([])
            ended = None
        if "train_runtime" in row.values:
            ended = epoch
        runs[-1].append(row)
    return [run for run in runs if run]


def _again(text: str) -> set[int]:
    """Where the rows begin that LLaMA-Factory printed again; nothing where there are no others."""
    if "callbacks:" not in text:
        return set()
    starts = [row.start() for row in BEGUN.finditer(text)]
    again = {start for start in starts if AGAIN.search(text, max(0, start - 100), start)}
    return again if len(again) < len(starts) else set()


def _scaled(printed: list[Printed], overflowed: list[deepspeed_lines.Overflow]) -> list[Printed]:
    """The rows with what DeepSpeed's lines between them say of the loss scale and of skipped steps."""
    if not overflowed:
        return printed
    values = deepspeed_lines.beside([(row.start, row.values) for row in printed], overflowed)
    return [row._replace(values=scaled) for row, scaled in zip(printed, values, strict=True)]


def _in_fp16(said: dict[str, Fact], others: bool) -> dict[str, Fact]:
    """What is said, and that it is fp16; with DeepSpeed, unless apex printed these lines beside the rows of a Trainer."""
    return {"fp16": Fact(True, KIND), **({} if others else {"deepspeed": Fact(True, KIND)}), **said}


def _log(printed: list[Printed], said: dict[str, Fact], notes: list[str], title: str) -> list[Log]:
    """One run; nothing where no row has a number."""
    told = (said[name].value if name in said else None for name in ("max_steps", "num_train_epochs"))
    steps = number_steps(printed, *told)
    total = {"max_steps": Fact(steps.total, KIND)} if steps.total else {}
    return log(KIND, steps.rows, {**said, **total}, [*steps.notes, *notes], title)


def _rows(text: str, again: Container[int] = ()) -> Iterator[Printed]:
    """The rows, each with the bars near it, but for those that begin at the places `again`."""
    waiting: tuple[re.Match[str], dict[str, Any]] | None = None
    end = 0
    for match in ROW.finditer(text):
        if match.start() in again:
            continue
        values = _values(match[0])
        if not _told(values):
            continue
        if waiting is not None:
            yield _printed(text, *waiting, end, match.start())
            end = waiting[0].end()
        waiting = match, values
    if waiting is not None:
        yield _printed(text, *waiting, end, len(text))


def _printed(text: str, match: re.Match[str], values: dict[str, Any], before: int, until: int) -> Printed:
    start = match.start()
    line = max(text.rfind("\n", before, start), text.rfind("\r", before, start), before)
    glued = list(_bars(text, max(line, start - 1000), start))[-1:] if text[start - 1 : start] == "]" else []
    after = tuple(islice(_bars(text, match.end(), until), BARS))
    return Printed(values, start, glued[0] if glued else None, after, BEGUN.match(match[0]) is not None)


def _bars(text: str, begin: int, end: int) -> Iterator[Bar]:
    """The bars that may be those of training: without a description, and not below another."""
    for bar in BAR.finditer(text, begin, end):
        tail = text[bar.end() : bar.end() + 200]
        if not bar[1] and BELOW not in NEW_LINE.split(tail, maxsplit=1)[0]:
            yield Bar(int(bar[2]), int(bar[3]))


def _values(row: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    row = COLOURS.sub("", row) if "\x1b" in row else row
    for name, value in PAIR.findall(row.replace("\n", "") if "\n" in row else row):
        plain = value.strip().strip("'")
        if wrapped := WRAPPED.match(plain):
            plain = wrapped[1].rstrip(")")
        value = number(plain)
        values[sys.intern(name)] = plain if value is None else value  # a huge log has a million rows: their names are shared
    if PPO in values:
        values = {POLICY.get(name, name): value for name, value in values.items()}
    done, _, total = str(values.get("global_step/max_steps", "")).partition("/")
    if done.isdecimal() and total.isdecimal():  # ms-swift
        values |= {"step": done, "max_steps": total}
    return values


def _told(values: dict[str, Any]) -> bool:
    """Whether it is a row of a log: one of its columns tells so, and is a number."""
    told = (
        name for name in values if name in TELLING or name.endswith("_loss") or (name == "learning_rate" and "epoch" in values)
    )
    return any(number(values[name]) is not None for name in told)
