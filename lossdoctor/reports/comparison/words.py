"""What every report of a comparison says, in plain strings: each format only arranges it."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lossdoctor.comparison.impacts import bookkeeping
from lossdoctor.comparison.impacts.rating import said as spoken
from lossdoctor.comparison.nouns import WEIGHT, Comparison, CurveDifference, Difference, EndDifference, Pair, Side
from lossdoctor.comparison.pairing import taken
from lossdoctor.comparison.telling import likeness, percent
from lossdoctor.language import later, plural, say
from lossdoctor.reports import plans
from lossdoctor.reports import words as of_runs

#: What a row of the table says where a side says nothing.
NOTHING = "-"
LETTERS = string.ascii_uppercase
#: With more differences than this those of low impact share a line.
MOST = 14


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
    return of_runs.extent(side.report) if side.report else say("a configuration")


def table(comparison: Comparison) -> list[Row]:
    """What each side comes to; of quantities that no side knows nothing is said."""
    known = [plans.lines(plan) for plan in comparison.plans]
    rows = []
    for name in known[0]:
        values = tuple(of_side[name] or NOTHING for of_side in known)
        if any(of_side[name] for of_side in known):
            rows.append(Row(name, values, len(set(values)) == 1))
    return rows


def assumed(comparison: Comparison) -> list[str]:
    """What the table takes as usual because nobody stated it, or as on another side; with the sides it holds for."""
    by_words: dict[str, list[str]] = {}
    for place, plan in enumerate(comparison.plans):
        for words in (*plans.assumed(plan), *taken(plan)):
            by_words.setdefault(words, []).append(LETTERS[place])
    return [f"{words} ({', '.join(sides)})" for words, sides in by_words.items()]


def matters(pair: Pair) -> list[Difference]:
    """The differences that change the training, the greatest impact first, derived quantities before settings."""
    return sorted(
        (d for d in pair.differences if WEIGHT[d.impact] and d.judged), key=lambda d: (-WEIGHT[d.impact], not d.derived)
    )


def told_in_full(pair: Pair) -> list[Difference]:
    """Those of `matters` that have a place of their own: of very many the low ones only come in one line."""
    several = matters(pair)
    return several if len(several) <= MOST else [d for d in several if d.impact != "low"]


def unjudged(pair: Pair) -> list[Difference]:
    """What differs and cannot be judged."""
    return [d for d in pair.differences if not d.judged and None not in d.values]


def equal(pair: Pair) -> list[Difference]:
    """What looks different and comes to the same."""
    return [d for d in pair.differences if not WEIGHT[d.impact] and d not in _kept_books(pair)]


def together(pair: Pair) -> list[tuple[str, str]]:
    """What needs no more than its values, in one line of each kind: (mark, line)."""
    several = matters(pair)
    low = several[len(told_in_full(pair)) :]
    alone = [d for d in pair.differences if not d.judged and None in d.values]
    found = [
        ("low", say("of low impact as well"), low),
        ("=", say("no settings of the training"), _kept_books(pair)),
        ("?", say("stated by one side only, so not judged"), alone),
    ]
    return [(mark, f"{what}: {'; '.join(f'{say(d.name)} {values(d)}' for d in each)}") for mark, what, each in found if each]


def _kept_books(pair: Pair) -> list[Difference]:
    """What is logged, evaluated and saved, and the versions of the tools, where that changes nothing."""
    return [d for d in pair.differences if not WEIGHT[d.impact] and d.name in bookkeeping()]


def verdicts(comparison: Comparison) -> list[str]:
    """The verdict on each pair; of several it is said which one is meant where its words do not."""
    several = len(comparison.pairs) > 1
    told = [(pair, verdict(pair)) for pair in comparison.pairs]
    return [f"{pair.other.name}: {said}" if several and pair.other.name not in said else said for pair, said in told]


def verdict(pair: Pair) -> str:
    """How the other side stands against the first, in a sentence or two."""
    one, other = pair.one.name, pair.other.name
    told = [words for side, name in ((pair.one, one), (pair.other, other)) if (words := _broken(side, name))]
    deciding = end(pair)
    if not told and (same := _identical(pair)):
        return same
    if deciding is not None:
        told += _ending(deciding, one, other, broken=bool(told))
    elif pair.one.log and pair.other.log and not told:
        told.append(say("Whether {other} ends lower than {one} cannot be told from these logs", other=other, one=one))
    return " ".join(f"{words}." for words in told or [counted(pair)])


def _broken(side: Side, name: str) -> str:
    worst = of_runs.worst(side.report) if side.report and side.report.verdict == "critical" else None
    return say("{name} broke: {message}", name=name, message=worst.message) if worst else ""


def end(pair: Pair) -> CurveDifference | None:
    """The curve that decides: of an evaluation if both have one that tells, else of the training."""
    telling = [curve for curve in pair.curves if any(end.ending != "unknown" for end in (curve.end, curve.own_ends) if end)]
    return min(telling, key=lambda curve: curve.series == "loss", default=None)


def _identical(pair: Pair) -> str:
    """That both have the same numbers wherever both have any: one run, or its repeat."""
    curves = [curve for curve in pair.curves if curve.rows]
    if not curves or not all(curve.identical for curve in curves):
        return ""
    rows = say(" and ").join(say("{rows:,} of {series}", rows=curve.rows, series=curve.series) for curve in curves)
    told = say(
        "{other_name} is the same as {one_name} in all rows that both have: {rows}.",
        other_name=pair.other.name,
        one_name=pair.one.name,
        rows=rows,
    )
    ends = [curve.own_ends for curve in curves if curve.own_ends and curve.own_ends.ending in ("better", "worse")]
    return say("{told} One goes on, and they end {share} apart.", told=told, share=percent(ends[0].share)) if ends else told


def _ending(curve: CurveDifference, one: str, other: str, broken: bool) -> list[str]:
    """How a curve ends: at the end of each where those are at other places, and over what both have."""
    own, common = curve.own_ends, curve.end
    if own is not None and own.ending in ("better", "worse"):
        told = ending(own, curve.series, one, other, say(", each at its own end"))
        return [
            say("{told}; over what both have: {share}", told=told, share=percent(common.share, True))
            if common and common.ending != "unknown"
            else told
        ]
    found = common if common is not None and common.ending != "unknown" else own
    if found is None or (broken and found.ending == "same"):
        return []
    return [ending(found, curve.series, one, other, say(", over what both have") if own is not None and found is common else "")]


def ending(found: EndDifference, series: str, one: str, other: str, where: str = "") -> str:
    """One sentence on how two curves end, with its figures."""
    levels = say("{series} {other:.4g} against {one:.4g}", series=series, other=found.other, one=found.one)
    interval = say("95 %: {low} to {high}", low=percent(found.low, True), high=percent(found.high, True))
    if found.ending == "same":
        like = (
            say("{other} ends like {one}", other=other, one=one)
            if found.alike
            else say("{other} beside {one}", other=other, one=one)
        )
        return f"{likeness(found)}: {like}{where}, {levels}, {percent(found.share, True)} ({interval})"
    better = later("{other} ends better than {one}{where}: {levels}, {share} ({interval})")
    worse = later("{other} ends worse than {one}{where}: {levels}, {share} ({interval})")
    return say(
        better if found.ending == "better" else worse,
        other=other,
        one=one,
        where=where,
        levels=levels,
        share=percent(found.share, True),
        interval=interval,
    )


def counted(pair: Pair) -> str:
    """How many differences there are of each impact."""
    several = matters(pair)
    same = sum(not WEIGHT[d.impact] for d in pair.differences)
    open_ = sum(not d.judged for d in pair.differences)
    rest = ""
    if same:
        rest = plural(
            "; {same} comes to the same or changes nothing", "; {same} come to the same or change nothing", same, same=same
        )
    rest += say("; {open} cannot be judged", open=open_) if open_ else ""
    if not several:
        known = later("Nothing is known to differ that changes the training{rest}")
        return say(known if open_ else later("Nothing differs that changes the training{rest}"), rest=rest)
    levels = [
        say("{count} {level}", count=count, level=say(level))
        for level in ("high", "medium", "low")
        if (count := sum(d.impact == level for d in several))
    ]
    return (
        plural(
            "{number} difference that matters: {levels}",
            "{number} differences that matter: {levels}",
            len(several),
            number=len(several),
            levels=", ".join(levels),
        )
        + rest
    )


def which(comparison: Comparison, pair: Pair) -> str:
    """What is said of which two, behind a heading; nothing where there are only two."""
    return (
        say(": {one_name} and {other_name}", one_name=pair.one.name, other_name=pair.other.name)
        if len(comparison.pairs) > 1
        else ""
    )


def values(difference: Difference) -> str:
    """`2e-5 → 1e-5`; what a side does not say is a dash."""
    first, second = (NOTHING if value is None else spoken(value) for value in difference.values)
    return first if first == second else f"{first} → {second}"


def said(difference: Difference) -> Iterator[str]:
    """The sentences of a difference: direction and factor, why it matters, what is easily read the wrong way round."""
    for words in (difference.change if difference.moved else "", difference.reason, difference.slip):
        if words:
            yield of_runs.sentence(words.rstrip("."))


def sides(comparison: Comparison) -> Iterable[tuple[str, str, str]]:
    """The letter, the name and the kind of each side."""
    for place, side in enumerate(comparison.sides):
        yield LETTERS[place], side.name, title(side)
