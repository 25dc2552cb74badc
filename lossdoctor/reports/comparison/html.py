"""A comparison as one HTML file that needs nothing else: how the sides stand, curves laid over each other, differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lossdoctor.comparison.nouns import Comparison, Difference, Impact, Pair
from lossdoctor.language import say
from lossdoctor.reports import words as of_runs
from lossdoctor.reports.comparison import overlay, words
from lossdoctor.reports.html import address, bulleted, page, section, tabled
from lossdoctor.reports.markup import element, text

#: The colour of a chip by impact.
CHIPS: dict[Impact, str] = {"high": "critical", "medium": "warning", "low": "train", "none": "ink"}


def render(comparison: Comparison) -> str:
    """The whole comparison on one page."""
    names = say(" and ").join(side.name for side in comparison.sides)
    return page(names, list(_body(comparison)))


def _body(comparison: Comparison) -> Iterator[str]:
    yield _header(comparison)
    if curves := overlay.render(comparison, style=False):
        yield element("section", curves, element("p", "", kind="readout"))
    if rows := words.table(comparison):
        letters = [letter for letter, _, _ in words.sides(comparison)]
        cells = [[row.name, *row.values, "=" if row.equal else ""] for row in rows]
        assumed = words.assumed(comparison)
        note = (
            element("p", text(say("Not stated, taken as usual: {assumed}.", assumed="; ".join(assumed))), kind="soft")
            if assumed
            else ""
        )
        yield section(say("What it comes to"), tabled(["", *letters, ""], [[text(cell) for cell in row] for row in cells]), note)
    if comparison.tries:
        yield section(say("Several tries"), bulleted(comparison.tries))
    for pair in comparison.pairs:
        yield from _pair(comparison, pair)
    if comparison.not_judged:
        yield section(say("Not judged"), bulleted([f"{what}: {why}" for what, why in comparison.not_judged]))


def _header(comparison: Comparison) -> str:
    button = element("button", text(say("Light or dark")), type="button", data_ground="", hidden="")
    top = element("div", element("h1", text(say("Comparison"))), button, kind="top")
    told = [element("p", text(verdict), kind="sentence") for verdict in words.verdicts(comparison)]
    named = [
        element("p", element("strong", letter), " ", text(name), " ", element("span", text(kind), kind="soft"))
        for letter, name, kind in words.sides(comparison)
    ]
    return element("header", top, *told, *named)


def _pair(comparison: Comparison, pair: Pair) -> Iterator[str]:
    which = words.which(comparison, pair)
    if told := [sentence for curve in pair.curves for sentence in curve.told]:
        yield section(say("Curves{which}", which=which), bulleted(told))
    if pair.explained:
        yield section(
            say("What explains it best{which}", which=which),
            element("ol", *(element("li", text(said)) for said in pair.explained)),
        )
    parts = (
        (say("Differences"), words.told_in_full(pair)),
        (say("Comes to the same"), words.equal(pair)),
        (say("Not judged"), words.unjudged(pair)),
    )
    for heading, different in parts:
        if different:
            yield section(f"{heading}{which}", _differences(different))
    if lines := words.together(pair):
        yield section(say("Besides{which}", which=which), bulleted([of_runs.sentence(line) for _, line in lines]))


def _differences(different: Sequence[Difference]) -> str:
    """One below the other rather than in columns, which a narrow window has no room for."""
    return "".join(map(_difference, different))


def _difference(difference: Difference) -> str:
    impact = "?" if not difference.judged else "=" if difference.impact == "none" else difference.impact
    chip = element("span", text(say(impact)), kind=f"chip {CHIPS[difference.impact]}")
    sources = ", ".join(map(address, difference.sources))
    head = element("p", chip, " ", element("strong", text(say(difference.name))), " ", text(words.values(difference)))
    told = element("p", text(" ".join(words.said(difference))))
    return element(
        "div", head, told, element("p", text(say("Sources:")) + " ", sources, kind="soft") if sources else "", kind="cause"
    )
