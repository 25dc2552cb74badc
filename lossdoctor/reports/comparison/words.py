"""What every report of a comparison says, in plain strings: each format only arranges it."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lossdoctor import slips
from lossdoctor.comparison.nouns import WEIGHT, Comparison, CurveDifference, Difference, EndDifference, Pair, Side
from lossdoctor.reports import plans
from lossdoctor.reports import words as of_runs

#: What a row of the table says where a side says nothing.
NOTHING = "-"
LETTERS = string.ascii_uppercase


@dataclass(frozen=True)
class Row:
    """A quantity of all sides; `equal` where they come to the same."""

    name: str
    values: tuple[str, ...]
    equal: bool


def letter(comparison: Comparison, side: Side) -> str:
    """A, B, C, …: what a side is called where its name is too long."""
    return LETTERS[next(place for place, other in enumerate(comparison.sides) if other is side)]


def title(side: Side) -> str:
    """What a side is: "500 rows, steps 1 to 500" of a run, or that it is a configuration."""
    return of_runs.extent(side.report) if side.report else "a configuration"


def table(comparison: Comparison) -> list[Row]:
    """What each side comes to; of quantities that no side knows nothing is said."""
    known = [plans.lines(side.plan) for side in comparison.sides]
    rows = []
    for name in known[0]:
        values = tuple(of_side[name] or NOTHING for of_side in known)
        if any(of_side[name] for of_side in known):
            rows.append(Row(name, values, len(set(values)) == 1))
    return rows


def assumed(comparison: Comparison) -> list[str]:
    """What the table takes as usual because nobody stated it, with the sides it holds for."""
    by_words: dict[str, list[str]] = {}
    for side in comparison.sides:
        for words in plans.assumed(side.plan):
            by_words.setdefault(words, []).append(letter(comparison, side))
    return [f"{words} ({', '.join(sides)})" for words, sides in by_words.items()]


def matters(pair: Pair) -> list[Difference]:
    """The differences that change the training, the greatest impact first, derived quantities before settings."""
    return sorted(
        (d for d in pair.differences if WEIGHT[d.impact] and d.judged), key=lambda d: (-WEIGHT[d.impact], not d.derived)
    )


def unjudged(pair: Pair) -> list[Difference]:
    """What only one side states, where nobody knows what the other one takes instead."""
    return [d for d in pair.differences if WEIGHT[d.impact] and not d.judged]


def equal(pair: Pair) -> list[Difference]:
    """What looks different and comes to the same, or does not change the training."""
    return [d for d in pair.differences if not WEIGHT[d.impact]]


def verdict(pair: Pair) -> str:
    """How the other side stands against the first, in a sentence or two."""
    one, other = pair.one.name, pair.other.name
    told = [words for side, name in ((pair.one, one), (pair.other, other)) if (words := _broken(side, name))]
    deciding = end(pair)
    if deciding is not None and deciding.end is not None:
        told.append(ending(deciding.end, deciding.series, one, other))
    elif pair.one.log and pair.other.log and not told:
        told.append(f"Whether {other} ends lower than {one} cannot be told from these logs")
    return " ".join(f"{words}." for words in told or [counted(pair)])


def _broken(side: Side, name: str) -> str:
    worst = of_runs.worst(side.report) if side.report and side.report.verdict == "critical" else None
    return f"{name} broke: {worst.message}" if worst else ""


def end(pair: Pair) -> CurveDifference | None:
    """The curve that decides: of an evaluation if both have one that tells, else of the training."""
    telling = [curve for curve in pair.curves if curve.end and curve.end.ending != "unknown"]
    return min(telling, key=lambda curve: curve.series == "loss", default=None)


def ending(found: EndDifference, series: str, one: str, other: str) -> str:
    """One sentence on how two curves end, with its figures."""
    levels = f"{series} {found.other:.4g} against {found.one:.4g}"
    interval = f"95 %: {found.low:+.1%} to {found.high:+.1%}"
    if found.ending == "same":
        return f"No difference beyond noise: {other} ends like {one}, {levels}, {found.share:+.1%} ({interval})"
    if found.ending == "unknown":
        return f"{other} ends at {levels} in {one}; whether that is more than noise cannot be told"
    return f"{other} ends {found.ending} than {one}: {levels}, {found.share:+.1%} ({interval})"


def counted(pair: Pair) -> str:
    """How many differences there are of each impact."""
    several = matters(pair)
    same = len(equal(pair))
    rest = f"{same} come{'s' * (same == 1)} to the same or change{'s' * (same == 1)} nothing" if same else ""
    if not several:
        return f"Nothing differs that changes the training{f'; {rest}' if rest else ''}"
    levels = [f"{count} {level}" for level in ("high", "medium", "low") if (count := sum(d.impact == level for d in several))]
    told = f"{len(several)} difference{'s' * (len(several) > 1)} that matter{'s' * (len(several) == 1)}: {', '.join(levels)}"
    return f"{told}; {rest}" if rest else told


def which(comparison: Comparison, pair: Pair) -> str:
    """What is said of which two, behind a heading; nothing where there are only two."""
    return f": {pair.one.name} and {pair.other.name}" if len(comparison.pairs) > 1 else ""


def values(difference: Difference) -> str:
    """`2e-5 → 1e-5`; what a side does not say is a dash."""
    first, second = (NOTHING if value is None else slips.short(value) for value in difference.values)
    return first if first == second else f"{first} → {second}"


def said(difference: Difference) -> Iterator[str]:
    """The sentences of a difference: what changed, why it matters, and what is easily read the wrong way round."""
    for words in (difference.change, difference.reason, difference.slip):
        if words:
            yield of_runs.sentence(words.rstrip("."))


def sides(comparison: Comparison) -> Iterable[tuple[str, str, str]]:
    """The letter, the name and the kind of each side."""
    for place, side in enumerate(comparison.sides):
        yield LETTERS[place], side.name, title(side)
