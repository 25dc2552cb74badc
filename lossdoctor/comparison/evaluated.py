"""What two evaluation losses say beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lossdoctor.comparison import evaluation, telling
from lossdoctor.comparison.axes import Axis
from lossdoctor.comparison.broken import broke
from lossdoctor.comparison.ends import SEED_SPREAD
from lossdoctor.comparison.lengths import further, own
from lossdoctor.comparison.nouns import CurveDifference, Side
from lossdoctor.comparison.series import Series
from lossdoctor.language import capital, counted, later, say


def compare_evaluation(one: Side, other: Side, name: str, first: Series, second: Series, axis: Axis) -> CurveDifference:
    """What an evaluation loss says: the last of each, the best of each, and from which one on they differ."""
    both = evaluation.meeting(first, second, axis)
    starts = (float(first.values[0]), float(second.values[0]))
    end, best = evaluation.last_of(both, starts), evaluation.best_of(first, second, both, starts)
    ends = evaluation.own_last(first, second, both, starts) if further(one, other, first, second, axis) else None
    gone = [evaluation.lost(side, name) for side in (one, other)]
    lost = any(step is not None for step in gone) or bool(broke(one) or broke(other))
    if lost:
        end, ends = evaluation.unjudged(end), None
    found = CurveDifference(name, axis.name, len(both.steps), None, evaluation.parted(both, end), end, ends, best)
    found = replace(found, identical=both.met and not lost and evaluation.same_values(both, first, second))
    return replace(found, told=tuple(_told(found, one, other, gone, both.met)))


def _told(found: CurveDifference, one: Side, other: Side, gone: Sequence[int | None], met: bool) -> list[str]:
    """The sentences: the last that both have, each at its own end, the best, the parting, and what cannot be known."""
    what, end, best, ends = telling.named(found.series), found.end, found.best, found.own_ends
    lost = [(side, step) for side, step in zip((one, other), gone, strict=True) if step is not None]
    said = [
        say("The last evaluation of {side_name}, at step {step:,}, is no number.", side_name=side.name, step=step)
        for side, step in lost
    ]
    if end is None:
        return [*said, say("The two have no evaluation in common, and {what} is not compared.", what=what)]
    count = counted(found.rows, "evaluation")
    if found.identical:
        template = later("{what} is the same in {count} that both have.")
        same = say(
            template if found.rows == 1 else later("{what} is the same in all {count} that both have."),
            what=capital(what),
            count=count,
        )
        return [*said, same] + ([telling.difference(ends, what, (one, other), own(one, other))] if ends else [])
    template = later("at the last evaluation that both have, step {since:,}") if met else later("at step {since:,}")
    where = say(template, since=end.since)
    said.append(telling.difference(end, what, (one, other), where))
    if ends is not None:
        said.append(telling.difference(ends, what, (one, other), own(one, other)))
    if best is not None and (best.one, best.other) not in ((e.one, e.other) for e in (end, ends) if e):
        said.append(telling.difference(best, what, (one, other), say("in the best evaluation of each")))
    if found.parted_at is not None:
        said.append(say("They differ from the evaluation at step {parted_at:,} on.", parted_at=found.parted_at))
    taken = telling.percent(SEED_SPREAD)
    unknown = say(
        "how far two seeds of one run lie apart cannot be known from two runs, and is taken as {taken} each", taken=taken
    )
    return [*said, say("{count} of the same examples have no noise of rows; {unknown}.", count=count, unknown=unknown)]
