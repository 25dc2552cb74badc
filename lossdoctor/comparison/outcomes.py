"""Which of several tries with the same data in the same order broke where, and what that says of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossdoctor.comparison.broken import Break, fault
from lossdoctor.comparison.nouns import Side
from lossdoctor.comparison.rates import Rates, rates_of
from lossdoctor.comparison.telling import last_step, listed
from lossdoctor.language import plural, say
from lossdoctor.learning_rates import short

#: Faults begin at one place that lie so near, as a share of the steps before them, or in rows.
NEAR, ROWS = 0.03, 2
#: Rates that differ by this factor are different enough to tell something, and by this one to be higher.
DIFFERENT, HIGHER = 1.3, 1.05


@dataclass(frozen=True)
class Broken:
    """A try that broke, and its rates."""

    side: Side
    found: Break
    rates: Rates | None

    @property
    def rate(self) -> float | None:
        """The rate where it broke."""
        return self.rates.at(self.found.step) if self.rates else None


def outcomes(tries: Sequence[Side]) -> list[str]:
    """Which broke where, one sentence each, and what follows."""
    broken = [Broken(side, found, rates_of(side)) for side in tries if (found := fault(side))]
    if not broken:
        return [say("None of the {number_of_tries} broke.", number_of_tries=len(tries))]
    told = [_told(one) for one in broken]
    first = min(one.found.step for one in broken)
    sound = [side for side in tries if not any(side is one.side for one in broken)]
    reached = [side for side in sound if last_step(side) >= first]
    told += [
        say("{side_name} did not break, up to step {side:,}.", side_name=side.name, side=last_step(side)) for side in reached
    ]
    told += _shorter([side for side in sound if side not in reached])
    conclusion = _against_sound(broken, reached) if reached else _among_broken(broken)
    return [*told, conclusion] if conclusion else told


def _shorter(sides: Sequence[Side]) -> list[str]:
    """Those that end before the first of the others broke, in one sentence."""
    if not sides:
        return []
    names, steps = listed([side.name for side in sides]), listed([f"{last_step(side):,}" for side in sides])
    return [
        plural(
            "{names} ends at step {steps}, before that.",
            "{names} end at steps {steps}, before that.",
            len(sides),
            names=names,
            steps=steps,
        )
    ]


def _told(one: Broken) -> str:
    rate = say(", learning rate {rate}", rate=_rate(one.rate)) if one.rate is not None else ""
    good = say(", last good step {last_good:,}", last_good=one.found.last_good) if one.found.last_good is not None else ""
    return say(
        "{side_name} broke at step {step:,} ({slug}{good}{rate}).",
        side_name=one.side.name,
        step=one.found.step,
        slug=one.found.slug,
        good=good,
        rate=rate,
    )


def _together(broken: Sequence[Broken]) -> bool:
    """Whether they broke at about the same step."""
    steps = [one.found.step for one in broken]
    return max(steps) - min(steps) <= max(NEAR * min(steps), ROWS * max(_gap(one.side) for one in broken))


def _gap(side: Side) -> float:
    """Steps from row to row."""
    steps = [record.step for record in side.log.records if record.kind == "train"][-400:] if side.log else []
    return float(np.median(np.diff(steps))) if len(steps) > 1 else 1.0


def _among_broken(broken: Sequence[Broken]) -> str:
    """What it says that all that came so far broke."""
    if len(broken) < 2:
        return ""
    rates = [one.rate for one in broken if one.rate is not None]
    steps = [one.found.step for one in broken]
    spread = max(rates) / max(min(rates), 1e-30) if len(rates) == len(broken) else None
    span = say("{rates} to {rates2}", rates=_rate(min(rates)), rates2=_rate(max(rates))) if rates else ""
    if _together(broken):
        place = say(
            "All {number_of_broken} broke at about the same step ({steps:,} to {steps2:,})",
            number_of_broken=len(broken),
            steps=min(steps),
            steps2=max(steps),
        )
        if spread is None:
            return say("{place}; their rates there are not known, so that rate and examples cannot be told apart.", place=place)
        if spread < DIFFERENT:
            return say(
                "{place} at nearly the same rate ({span}): whether rate, examples or precision did it cannot be told from them.",
                place=place,
                span=span,
            )
        return say(
            "{place}, whatever the rate ({span}): that points to the examples there or to the precision, not to the rate.",
            place=place,
            span=span,
        )
    place = say(
        "They broke at different steps ({steps}) though the examples came in the same order",
        steps=", ".join(f"{step:,}" for step in steps),
    )
    if spread is not None and spread >= DIFFERENT and _sooner(broken):
        return say("{place}, the sooner the higher the rate had been: that points to the rate, not to one batch.", place=place)
    return say("{place}: one bad batch does not explain it.", place=place)


def _sooner(broken: Sequence[Broken]) -> bool:
    """Whether those with the higher rates broke first; compared where the first of them broke."""
    first = min(one.found.step for one in broken)
    ordered = sorted(broken, key=lambda one: one.found.step)
    rates = [one.rates.at(first) for one in ordered if one.rates]
    return len(rates) == len(ordered) and rates == sorted(rates, reverse=True) and rates[0] > HIGHER * rates[-1]


def _against_sound(broken: Sequence[Broken], sound: Sequence[Side]) -> str:
    """What it says that some went past the step where others broke, with the same examples."""
    same = say("The same examples did not break every try, so that they alone do not explain it")
    pairs = [
        (one.rate, rates.at(one.found.step))
        for one in broken
        for side in sound
        if last_step(side) >= one.found.step and (rates := rates_of(side)) and one.rate is not None
    ]
    if not pairs:
        return say("{same}; the rates there are not known.", same=same)
    low, high = min(rate for rate, _ in pairs), max(rate for _, rate in pairs)
    if all(rate > HIGHER * other for rate, other in pairs):
        if low > high:
            return say(
                "{same}. Only those with a rate above {high} there broke (from {low} on): that points to the rate.",
                same=same,
                high=_rate(high),
                low=_rate(low),
            )
        return say(
            "{same}. Where they broke, each had a higher rate than those that went on: that points to the rate.", same=same
        )
    if all(rate * HIGHER < other for rate, other in pairs):
        return say(
            "{same}. Those that went on had higher rates there (from {min}): not the rate either.",
            same=same,
            min=_rate(min((o for _, o in pairs))),
        )
    return say(
        "{same}, and the rates there ({low} and more, against up to {high}) do not tell them apart.",
        same=same,
        low=_rate(low),
        high=_rate(high),
    )


def _rate(rate: float | None) -> str:
    return short(rate) if rate else "0"
