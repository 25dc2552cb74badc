"""What torchtune writes and prints: `Step 1 | loss:2.08 lr:2e-05 …`, or only its bar, `1|50|Loss: 2.08:`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lossdoctor.model import Log
from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.printed_lines import NUMBER, PAIR, Row, followed, logs, rest
from lossdoctor.parsing.source import Source

KIND = "torchtune"
STEP = re.compile(rf"\bStep (\d{{1,12}}) \| (?=[A-Za-z_][\w./@-]{{0,80}}:{NUMBER})")
#: The description of its bar: the epoch, the step, the loss; and the bar itself, whose total is the steps of an epoch.
FRAME = re.compile(
    rf"\b(\d{{1,6}})\|(\d{{1,12}})\|Loss: ({NUMBER})"
    r"(?::[ \t]{0,4}\d{1,3}%\|[^|\r\n]{0,500}\|\s{0,4}(\d{1,12})/(\d{1,12}) \[)?"
)
#: What measures the machine.
PACE = re.compile(r"per_second|memory|gpu_resources|time_per")


def recognise(source: Source) -> bool:
    """At least one of its rows is in the text, or a frame of its bar."""
    text = source.text
    return ("Step " in text and STEP.search(text) is not None) or ("|Loss: " in text and FRAME.search(text) is not None)


def read(source: Source) -> list[Log]:
    """Every run in the text; the bar is read only where no rows are, since it knows the loss alone.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    text = source.take()
    rows = list(_steps(text)) or list(_frames(text))
    return logs(KIND, source.name, text, rows)


def _steps(text: str) -> Iterator[Row]:
    for line, until in followed(STEP, text):
        pairs = PAIR.findall(rest(text, line.end(), until))
        values = {column(name): float(value) for name, value in pairs if not PACE.search(name)}
        if values:
            yield Row(line.start(), {"step": int(line[1]), **values})


def _frames(text: str) -> Iterator[Row]:
    """One row for each step: a bar is drawn several times, and old releases count its steps anew in each epoch."""
    waiting: Row | None = None
    before, epoch, last = 0, 0, 0
    for frame in FRAME.finditer(text):
        if int(frame[1]) > epoch and int(frame[2]) <= last:
            before += last
        elif int(frame[1]) < epoch:
            before = 0
        epoch, last = int(frame[1]), int(frame[2])
        values = {"step": before + last, "loss": float(frame[3])}
        if frame[5] and int(frame[5]) > 0:
            values["epoch"] = epoch - 1 + int(frame[4]) / int(frame[5])
        if waiting is not None and waiting.values["step"] != values["step"]:
            yield waiting
        waiting = Row(frame.start(), values)
    if waiting is not None:
        yield waiting
