"""What two logs say beside each other: the training loss, and each evaluation loss that both have."""

from __future__ import annotations

from lossdoctor.comparison.axes import axis_of
from lossdoctor.comparison.evaluated import compare_evaluation
from lossdoctor.comparison.lengths import breaks
from lossdoctor.comparison.nouns import CurveDifference, Side
from lossdoctor.comparison.series import evaluated, series
from lossdoctor.comparison.training import compare_training


def compare_curves(one: Side, other: Side) -> tuple[CurveDifference, ...]:
    """What the curves of both sides say, the training loss first; nothing where a side has no log."""
    if one.log is None or other.log is None:
        return ()
    found = []
    first, second = series(one, "loss"), series(other, "loss")
    axis = axis_of(one, other, first, second) if first and second else None
    if first and second and axis:
        found.append(compare_training(one, other, first, second, axis))
    elif told := breaks(one, other):
        found.append(CurveDifference("loss", "step", 0, told=tuple(told)))
    for name in evaluated(one, other):
        points = series(one, name), series(other, name)
        if points[0] and points[1]:
            found.append(
                compare_evaluation(one, other, name, points[0], points[1], axis or axis_of(one, other, points[0], points[1]))
            )
    return tuple(found)
