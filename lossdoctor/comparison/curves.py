"""What two logs say beside each other: the training loss, and each evaluation loss that both have."""

from __future__ import annotations

from dataclasses import replace

from lossdoctor.comparison import evaluation, telling
from lossdoctor.comparison.alignment import Beside, beside
from lossdoctor.comparison.axes import Axis, axis_of
from lossdoctor.comparison.beginning import agreeing_digits, same_rows
from lossdoctor.comparison.broken import Break, broke, fault
from lossdoctor.comparison.ends import LEAST_ROWS, WORTH_IN_ORDER, end_of, own_ends
from lossdoctor.comparison.fluctuations import together
from lossdoctor.comparison.nouns import CurveDifference, Side
from lossdoctor.comparison.parting import parted, widest
from lossdoctor.comparison.series import Series, evaluated, series
from lossdoctor.tasks import REINFORCEMENT

#: The ends of two logs are at different places from this share on.
FURTHER = 0.03


def compare_curves(one: Side, other: Side) -> tuple[CurveDifference, ...]:
    """What the curves of both sides say, the training loss first; nothing where a side has no log."""
    if one.log is None or other.log is None:
        return ()
    found = []
    first, second = series(one, "loss"), series(other, "loss")
    axis = axis_of(one, other, first, second) if first and second else None
    if first and second and axis:
        found.append(_training(one, other, first, second, axis))
    elif broke(one) or broke(other):
        found.append(CurveDifference("loss", "step", 0, told=tuple(_breaks(one, other))))
    for name in evaluated(one, other):
        points = series(one, name), series(other, name)
        if points[0] and points[1]:
            found.append(_evaluation(one, other, name, points[0], points[1], axis or axis_of(one, other, points[0], points[1])))
    return tuple(found)


def _training(one: Side, other: Side, first: Series, second: Series, axis: Axis) -> CurveDifference:
    laid = beside(first, second, axis)
    said = ([telling.sentence(axis.why)] if axis.why else []) + list(telling.standing(one, other)) + _breaks(one, other)
    if not laid.rows:
        return CurveDifference("loss", axis.name, 0, told=(*said, "The two logs have no part in common."))
    same, ups = same_rows(first, second, laid), together(laid.one, laid.other)
    in_order = bool(same) or (ups is not None and ups.shared)
    end = None if _means_nothing(one, other) else end_of(laid, in_order)
    row = parted(laid, end.share) if end and end.ending in ("better", "worse") else None
    ends = own_ends(first, second) if end and _further(one, other, first, second, axis) else None
    way = widest(laid) if end and end.ending == "same" else None
    lost = broke(one) or broke(other)
    if lost:
        end = evaluation.unjudged(end)
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
        widest=(int(laid.steps[way[0]]), way[1]) if way else None,
    )
    whole = same == laid.rows and not lost
    said += [telling.beginning(same_until, agreeing_digits(first, second), whole)] if same_until is not None else []
    if ups and not whole and (words := telling.rows_together(ups)):
        said.append(words)
    return replace(found, told=(*said, *_of_ends(found, laid, one, other, axis, row)))


def _of_ends(found: CurveDifference, laid: Beside, one: Side, other: Side, axis: Axis, row: int | None) -> list[str]:
    """The sentences on how both end, and where they part."""
    end, said = found.end, []
    if _means_nothing(one, other):
        return ["The loss of reinforcement learning is no measure of quality: how it ends is not compared."]
    if end is None or laid.rows < LEAST_ROWS:
        said.append(f"Both have {laid.rows} row{'s' * (laid.rows != 1)} in common: too few to tell a difference from noise.")
    if end is not None:
        where = f"over the last that both have, {_unit(axis)} {end.since:,} to {int(laid.steps[-1]):,}"
        said.append(telling.difference(end, telling.TRAINING, (one, other), where, WORTH_IN_ORDER if found.in_order else 0.0))
    if found.widest is not None and end is not None:
        said.append(telling.on_the_way(other, *found.widest))
    if found.own_ends is not None:
        said.append(telling.difference(found.own_ends, telling.TRAINING, (one, other), _own(one, other)))
    if found.parted_at is not None and row is not None:
        said.append(telling.parting(found.parted_at, axis, row == 0))
    return said


