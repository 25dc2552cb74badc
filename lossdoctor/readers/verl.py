"""What verl and its forks print of reinforcement learning and of tuning: `step:10 - actor/pg_loss:0.01 - actor/grad_norm:0.2`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from lossdoctor.facts.canonical import translate
from lossdoctor.model import Log
from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.printed_lines import NUMBER, Row, end_of_line, logs, rest
from lossdoctor.parsing.source import Source

KIND = "verl"
#: Whatever stands before it on the line: most often the process of Ray that printed it.
STEP = re.compile(r"\bstep:(\d{1,12}) - (?=[a-z][\w-]{0,40}/[^\s:]{1,200}:)")
PAIR = re.compile(rf"(?:^| - )([A-Za-z_][^\s:]{{0,200}}):(?:np\.\w{{1,12}}\()?({NUMBER})")
#: So many rows without a loss are looked at before a text is given up.
MOST_TRIED = 10_000
#: Where a row has both, `actor/loss` is what is minimised, of which `actor/pg_loss` is a part.
LOSSES = ("actor/loss", "actor/pg_loss", "train/loss")
#: What the Trainers of TRL call the same.
KNOWN = {
    "actor/grad_norm": "grad_norm",
    "actor/lr": "learning_rate",
    "actor/entropy": "entropy",
    "actor/entropy_loss": "entropy",
    "actor/kl_loss": "kl",
    "critic/rewards/mean": "reward",
    "response_length/mean": "completions/mean_length",
    "response_length/clip_ratio": "completions/clipped_ratio",
    "training/epoch": "epoch",
}
#: The rate of its tuning is printed in thousandths.
THOUSANDTHS = "train/lr(1e-3)"
#: What measures the machine and the prompts.
PACE = re.compile(r"^(?:timing|perf|mfu|global_seqlen|prompt_length|training)|/perf/|time\(s\)|/(?:min|max)$")
#: A release that prints three decimals: nothing is known of a number so small.
TOO_SMALL = re.compile(r"-?0\.000")
BAR = re.compile(r"Training Progress: {1,4}\d{1,3}%\|[^|\r\n]{0,500}\|\s{0,4}\d{1,12}/(\d{1,12}) \[")


def recognise(source: Source) -> bool:
    """At least one row with a loss is in the text."""
    text = source.text
    return "step:" in text and any("loss" in row.values for row in islice(_rows(text), MOST_TRIED))


def read(source: Source) -> list[Log]:
    """Every run in the text; the total of its bar is that of the steps.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    text = source.take()
    totals = [int(bar[1]) for bar in BAR.finditer(text)] if "Training Progress" in text else []
    return logs(KIND, source.name, text, _rows(text), translate({"max_steps": totals[-1] if totals else None}, KIND))


def _rows(text: str) -> Iterator[Row]:
    """The rows, one for each line: what follows on it is looked at once."""
    line = STEP.search(text)
    while line is not None:
        if values := _values(rest(text, line.end())):
            yield Row(line.start(), {"step": int(line[1]), **values})
        line = STEP.search(text, end_of_line(text, line.end()))


def _values(line: str) -> dict[str, Any]:
    """What was measured, under the names of TRL; an evaluation is `val-core/…`, `val-aux/…` or `val/…`."""
    told = {name: value for name, value in PAIR.findall(line) if not PACE.search(name) or name in KNOWN}
    loss = next((name for name in LOSSES if name in told), None)
    row: dict[str, Any] = {} if loss is None else {"loss": float(told.pop(loss))}
    for name, value in told.items():
        known = KNOWN.get(name, name)
        if name == THOUSANDTHS:
            row["learning_rate"] = float(value) * 1e-3
        elif known in ("learning_rate", "grad_norm") and TOO_SMALL.fullmatch(value):
            continue
        elif name.startswith(("val-core/", "val-aux/")):
            row["eval_" + name.partition("/")[2]] = float(value)
        else:
            row[known if known != name else column(name)] = float(value)
    return row
