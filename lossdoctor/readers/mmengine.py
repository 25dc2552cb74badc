"""What mmengine writes, and with it xtuner and other projects of OpenMMLab: its text, and its scalars as JSON lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from lossdoctor.facts.canonical import translate
from lossdoctor.model import Log
from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.printed_lines import NUMBER, PAIR, Row, followed, last_runs, log, logs, rest, runs, which, with_numbers
from lossdoctor.parsing.rows import number
from lossdoctor.parsing.source import Source
from lossdoctor.readers import json_lines

KIND = "mmengine"
#: `Epoch(train) [1][240/735]`, `Iter(train) [ 10/1000]`, `Epoch(val) [1][100/100]`; mmcv had no mode, and no blank.
LINE = re.compile(r"\b(Epoch|Iter) ?(?:\((train|val)\))? {0,8}\[ {0,8}(\d{1,9})(?:\]\[ {0,8}(\d{1,9}))?/(\d{1,12})\](?=[ \t,])")
#: Settings in the dump of the configuration that stands before, and what the Trainer calls them.
SETTINGS = {
    "max_epochs": "num_train_epochs",
    "accumulative_counts": "gradient_accumulation_steps",
    "batch_size": "per_device_train_batch_size",
    "lr": "learning_rate",
    "max_norm": "max_grad_norm",
    "weight_decay": "weight_decay",
    "max_length": "max_length",
}
SETTING = re.compile(rf"(?:^|\b(?=max_epochs=|max_norm=))({'|'.join(SETTINGS)}) ?= ?({NUMBER})", re.M)
#: So many lines that look like its own are looked at before a text is given up.
MOST_TRIED = 10_000
#: What measures the machine.
PACE = frozenset({"time", "data_time", "memory", "tokens_per_sec", "eta"})


def recognise(source: Source) -> bool:
    """A line of its text, or a first line of its JSON."""
    text = source.text
    if json_lines.layout(source) == KIND:
        return True
    return ("Epoch" in text or "Iter" in text) and any(
        _measured(text, *line) for line in islice(followed(LINE, text), MOST_TRIED)
    )


def read(source: Source) -> list[Log]:
    """Every run in it.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    if json_lines.layout(source) == KIND:
        return _of_json(source)
    text = source.take()
    totals = [int(line[5]) for line in LINE.finditer(text) if line[1] == "Iter" and line[2] != "val"]
    first = next((line.start() for line in LINE.finditer(text)), 0)
    told = {SETTINGS[setting[1]]: setting[2] for setting in SETTING.finditer(text, 0, first)}
    return logs(KIND, source.name, text, _rows(text), translate({**told, "max_steps": totals[-1] if totals else None}, KIND))


def _measured(text: str, line: re.Match[str], until: int) -> dict[str, float]:
    """The numbers of a line; without a mode it must be that of mmcv, and not of any program that counts epochs."""
    shown = rest(text, line.end(), until)
    pairs = PAIR.findall(shown) if line[2] or "data_time" in shown else []
    return {column(name): float(value) for name, value in pairs if name not in PACE}


def _rows(text: str) -> Iterator[Row]:
    last = 0
    for line, until in followed(LINE, text):
        values: dict[str, Any] = _measured(text, line, until)
        if not values:
            continue
        done, total = int(line[4] or line[3]), int(line[5])
        if line[2] == "val":
            yield Row(line.start(), {"step": last, **_evaluated(values)})
            continue
        if line[4]:
            last = (int(line[3]) - 1) * total + done
            values["epoch"] = int(line[3]) - 1 + done / max(total, 1)
        elif line[1] == "Iter":
            last = done
        else:
            continue
        yield Row(line.start(), {"step": last, **_trained(values)})


def _trained(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in ("base_lr", *PACE)}


def _evaluated(values: Mapping[str, Any]) -> dict[str, Any]:
    """Measured in an evaluation, whatever it is called."""
    plain = {name: value for name, value in values.items() if name not in PACE and name not in ("step", "iter", "epoch")}
    return {name if name.startswith("eval_") else f"eval_{name}": value for name, value in plain.items()}


def _of_json(source: Source) -> list[Log]:
    """Its scalars: rows of an evaluation have no iteration, and their step may be the epoch."""
    lines = json_lines.Lines(source.take())
    several, fewer = last_runs(runs(Row(place, row) for place, row in enumerate(_scalars(lines))))
    found: list[Log] = []
    for place, run in enumerate(several, 1):
        values = (row.values for row in run)
        found += log(KIND, values, {}, (*lines.notes(), *fewer), which(place, len(several)))
    return [replace(one, run=replace(one.run, kind=KIND)) for one in with_numbers(found, source.name)]


def _scalars(lines: json_lines.Lines) -> Iterator[dict[str, Any]]:
    last = 0
    for row in lines:
        step = number(row.get("iter", row.get("step")))
        if "iter" in row and step is not None and 0 <= step < 2**53:
            last = int(step)
            yield {
                "step": last,
                **_trained({name: value for name, value in row.items() if name not in ("iter", "step", "epoch")}),
            }
        else:
            yield {"step": last, **_evaluated(row)}
