"""What curves say, in sentences: one for each claim, with its figure."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from lossdoctor.comparison.axes import Axis
from lossdoctor.comparison.broken import Break
from lossdoctor.comparison.fluctuations import Together
from lossdoctor.comparison.nouns import EndDifference, Side
from lossdoctor.comparison.series import Series
from lossdoctor.language import capital, counted, later, say
from lossdoctor.language import listed as listed

#: Below this correlation rows are said to have little in common.
LITTLE = 0.3
TRAINING = later("the training loss")


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
    return capital(words) + "."


def named(series: str) -> str:
    """`the training loss`, `the evaluation loss`, `the loss on de`."""
    if series in ("loss", "eval_loss"):
        return say(TRAINING) if series == "loss" else say("the evaluation loss")
    return say("the evaluation loss on {removesuffix}", removesuffix=series.removeprefix("eval_").removesuffix("_loss"))


def beginning(step: int, digits: int, whole: bool) -> str:
    """That both logs begin with the same numbers."""
    if whole:
        return say(
            "Both losses are the same to {digits} digits in all that both have, up to step {step:,}: one run, or its repeat.",
            digits=digits,
            step=step,
        )
    return say(
        "Both losses are the same to {digits} digits up to step {step:,}: the same weights, seed and data order.",
        digits=digits,
        step=step,
    )


def rows_together(found: Together) -> str | None:
    """Whether the rows of both go up and down together; nothing where that cannot be told."""
    figure = say(
        "rank correlation {correlation:.2f}, 95 % between {low:.2f} and {high:.2f}, {rows:,} rows",
        correlation=found.correlation,
        low=found.low,
        high=found.high,
        rows=found.rows,
    )
    if found.shared:
        return say(
            "Row by row both losses go up and down together ({figure}): the same examples came in the same order.", figure=figure
        )
    if found.high < LITTLE:
        return say(
            "The ups and downs of their rows have little in common ({figure}): other examples, or another order of them.",
            figure=figure,
        )
    return None


def difference(end: EndDifference, what: str, sides: tuple[Side, Side], where: str, least: float = 0.0) -> str:
    """How both end: the figure, the interval, what it is a mean of, and what is made of it.

    With `least`, a difference that is surely there and smaller than that share is said to be small.
    """
    one, other = sides
    low, high = (percent(bound, signed=True) for bound in (end.low, end.high))
    interval = (
        say("{share}, 95 % between {low} and {high}", share=percent(end.share, signed=True), low=low, high=high)
        if isfinite(end.low)
        else percent(end.share, True)
    )
    rows = counted(end.rows, "row")
    of = (
        say("; {windows} windows of {rows}, effect {effect:+.1f}", windows=end.windows, rows=rows, effect=end.effect)
        if what == say(TRAINING)
        else ""
    )
    figures = say(
        "{other} against {one} in {one_name} ({interval}{of})",
        other=loss(end.other),
        one=loss(end.one),
        one_name=one.name,
        interval=interval,
        of=of,
    )
    if end.ending == "unknown":
        return say(
            "Not judged: {where}, {what} of {other_name} is {figures}.",
            where=where,
            what=what,
            other_name=other.name,
            figures=figures,
        )
    if end.ending == "same" and not (abs(end.share) < least and (end.low > 0 or end.high < 0)):
        return say(
            "{end}{choice}{where}: {what} of {other_name} is {figures}.",
            end=likeness(end),
            choice=" " if end.alike else ", ",
            where=where,
            what=what,
            other_name=other.name,
            figures=figures,
        )
    small = say(
        ", which is more than rows scatter and less than the {least} that is called a difference here", least=percent(least)
    )
    end_ = small if end.ending == "same" else ""
    where = capital(where)
    lower = later("{where}, {what} of {other_name} is {share} lower: {figures}{end}.")
    higher = later("{where}, {what} of {other_name} is {share} higher: {figures}{end}.")
    return say(
        lower if end.share < 0 else higher,
        where=where,
        what=what,
        other_name=other.name,
        share=percent(end.share),
        figures=figures,
        end=end_,
    )


def likeness(end: EndDifference) -> str:
    """What it means that an end is not called a difference: alike, nearly one, or too noisy to tell."""
    if end.alike:
        return say("No difference beyond noise")
    if end.low > 0 or end.high < 0:
        return say("Too near to noise to be called a difference")
    return say("Too noisy to tell a difference of less than about {reach}", reach=percent(end.reach))


def times(factor: float) -> str:
    """`0.05 times`, `3,000 times`."""
    return (
        say("{factor:,.0f} times", factor=factor)
        if factor >= 99.5
        else say("{factor:.2f} times", factor=factor)
        if factor >= 0.01
        else say("{factor:.1g} times", factor=factor)
    )


def parting(step: int, axis: Axis, first: bool) -> str:
    """Where the curves part for good."""
    if first:
        return say("They differ from the first rows on (step {step:,}).", step=step)
    return say("They part for good at about step {step:,}", step=step) + (
        say(" of the first.") if axis.name == "examples" else "."
    )


def on_the_way(other: Side, step: int, share: float) -> str:
    """That curves which end alike were apart before."""
    lower = later("On the way they are apart: at about step {step:,} {other_name} is {share} lower.")
    higher = later("On the way they are apart: at about step {step:,} {other_name} is {share} higher.")
    return say(
        lower if share < 0 else higher,
        step=step,
        other_name=other.name,
        share=percent(share),
    )


def broke_at(side: Side, found: Break) -> str:
    """Where a side broke, and up to where it can be trusted."""
    what = say("its loss is no measure from there on") if found.numbers else say("that fault stands at its end")
    good = say(", last good step {last_good:,}", last_good=found.last_good) if found.last_good is not None else ""
    return say(
        "{side_name} broke at step {step:,} ({slug}{good}): {what}.",
        side_name=side.name,
        step=found.step,
        slug=found.slug,
        good=good,
        what=what,
    )


def standing(*sides: Side) -> Iterator[str]:
    """Which sides have not come to their end."""
    for side in sides:
        total = side.plan.total_steps
        last = last_step(side)
        if unfinished(side) and total is not None:
            yield say(
                "{side_name} has come to step {last:,} of {total_whole:,}: only what both have is compared.",
                side_name=side.name,
                last=last,
                total_whole=total.whole,
            )


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
    words = say("The two logs have no part in common")
    for before, after, end, begin in ((one, other, first, second), (other, one, second, first)):
        gap = begin.steps[0] - end.steps[-1]
        if 0 < gap <= 3 * (begin.steps[0] - begin.before[0]) and begin.before[0] >= end.steps[-1]:
            words += say(
                ": {after_name} begins at step {first_steps:,.0f}, right after the end of {before_name} at step "
                "{steps:,.0f}, and may be its continuation",
                after_name=after.name,
                first_steps=begin.steps[0],
                before_name=before.name,
                steps=end.steps[-1],
            )
    return f"{words}."