def _evaluation(one: Side, other: Side, name: str, first: Series, second: Series, axis: Axis) -> CurveDifference:
    both = evaluation.meeting(first, second, axis)
    starts = (float(first.values[0]), float(second.values[0]))
    end, best = evaluation.last_of(both, starts), evaluation.best_of(first, second, both, starts)
    further = _further(one, other, first, second, axis)
    ends = evaluation.own_last(first, second, both, starts) if further else None
    gone = [evaluation.lost(side, name) for side in (one, other)]
    if any(step is not None for step in gone) or broke(one) or broke(other):
        end, ends = evaluation.unjudged(end), None
    found = CurveDifference(name, axis.name, len(both.steps), None, evaluation.parted(both, end), end, ends, best)
    what, said = telling.named(name), []
    said += [
        f"The last evaluation of {side.name}, at step {step:,}, is no number."
        for side, step in zip((one, other), gone, strict=True)
        if step
    ]
    if end is None:
        said.append(f"The two have no evaluation in common, and {what} is not compared.")
    else:
        where = f"at {'the last evaluation that both have, ' if both.met else ''}step {end.since:,}"
        said.append(telling.difference(end, what, (one, other), where))
    if ends is not None:
        said.append(telling.difference(ends, what, (one, other), _own(one, other)))
    if best is not None and end is not None and (best.one, best.other) not in ((e.one, e.other) for e in (end, ends) if e):
        said.append(telling.difference(best, what, (one, other), "in the best evaluation of each"))
    if found.parted_at is not None:
        said.append(f"They differ from the evaluation at step {found.parted_at:,} on.")
    if end is not None:
        count = f"{len(both.steps)} evaluation{'s' * (len(both.steps) != 1)}"
        said.append(
            f"{count} of the same examples have no noise of rows; how far two seeds of one run lie apart cannot be known from "
            "two runs, and is taken as 0.5 % each."
        )
    return replace(found, told=tuple(said))


def _parted_step(laid: Beside, row: int | None, same: int, one: Side, other: Side, axis: Axis) -> int | None:
    """The step of the first side where the curves part for good: in their levels, or because one of them breaks."""
    if row is not None:
        return int(laid.steps[max(row, min(same, laid.rows - 1))])
    breaks = [found for found in (broke(one), broke(other)) if found]
    if not breaks:
        return None
    places = [found.step * axis.per_step[side] for side, found in enumerate((broke(one), broke(other))) if found]
    return round(min(places) / axis.per_step[0])


def _further(one: Side, other: Side, first: Series, second: Series, axis: Axis) -> bool:
    """Whether both have come to their end, and at different places."""
    if any(map(telling.unfinished, (one, other))) or broke(one) or broke(other):
        return False
    last = [axis.places(rows, side)[1][-1] for side, rows in enumerate((first, second))]
    return bool(abs(last[0] - last[1]) > FURTHER * max(last))


def _breaks(one: Side, other: Side) -> list[str]:
    faults: list[tuple[Side, Break | None]] = [(side, fault(side)) for side in (one, other)]
    return [telling.broke_at(side, found) for side, found in faults if found]


def _means_nothing(*sides: Side) -> bool:
    """Whether the loss says nothing of quality."""
    return any((side.report.run if side.report else side.plan.run).get("task") == REINFORCEMENT for side in sides)


def _unit(axis: Axis) -> str:
    return "rows" if axis.name == "row" else "steps"


def _own(one: Side, other: Side) -> str:
    steps = [telling.last_step(side) for side in (one, other)]
    return f"each at its own end, step {steps[0]:,} of {one.name} and {steps[1]:,} of {other.name}"
