"""The curves of several runs laid over each other as one SVG; of configurations alone the learning rates that they plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lossdoctor.comparison.nouns import Comparison, Side
from lossdoctor.language import later, say
from lossdoctor.reports.chart import draw
from lossdoctor.reports.comparison.words import LETTERS
from lossdoctor.reports.panels import Line, Panel, Point, joined, points

#: One colour after the other, told apart with any colour vision; the dashes of the lines tell them apart as well.
COLOURS = ("train", "evaluation", "norm", "rate", "other")
#: Points of a planned curve.
PLANNED = 300


def render(comparison: Comparison, *, style: bool = True) -> str:
    """The chart; nothing where there is nothing to draw. `style` False leaves its colours to the page around."""
    wanted: list[tuple[str, Callable[[Side], tuple[Point, ...]]]] = [
        ("loss", lambda side: points(side.report, "loss") if side.report else ()),
        (later("evaluation loss"), lambda side: points(side.report, "eval_loss") if side.report else ()),
        (later("learning rate"), rates),
        (later("gradient norm"), lambda side: points(side.report, "grad_norm") if side.report else ()),
    ]
    shown = [panel for title, of_side in wanted if (panel := _panel(title, comparison.sides, of_side)) is not None]
    names = ", ".join(
        say("{letters} is {side_name}", letters=LETTERS[place], side_name=side.name)
        for place, side in enumerate(comparison.sides)
    )
    return draw(shown, say("Curves laid over each other: {names}", names=names), style=style)


def rates(side: Side) -> tuple[Point, ...]:
    """The learning rates of the log, or those that are planned."""
    logged = points(side.report, "learning_rate") if side.report else ()
    plan = side.plan.rates
    if logged or plan is None:
        return logged
    steps = sorted({round(plan.total * place / PLANNED) for place in range(PLANNED + 1)})
    return tuple((step, plan.at(step)) for step in steps if step < plan.total)


def _panel(title: str, sides: Sequence[Side], of_side: Callable[[Side], tuple[Point, ...]]) -> Panel | None:
    lines = [Line(LETTERS[place], title, of_side(side), COLOURS[place % len(COLOURS)]) for place, side in enumerate(sides)]
    return joined(title, lines)
