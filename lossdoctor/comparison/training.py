"""What two training losses say beside each other."""

from __future__ import annotations

from dataclasses import replace

from lossdoctor.comparison import telling
from lossdoctor.comparison.alignment import Beside, beside
from lossdoctor.comparison.axes import Axis
from lossdoctor.comparison.beginning import agreeing_digits, same_rows
from lossdoctor.comparison.broken import broke
from lossdoctor.comparison.ends import LEAST_ROWS, WORTH_IN_ORDER, end_of, own_ends
from lossdoctor.comparison.evaluation import unjudged
from lossdoctor.comparison.fluctuations import together
from lossdoctor.comparison.lengths import breaks, further, own
from lossdoctor.comparison.nouns import CurveDifference, Side
from lossdoctor.comparison.parting import parted, widest
from lossdoctor.comparison.series import Series
from lossdoctor.language import counted, say
from lossdoctor.tasks import REINFORCEMENT


def compare_training(one: Side, other: Side, first: Series, second: Series, axis: Axis) -> CurveDifference:
    """What the training losses say: how they begin, whether their data came in one order, where they part, how they end."""
    laid = beside(first, second, axis)
    said = ([telling.sentence(axis.why)] if axis.why else []) + list(telling.standing(one, other)) + breaks(one, other)
    if not laid.rows:
        return CurveDifference("loss", axis.name, 0, told=(*breaks(one, other), telling.apart(one, other, first, second)))
    same, ups = same_rows(first, second, laid), together(laid.one, laid.other)
    in_order = bool(same) or (ups is not None and ups.shared)
    end = None if _means_nothing(one, other) else end_of(laid, in_order)
    row = parted(laid, end.share) if end and end.ending in ("better", "worse") else None
    ends = own_ends(first, second) if end and further(one, other, first, second, axis) else None
    way = widest(laid) if end and end.ending == "same" else None
    lost = broke(one) or broke(other)
    if lost:
        end = unjudged(end)
    same_until = int(laid.steps[same - 1]) if same else None
    found = CurveDifference(
        series="loss",
        axis=axis.name,
        rows=laid.rows,
        same_until=same_until,
        parted_at=_parted_step(laid, row, same, one, other, axis),
        end=end,
        own_ends=ends,
        together=ups.correlation if ups else None,
        in_order=in_order,
        identical=same == laid.rows and not lost,
        widest=(int(laid.steps[way[0]]), way[1]) if way else None,
    )
    said += [telling.beginning(same_until, agreeing_digits(first, second), found.identical)] if same_until is not None else []
    if ups and not found.identical and (words := telling.rows_together(ups)):
        said.append(words)
    return replace(found, told=(*said, *_of_ends(found, laid, one, other, axis, row)))


def _of_ends(found: CurveDifference, laid: Beside, one: Side, other: Side, axis: Axis, row: int | None) -> list[str]:
    """The sentences on how both end, and where they part."""
    end, said = found.end, []
    if _means_nothing(one, other):
        return [say("The loss of reinforcement learning is no measure of quality: how it ends is not compared.")]
    if end is None or laid.rows < LEAST_ROWS:
        rows = counted(laid.rows, "row")
        said.append(say("Both have {rows} in common: too few to tell a difference from noise.", rows=rows))
    if end is not None and not found.identical:
        since, until = f"{end.since:,}", f"{int(laid.steps[-1]):,}"
        if axis.name == "row":
            where = say("over the last that both have, rows {since} to {until}", since=since, until=until)
        else:
            where = say("over the last that both have, steps {since} to {until}", since=since, until=until)
        said.append(
            telling.difference(end, say(telling.TRAINING), (one, other), where, WORTH_IN_ORDER if found.in_order else 0.0)
        )
    if found.widest is not None and end is not None:
        said.append(telling.on_the_way(other, *found.widest))
    if found.own_ends is not None:
        said.append(telling.difference(found.own_ends, say(telling.TRAINING), (one, other), own(one, other)))
    if found.parted_at is not None and row is not None:
        said.append(telling.parting(found.parted_at, axis, row == 0))
    return said


def _parted_step(laid: Beside, row: int | None, same: int, one: Side, other: Side, axis: Axis) -> int | None:
    """The step of the first side where the curves part for good: in their levels, or because one of them breaks."""
    if row is not None:
        return int(laid.steps[max(row, min(same, laid.rows - 1))])
    breaks = [found for found in (broke(one), broke(other)) if found]
    if not breaks:
        return None
    places = [found.step * axis.per_step[side] for side, found in enumerate((broke(one), broke(other))) if found]
    return round(min(places) / axis.per_step[0])


def _means_nothing(*sides: Side) -> bool:
    """Whether the loss says nothing of quality."""
    return any((side.report.run if side.report else side.plan.run).get("task") == REINFORCEMENT for side in sides)
