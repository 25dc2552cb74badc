"""A comparison for people at a terminal: how the sides stand, what they come to, what differs and why it matters."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lossdoctor.comparison.nouns import Comparison, Difference, Impact, Pair
from lossdoctor.language import say
from lossdoctor.reports import words as of_runs
from lossdoctor.reports.comparison import words
from lossdoctor.reports.terminal import bullet, console_of, heading, padded

STYLES: dict[Impact, str] = {"high": "bold red", "medium": "bold yellow", "low": "cyan", "none": "dim"}


def render(comparison: Comparison, *, color: bool | None = None, width: int | None = None) -> str:
    """The comparison as text. `color` None leaves it to the terminal and NO_COLOR."""
    console = console_of(color, width)
    with console.capture() as captured:
        for letter, name, kind in words.sides(comparison):
            console.print(Text.assemble((f"{letter}  ", "bold"), (name, "bold"), (f"  {kind}", "dim")), soft_wrap=True)
        for verdict in words.verdicts(comparison):
            console.print()
            console.print(Text(verdict, "bold"))
        _table(console, comparison)
        if comparison.tries:
            heading(console, say("Several tries"))
            for told in comparison.tries:
                bullet(console, "·", "cyan", Text(told))
        for pair in comparison.pairs:
            _pair(console, comparison, pair)
        if comparison.not_judged:
            heading(console, say("Not judged"))
            for what, why in comparison.not_judged:
                bullet(console, "-", "dim", Text(f"{what}: {why}", "dim"))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _table(console: Console, comparison: Comparison) -> None:
    rows = words.table(comparison)
    if not rows:
        return
    heading(console, say("What it comes to"))
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("", overflow="fold")
    for letter, _, _ in words.sides(comparison):
        table.add_column(letter, overflow="fold")
    table.add_column("")
    for row in rows:
        style = "dim" if row.equal else ""
        table.add_row(Text(row.name, style), *(Text(value, style) for value in row.values), Text("=" if row.equal else "", style))
    console.print(table)
    if assumed := words.assumed(comparison):
        console.print(Text(say("Not stated, taken as usual: {assumed}.", assumed="; ".join(assumed)), "dim"))


def _pair(console: Console, comparison: Comparison, pair: Pair) -> None:
    """What differs between two sides, and what their curves say."""
    which = words.which(comparison, pair)
    told = [sentence for curve in pair.curves for sentence in curve.told]
    if told:
        heading(console, say("Curves{which}", which=which))
        for sentence in told:
            bullet(console, "·", "cyan", Text(sentence))
    if pair.explained:
        heading(console, say("What explains it best{which}", which=which))
        for place, sentence in enumerate(pair.explained, 1):
            bullet(console, f"{place}.", "bold", Text(sentence))
    parts = (
        (say("Differences, the greatest impact first"), words.told_in_full(pair)),
        (say("Comes to the same"), words.equal(pair)),
        (say("Not judged"), words.unjudged(pair)),
    )
    for title, differences in parts:
        if differences:
            heading(console, f"{title}{which}")
        for difference in differences:
            _difference(console, difference)
    if lines := words.together(pair):
        heading(console, say("Besides{which}", which=which))
        for mark, line in lines:
            bullet(console, say(mark).upper() if mark == "low" else mark, "dim", Text(of_runs.sentence(line)))


def _difference(console: Console, difference: Difference) -> None:
    mark = "?" if not difference.judged else "=" if difference.impact == "none" else padded(say(difference.impact).upper(), 6)
    told = Text.assemble((say(difference.name), "bold"), f"  {words.values(difference)}")
    for sentence in words.said(difference):
        told.append(f"\n{sentence}")
    bullet(console, mark, STYLES[difference.impact], told)
