"""The folder that DVCLive writes: a table for each metric in `plots/metrics`, joined by its step, which counts the log calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from lossdoctor.facts.files import mapping
from lossdoctor.language import say
from lossdoctor.model import Log, LossDoctorError, NotALog
from lossdoctor.parsing.below import files
from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.rows import number
from lossdoctor.parsing.source import LARGEST, Source
from lossdoctor.parsing.tracked import OF_THE_MACHINE, Kept, logs, settings, with_steps
from lossdoctor.stats import median

KIND = "dvclive"
METRICS, PARAMS, TABLE = Path("plots", "metrics"), "params.yaml", ".tsv"
#: So many entries are looked at to tell what a folder is, and so many files are read; names have so many parts.
LOOKED_AT, MOST, DEEPEST = 50, 5_000, 5
#: Rows of training that tell the steps in an epoch, how far two of them may be from the usual distance, and how many are nearer.
ENOUGH, NEAR, USUAL = 3, 0.2, 0.9
#: More steps, or epochs, are numbers that nobody counted.
MOST_STEPS = 1e12


def recognise(source: Source) -> bool:
    """A folder with a table of steps in `plots/metrics`, or one level below it."""
    if source.folder is None or not (source.folder / METRICS).is_dir():
        return False
    return any(_has_steps(path) for path in islice(_tables(source.folder, LOOKED_AT, 2).values(), 5))


def _tables(folder: Path, most: int, depth: int) -> dict[str, Path]:
    found = islice(files(folder / METRICS, most, depth), most)
    return {name[: -len(TABLE)]: path for name, path in found if name.endswith(TABLE)}


def _has_steps(path: Path) -> bool:
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as lines:
        return "step" in lines.readline(1000).split()[:2]
    return False


def read(source: Source) -> list[Log]:
    """One run.

    Raises:
        LossDoctorError: a table is too large, or cannot be read.
        NothingToAnalyse: there is not one number in the tables.
    """
    assert source.folder is not None
    tables = _tables(source.folder, MOST, DEEPEST)
    of_trainer = "train/runtime" in tables  # its callback has a slash where the names of the summary have train_
    joined: dict[tuple[int, int], dict[str, Any]] = {}
    for name, path in tables.items():
        called = name.replace("train/", "train_", 1) if of_trainer else name
        for place, value in _values(path) if not name.startswith(OF_THE_MACHINE) else ():
            joined.setdefault(place, {})[column(called)] = value
    rows = [joined[place] | {"_step": place[0]} for place in sorted(joined)]
    params = _params(source.folder / PARAMS)
    told = _tell_steps(rows, params)
    stepped, notes = with_steps(rows, "DVCLive")
    return logs(KIND, source.name, [Kept("", "", settings(params, f"dvclive ({PARAMS})"), stepped, (*told, *notes))])


def _values(path: Path) -> Iterator[tuple[tuple[int, int], float]]:
    """The values of one metric, each with its step, and how often there was a value at that step before."""
    if path.stat().st_size > LARGEST:
        raise NotALog(f"{path} has more than {LARGEST / 2**20:,.0f} MiB; the values of one metric were expected")
    with path.open(encoding="utf-8", errors="replace") as lines:
        names = lines.readline(1000).split("\t")
        place = names.index("step") if "step" in names else 0
        seen: Counter[int] = Counter()
        for line in lines:
            cells = line[:1000].split("\t")
            if len(cells) != len(names) or line[-1:] != "\n":  # a last line without its end is being written
                continue
            step, value = number(cells[place]), number(cells[-1])
            if step is not None and value is not None and abs(step) < 2**53:
                yield (int(step), seen[int(step)]), value
                seen[int(step)] += 1


def _params(path: Path) -> dict[str, Any]:
    with suppress(LossDoctorError, OSError):
        if not path.is_symlink():
            return mapping(path)
    return {}


def _tell_steps(rows: list[dict[str, Any]], params: Mapping[str, Any]) -> tuple[str, ...]:
    """Gives the rows of a Trainer its own steps: its rows of training are a known number of steps apart, and have epochs."""
    each = number(params.get("logging_steps"))
    trained = [row for row in rows if "loss" in row]
    if (
        any("step" in row for row in rows)
        or not each
        or not 1 <= each < MOST_STEPS
        or params.get("logging_strategy", "steps") != "steps"
    ):
        return ()
    epochs = [row["epoch"] for row in trained if "epoch" in row]
    if not all(0 <= row.get("epoch", 0) < MOST_STEPS for row in rows):
        return ()
    apart = [late - early for early, late in pairwise(epochs)]
    usual = median(apart) if len(epochs) == len(trained) >= ENOUGH else 0.0
    if not usual > 0 or sum(abs(one - usual) <= NEAR * usual for one in apart) < USUAL * len(apart):
        return ()
    before = round(epochs[0] / usual) - 1  # 0, less with logging_first_step, more after a resume
    last, at = 0, 0.0
    for row in rows:
        epoch = row.get("epoch", at)
        if "loss" in row:
            before += 1
            last, at = max(1, int(before * each)), epoch
        row["step"] = last + min(max(round((epoch - at) / usual * each), 0), int(each) - 1)
    return (say("DVCLive counts log calls: the steps are told from logging_steps = {each:g} and the epochs", each=each),)
