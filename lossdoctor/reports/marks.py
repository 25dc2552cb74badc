"""Where something was wrong, on a chart: a band over the steps of the symptoms, and a number where each begins."""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.model import Report, Symptom
from lossdoctor.reports import words
from lossdoctor.reports.axes import Axes
from lossdoctor.reports.colours import fill, stroke
from lossdoctor.reports.markup import element, text

#: More marks than this hide each other; the list of findings has all of them.
MOST = 60


def bands(report: Report, axes: Axes, place: int) -> Iterator[str]:
    """The steps of all symptoms of a panel, where several overlap once, the critical ones over the others."""
    top, height = axes.tops[place], axes.heights[place]
    for severity in ("warning", "critical"):
        spans = sorted((s.onset, max(s.onset, s.last)) for _, s in _marked(report, axes, place) if s.severity == severity)
        sides = [(axes.x(begin), axes.x(end)) for begin, end in _merged(spans)]
        shapes = "".join(f"M{left:.1f} {top}h{max(2.0, right - left):.1f}v{height}H{left:.1f}z" for left, right in sides)
        if shapes:
            yield element("path", d=shapes, opacity=".14", **fill(severity))


def marks(report: Report, axes: Axes, place: int) -> Iterator[str]:
    """Square for a critical symptom, round for a warning; its words come up as a tooltip."""
    bottom = axes.tops[place] + axes.heights[place]
    taken: list[tuple[float, float]] = []
    for number, symptom in _marked(report, axes, place):
        x, y = _row(axes, place, symptom)
        badge = _free(x, max(axes.tops[place] + 14.0, y - 22), taken)
        taken.append((x, badge))
        corner = 3 if symptom.severity == "critical" else 9
        said = f"{number}. {symptom.slug}, step {symptom.onset:,}: {words.what_was_seen(symptom)}"
        shapes = [
            element("circle", cx=x, cy=y, r=3),
            element("rect", x=x - 9, y=badge - 9, width=18, height=18, rx=corner),
        ]
        yield element(
            "g",
            element("title", text(said)),
            element("path", d=f"M{x:.1f} {badge:.1f}V{bottom}", stroke_dasharray="2 3", **stroke(symptom.severity)),
            element("g", *shapes, **fill(symptom.severity)),
            element("text", str(number), x=x, y=badge + 4, **fill("paper"), font_size=11, font_weight=700, text_anchor="middle"),
            kind="mark",
            data_mark=number,
        )


def _marked(report: Report, axes: Axes, place: int) -> list[tuple[int, Symptom]]:
    """The symptoms of a panel with their numbers; what no panel shows stands on the first one."""
    numbered = list(enumerate(words.alarming(report)[:MOST], 1))
    homes = [next((i for i, panel in enumerate(axes.panels) if s.series in panel.columns), 0) for _, s in numbered]
    return [one for one, home in zip(numbered, homes, strict=True) if home == place]


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for begin, end in spans:
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _free(x: float, y: float, taken: list[tuple[float, float]]) -> float:
    """The next height where a badge hides no other; after three tries one may."""
    for _ in range(3):
        if any(abs(x - left) < 20 and abs(y - top) < 20 for left, top in taken):
            y += 20
    return y


def _row(axes: Axes, place: int, symptom: Symptom) -> tuple[float, float]:
    """Where the curve stands in the first row that shows the symptom."""
    lines = axes.panels[place].lines
    line = next((line for line in lines if line.of == symptom.series), lines[0])
    step, value = next((point for point in line.points if point[0] >= symptom.onset), line.points[-1])
    return axes.x(step), axes.y(place, value)
