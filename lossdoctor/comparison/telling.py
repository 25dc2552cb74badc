"""What curves say, in sentences: one for each claim, with its figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

from lossdoctor.comparison.axes import Axis
from lossdoctor.comparison.broken import Break
from lossdoctor.comparison.fluctuations import Together
from lossdoctor.comparison.nouns import EndDifference, Side
from lossdoctor.comparison.series import Series

#: Below this correlation rows are said to have little in common.
LITTLE = 0.3
TRAINING = "the training loss"


def loss(value: float) -> str:
    """A loss to four digits."""
    return f"{value:.4g}"


def percent(share: float, signed: bool = False) -> str:
    """`5.1 %`, `0.32 %`, `-1.2 %`."""
    value = 100 * share
    if abs(value) < 0.005:
        return "0 %"
    digits = 0 if abs(value) >= 99.5 else 1 if abs(value) >= 0.95 else 2
    return f"{value:+,.{digits}f} %" if signed else f"{abs(value):,.{digits}f} %"


def sentence(words: str) -> str:
    """With a capital and a full stop."""
    return words[:1].upper() + words[1:] + "."


def named(series: str) -> str:
    """`the training loss`, `the evaluation loss`, `the loss on de`."""
    if series in ("loss", "eval_loss"):
        return TRAINING if series == "loss" else "the evaluation loss"
    return f"the evaluation loss on {series.removeprefix('eval_').removesuffix('_loss')}"


def beginning(step: int, digits: int, whole: bool) -> str:
    """That both logs begin with the same numbers."""
    if whole:
        return f"Both losses are the same to {digits} digits in all that both have, up to step {step:,}: one run, or its repeat."
    return f"Both losses are the same to {digits} digits up to step {step:,}: the same weights, seed and data order."


def rows_together(found: Together) -> str | None:
    """Whether the rows of both go up and down together; nothing where that cannot be told."""
    figure = f"rank correlation {found.correlation:.2f}, 95 % between {found.low:.2f} and {found.high:.2f}, {found.rows:,} rows"
    if found.shared:
        return f"Row by row both losses go up and down together ({figure}): the same examples came in the same order."
    if found.high < LITTLE:
        return f"The ups and downs of their rows have little in common ({figure}): other examples, or another order of them."
    return None


def difference(end: EndDifference, what: str, sides: tuple[Side, Side], where: str, least: float = 0.0) -> str:
    """How both end: the figure, the interval, what it is a mean of, and what is made of it.

    With `least`, a difference that is surely there and smaller than that share is said to be small.
    """
    one, other = sides
    low, high = (percent(bound, signed=True) for bound in (end.low, end.high))
    interval = (
        f"{percent(end.share, signed=True)}, 95 % between {low} and {high}" if isfinite(end.low) else percent(end.share, True)
    )
    of = f"; {end.windows} windows of {end.rows} row{'s' * (end.rows > 1)}, effect {end.effect:+.1f}" if what == TRAINING else ""
    figures = f"{loss(end.other)} against {loss(end.one)} in {one.name} ({interval}{of})"
    if end.ending == "unknown":
        return f"Not judged: {where}, {what} of {other.name} is {figures}."
    if end.ending == "same" and not (abs(end.share) < least and (end.low > 0 or end.high < 0)):
        return f"{likeness(end)}{' ' if end.alike else ', '}{where}: {what} of {other.name} is {figures}."
    direction = "lower" if end.share < 0 else "higher"
    small = f", which is more than rows scatter and less than the {percent(least)} that is called a difference here"
    end_ = small if end.ending == "same" else ""
    where = where[:1].upper() + where[1:]
    return f"{where}, {what} of {other.name} is {percent(end.share)} {direction}: {figures}{end_}."


def likeness(end: EndDifference) -> str:
    """What it means that an end is not called a difference: alike, nearly one, or too noisy to tell."""
    if end.alike:
        return "No difference beyond noise"
    if end.low > 0 or end.high < 0:
        return "Too near to noise to be called a difference"
    return f"Too noisy to tell a difference of less than about {percent(end.reach)}"


def times(factor: float) -> str:
    """`0.05 times`, `3,000 times`."""
    return f"{factor:,.0f} times" if factor >= 99.5 else f"{factor:.2f} times" if factor >= 0.01 else f"{factor:.1g} times"


def parting(step: int, axis: Axis, first: bool) -> str:
    """Where the curves part for good."""
    if first:
        return f"They differ from the first rows on (step {step:,})."
    return f"They part for good at about step {step:,}" + (" of the first." if axis.name == "examples" else ".")


def on_the_way(other: Side, step: int, share: float) -> str:
    """That curves which end alike were apart before."""
    direction = "lower" if share < 0 else "higher"
    return f"On the way they are apart: at about step {step:,} {other.name} is {percent(share)} {direction}."


def broke_at(side: Side, found: Break) -> str:
    """Where a side broke, and up to where it can be trusted."""
    what = "its loss is no measure from there on" if found.numbers else "that fault stands at its end"
    good = f", last good step {found.last_good:,}" if found.last_good is not None else ""
    return f"{side.name} broke at step {found.step:,} ({found.slug}{good}): {what}."


def standing(*sides: Side) -> Iterator[str]:
    """Which sides have not come to their end."""
    for side in sides:
        total = side.plan.total_steps
        last = last_step(side)
        if unfinished(side) and total is not None:
            yield f"{side.name} has come to step {last:,} of {total.whole:,}: only what both have is compared."


def unfinished(side: Side) -> bool:
    """Whether a side is known to have more steps before it than its log has."""
    total, last = side.plan.total_steps, last_step(side)
    numbered = side.log is not None and side.log.run.numbered
    return total is not None and not numbered and 0 < last < 0.97 * total.value and not total.assumed


def last_step(side: Side) -> int:
    """The last step of the log; 0 where there is none."""
    return side.log.records[-1].step if side.log and side.log.records else 0


def apart(one: Side, other: Side, first: Series, second: Series) -> str:
    """That two logs have no rows at the same places; where one goes on from the end of the other, that it does."""
    words = "The two logs have no part in common"
    for before, after, end, begin in ((one, other, first, second), (other, one, second, first)):
        gap = begin.steps[0] - end.steps[-1]
        if 0 < gap <= 3 * (begin.steps[0] - begin.before[0]):
            words += f": {after.name} begins at step {begin.steps[0]:,.0f}, right after the end of {before.name} at step "
            words += f"{end.steps[-1]:,.0f}, and may be its continuation"
    return f"{words}."


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
