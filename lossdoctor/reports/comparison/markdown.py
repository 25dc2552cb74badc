"""A comparison as Markdown: for pull requests and issues."""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.comparison.nouns import Comparison, Difference, Pair
from lossdoctor.language import say
from lossdoctor.reports import words as of_runs
from lossdoctor.reports.comparison import words
from lossdoctor.reports.markdown import code, plain


def render(comparison: Comparison, *, figure: str | None = None) -> str:
    """The whole comparison; `figure` is the address of its chart, if there is one."""
    return "\n".join(_lines(comparison, figure)).rstrip() + "\n"


def _lines(comparison: Comparison, figure: str | None) -> Iterator[str]:
    yield "## " + say(" and ").join(code(side.name) for side in comparison.sides)
    for verdict in words.verdicts(comparison):
        yield from ("", f"**{plain(verdict)}**")
    yield ""
    for letter, name, kind in words.sides(comparison):
        yield f"- {letter}: {code(name)}, {plain(kind)}"
    yield ""
    if figure:
        yield from (f"![{say('Curves laid over each other')}]({figure})", "")
    if rows := words.table(comparison):
        letters = [letter for letter, _, _ in words.sides(comparison)]
        yield from (f"| | {' | '.join(letters)} |", "|---" * (len(letters) + 1) + "|")
        for row in rows:
            yield f"| {plain(row.name)}{say(' (equal)') if row.equal else ''} | {' | '.join(map(plain, row.values))} |"
        yield ""
    if assumed := words.assumed(comparison):
        yield from (say("Not stated, taken as usual: {assumed}.", assumed=plain("; ".join(assumed))), "")
    yield from _section(say("Several tries"), comparison.tries)
    for pair in comparison.pairs:
        yield from _pair(comparison, pair)
    yield from _section(say("Not judged"), [f"{what}: {why}" for what, why in comparison.not_judged])


def _pair(comparison: Comparison, pair: Pair) -> Iterator[str]:
    which = words.which(comparison, pair)
    yield from _section(say("Curves{which}", which=which), [told for curve in pair.curves for told in curve.told])
    yield from _section(say("What explains it best{which}", which=which), pair.explained, numbered=True)
    if different := [*words.told_in_full(pair), *words.equal(pair), *words.unjudged(pair)]:
        yield from (
            f"### {say('Differences{which}', which=which)}",
            "",
            f"| {say('impact')} | {say('what')} | {say('change')} | {say('reason')} |",
            "|---|---|---|---|",
        )
        yield from map(_difference, different)
        yield ""
    yield from _section(say("Besides{which}", which=which), [of_runs.sentence(line) for _, line in words.together(pair)])


def _difference(difference: Difference) -> str:
    impact = say(difference.impact) if difference.judged else say("not judged")
    impact = f"**{impact}**" if difference.judged and difference.impact in ("high", "medium") else impact
    sources = "".join(f" [{place}]({source})" for place, source in enumerate(difference.sources, 1) if _address(source))
    told = plain(" ".join(words.said(difference)))
    return f"| {impact} | {code(say(difference.name))} | {plain(words.values(difference))} | {told}{sources} |"


def _address(source: str) -> bool:
    return source.startswith("https://") and not any(sign in source for sign in " ()|<>")


def _section(heading: str, told: tuple[str, ...] | list[str], numbered: bool = False) -> Iterator[str]:
    if told:
        marks = (f"{place}." if numbered else "-" for place in range(1, len(told) + 1))
        yield from (f"### {heading}", "", *(f"{mark} {plain(words)}" for mark, words in zip(marks, told, strict=True)), "")
