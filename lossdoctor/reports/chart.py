"""The curves of a run as one SVG: panels over one step axis, with a mark where each symptom begins.

No script, no reference to anything outside, and no identifier that could clash with another chart on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from lossdoctor.language import later, say
from lossdoctor.model import Report
from lossdoctor.reports import words
from lossdoctor.reports.axes import LEFT, RIGHT, WIDTH, Axes
from lossdoctor.reports.colours import fill, of_chart, stroke
from lossdoctor.reports.marks import bands, marks
from lossdoctor.reports.markup import element, text
from lossdoctor.reports.panels import Line, Panel, Point, panels, round_values, steps, thinned

#: The second curve of a panel, and those after it, are told apart without colours too.
DASHES = (None, "6 3", "2 3", "8 3 2 3")
CLASSES = {"loss": "train", "grad_norm": "norm", "learning_rate": "rate"}
#: Curves of at most so many points show each as a dot: evaluations are few.
FEW = 40
#: A bar over rows that were NaN is at least so many pixels wide, and one with the next that would touch it.
NARROW = 3.0


def render(report: Report, *, style: bool = True) -> str:
    """The chart of a run; nothing where there are fewer than two points. `style` False leaves its colours to the page around."""

    def under(axes: Axes, place: int) -> Iterator[str]:
        return iter(bands(report, axes, place))

    def over(axes: Axes, place: int) -> Iterator[str]:
        return iter(marks(report, axes, place))

    return draw(
        panels(report),
        say("Curves of {report}. {report2}", report=words.name(report), report2=words.verdict(report)),
        under,
        over,
        style=style,
    )


Layer = Callable[[Axes, int], Iterator[str]]


def _nothing(axes: Axes, place: int) -> Iterator[str]:
    return iter(())


def draw(
    shown: Sequence[Panel],
    label: str,
    under: Layer = _nothing,
    over: Layer = _nothing,
    *,
    axis: str = later("step"),
    style: bool = True,
) -> str:
    """Panels over one axis, with what lies under and over the curves of each; nothing where there are fewer than two points."""
    span = steps(shown)
    if span is None:
        return ""
    axes = Axes(shown, span)
    parts = [element("style", of_chart())] if style else []
    parts += _steps(axes, axis)
    for place in range(len(shown)):
        parts += [*under(axes, place), _panel(axes, place)]
    for place in range(len(shown)):
        parts += over(axes, place)
    return element(
        "svg",
        *parts,
        kind="lossdoctor-chart",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {axes.height}",
        width="100%",
        role="img",
        aria_label=label,
        font_family="system-ui,sans-serif",
        font_size=12,
        data_steps=f"{axes.first} {axes.last}",
        data_plot=f"{LEFT} {axes.width}",
    )


def _steps(axes: Axes, axis: str) -> Iterator[str]:
    """The common axis, written under the last panel."""
    wanted = [int(step) for step in round_values(axes.first, axes.last, 7) if step == int(step)]
    foot = axes.height - 12
    labels = [element("text", f"{step:,}", x=axes.x(step), y=foot) for step in wanted]
    labels.append(element("text", text(say(axis)), x=LEFT - 8, y=foot, text_anchor="end"))
    yield element("g", *labels, **fill("ink"), text_anchor="middle")
    lines = "".join(
        f"M{axes.x(step):.0f} {top}v{tall}" for step in wanted for top, tall in zip(axes.tops, axes.heights, strict=True)
    )
    yield element("g", element("path", d=lines), **stroke("grid"))


def _panel(axes: Axes, place: int) -> str:
    panel, top, height = axes.panels[place], axes.tops[place], axes.heights[place]
    scale = panel.scale
    ticks = [(axes.y(place, value), value) for value in scale.ticks()]
    lines = "".join(f"M{LEFT} {y:.1f}h{axes.width}" for y, _ in ticks)
    labels = [element("text", _tick(value), x=LEFT - 8, y=y + 4) for y, value in ticks]
    title = say(panel.title) + (say(" (logarithmic)") if scale.log else "")
    labels.append(element("text", text(title), x=LEFT, y=top - 8, text_anchor="start", font_weight=600))
    parts = [element("g", element("path", d=lines), **stroke("grid")), element("g", *labels, **fill("ink"), text_anchor="end")]
    for number, line in enumerate(panel.lines):
        parts += _line(axes, place, line, number)
        if len(panel.lines) > 1:
            parts.append(_legend(axes, place, line, number))
    return element("g", *parts, data_panel=f"{top} {height} {scale.low:.6g} {scale.high:.6g} {int(scale.log)}")


def _line(axes: Axes, place: int, line: Line, number: int) -> Iterator[str]:
    colour = _colour(line, number)
    whole = list(line.stretches())
    path, dots = "", []
    for stretch in _near(axes, [stretch for finite, stretch in whole if finite], 1.0):
        columns = max(1, round(axes.x(stretch[-1][0]) - axes.x(stretch[0][0])))
        spots = [(axes.x(step), axes.y(place, value)) for step, value in thinned(stretch, columns)]
        path += _path(spots)
        if number and len(line.points) <= FEW:
            dots += [element("circle", cx=x, cy=y, r=2.6) for x, y in spots]
    dash = DASHES[number % len(DASHES)]
    drawn = [element("path", d=path, stroke_width=1.5, stroke_dasharray=dash, **stroke(colour))] if path else []
    if dots:
        drawn.append(element("g", *dots, **fill(colour)))
    yield element("g", *drawn, data_line=line.name)
    lost = [_lost(axes, place, line, stretch) for stretch in _near(axes, [each for finite, each in whole if not finite], NARROW)]
    if lost:
        yield element("g", *lost, **fill("critical"))


def _near(axes: Axes, stretches: Sequence[list[Point]], pixels: float) -> Iterator[list[Point]]:
    """Stretches as one where no more than so many pixels lie between: nobody can tell them apart, and there may be thousands."""
    joined: list[Point] = []
    for stretch in stretches:
        if joined and axes.x(stretch[0][0]) - axes.x(joined[-1][0]) > pixels:
            yield joined
            joined = []  # what was given away stays as it is
        joined += stretch
    if joined:
        yield joined


def _colour(line: Line, number: int) -> str:
    return line.colour or CLASSES.get(line.of, "evaluation" if number else "other")


def _lost(axes: Axes, place: int, line: Line, stretch: Sequence[Point]) -> str:
    """A bar at the top of the panel over rows that were NaN or infinite."""
    (begin, value), (end, _) = stretch[0], stretch[-1]
    rows = say("1 row") if len(stretch) == 1 else say("{number_of_stretch:,} rows", number_of_stretch=len(stretch))
    where = say("step {begin:,}", begin=begin) if begin == end else say("steps {begin:,} to {end:,}", begin=begin, end=end)
    left = axes.x(begin)
    title = element(
        "title", text(say("{line} is {value} in {rows}, {where}", line=say(line.name), value=value, rows=rows, where=where))
    )
    return element("rect", title, x=left, y=axes.tops[place], width=max(NARROW, axes.x(end) - left), height=4)


def _legend(axes: Axes, place: int, line: Line, number: int) -> str:
    x, y = WIDTH - RIGHT - 110 * (len(axes.panels[place].lines) - number), axes.tops[place] - 12
    colour = _colour(line, number)
    dash = DASHES[number % len(DASHES)]
    sample = element("path", d=f"M{x} {y}h22", stroke_width=2, stroke_dasharray=dash, **stroke(colour))
    return sample + element("text", text(say(line.name)), x=x + 28, y=y + 4, **fill("ink"))


def _path(spots: Sequence[tuple[float, float]]) -> str:
    """A path in relative steps of a tenth of a pixel: a third of the size of absolute ones."""
    tenths = [(round(x * 10), round(y * 10)) for x, y in spots]
    moves = "".join(f"l{_tenth(b[0] - a[0])}{_after(b[1] - a[1])}" for a, b in pairwise(tenths) if a != b)
    return f"M{_tenth(tenths[0][0])}{_after(tenths[0][1])}" + (moves or "h.1")


def _tenth(tenths: int) -> str:
    """12 → 1.2, -5 → -.5, 30 → 3."""
    digits = f"{tenths / 10:g}"
    return digits.replace("0.", ".", 1) if digits.startswith(("0.", "-0.")) else digits


def _after(tenths: int) -> str:
    """A second number needs no blank before it where its sign tells them apart."""
    digits = _tenth(tenths)
    return digits if digits.startswith("-") else f" {digits}"


def _tick(value: float) -> str:
    """1e9 rather than 1000000000 or 1e+09."""
    short = f"{value:.0e}" if abs(value) >= 1e5 and f"{value:.0e}".startswith("1e") else f"{value:.6g}"
    mantissa, mark, power = short.partition("e")
    return f"{mantissa}e{int(power)}" if mark else mantissa
