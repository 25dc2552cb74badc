"""From the rows of a CSV to those of its runs: where one begins, steps that begin anew in each epoch, and losses in parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from lossdoctor.language import later
from lossdoctor.parsing.cells import position
from lossdoctor.parsing.printed_lines import Row, runs

Values = Mapping[str, float]
COUNTED_ON = later("the steps begin anew in each epoch: they are counted on")


def several(rows: Sequence[Values]) -> tuple[list[Sequence[Values]], bool]:
    """The rows of each run, and whether steps that begin anew in each epoch were counted on."""
    parts = _by_epoch(rows)
    if not any("step" in row for row in rows):
        return parts, False
    counted = [on for part in parts if (on := _counted_on(part)) is not None]
    if len(counted) == len(parts):
        return [*counted], True
    return [[row.values for row in run] for run in runs(Row(place, row) for place, row in enumerate(rows))], False


def joined(rows: Iterable[Mapping[str, float]]) -> list[Values]:
    """One row for all that was measured at the same step and epoch, by position; what was measured again is a row of its own."""
    found: dict[tuple[float, int], dict[str, float]] = {}
    for row in rows:
        at = position(dict(row))
        place, again = -1.0 if at is None else at, 0
        while (before := found.get((place, again))) is not None and before.keys() & row.keys() - {"step", "epoch"}:
            again += 1
        found.setdefault((place, again), {}).update(row)
    return [found[place] for place in sorted(found, key=lambda place: (place[1], place[0]))]


def totals(header: Sequence[str], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Of which columns a total is the sum: `train/box_loss` and `train/cls_loss` where there is no loss as such."""
    trained = (name for name, cell in zip(names, header, strict=False) if cell.strip().lower().startswith(("train/", "train_")))
    parts = tuple(name for name in trained if name.endswith("_loss"))
    if len(parts) < 2 or {"loss", "train_loss"} & set(names):
        return {}
    plain = tuple(name.removeprefix("train_") for name in parts)
    evaluated = tuple(name for part in plain if (name := f"eval_{part}") in names)
    return {"loss": parts} | ({"eval_loss": evaluated} if len(evaluated) == len(parts) and "eval_loss" not in names else {})


def with_totals(row: dict[str, float], parts: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The row with the sums whose parts are all there."""
    return row | {name: sum(row[part] for part in of) for name, of in parts.items() if all(part in row for part in of)}


def _by_epoch(rows: Sequence[Values]) -> list[Sequence[Values]]:
    """The rows, split where the epoch is back at the first one: there another run begins."""
    found: list[list[Values]] = [[]]
    first = last = None
    for row in rows:
        epoch = row.get("epoch")
        if epoch is not None and first is not None and last is not None and epoch < last and epoch <= first:
            found.append([])
            first = None
        if epoch is not None:
            first, last = epoch if first is None else first, epoch
        found[-1].append(row)
    return [*found]


def _counted_on(rows: Sequence[Values]) -> list[Values] | None:
    """The rows of a run with steps that go on where they begin anew in each epoch; None where they do not."""
    if not all("step" in row and "epoch" in row for row in rows):
        return None
    anew = [late["epoch"] > early["epoch"] for early, late in pairwise(rows)]
    if not any(anew) or anew != [late["step"] < early["step"] for early, late in pairwise(rows)]:
        return None
    before, found = 0.0, [rows[0]]
    between = max(rows[1]["step"] - rows[0]["step"], 1.0) if rows[0]["step"] == 0 else 0.0
    for (early, late), begins in zip(pairwise(rows), anew, strict=True):
        before += early["step"] + between if begins else 0
        found.append({**late, "step": late["step"] + before})
    return found
