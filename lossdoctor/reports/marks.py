"""Where something was wrong, on a chart: a band over the steps of the symptoms, and a number where each begins."""

from __future__ import annotations

from collections.abc import Iterator

from lossdoctor.language import say
from lossdoctor.model import RANK, Report, Symptom
from lossdoctor.reports import words
from lossdoctor.reports.axes import Axes
from lossdoctor.reports.colours import fill, stroke
from lossdoctor.reports.markup import element, text

#: More marks than this hide each other; the list of findings has all of them.
MOST = 60


def bands(report: Report, axes: Axes, place: int) -> Iterator[str]:
    """The steps of all symptoms of a panel, where several overlap once, the critical ones over the others."""
    top, height = axes.tops[place], axes.heights[place]
    spans = {severity: _merged(_spans(report, axes, place, severity)) for severity in ("warning", "critical")}
    covered = [(b, e) for b, e in spans["warning"] if any(begin <= b and e <= end for begin, end in spans["critical"])]
    for severity, merged in spans.items():
        sides = [(axes.x(begin), axes.x(end)) for begin, end in merged if severity == "critical" or (begin, end) not in covered]
        shapes = "".join(f"M{left:.1f} {top}h{max(2.0, right - left):.1f}v{height}H{left:.1f}z" for left, right in sides)
        if shapes:
            yield element("path", d=shapes, opacity=".14", **fill(severity))


def marks(report: Report, axes: Axes, place: int) -> Iterator[str]:
    """Square for a critical symptom, round for a warning; its words come up as a tooltip, also where a number has no room."""
    top, height = axes.tops[place], axes.heights[place]
    taken: list[tuple[float, float]] = []
    stems, badges = [], []
    for number, symptom in sorted(_marked(report, axes, place), key=lambda one: -RANK[one[1].severity]):
        said = say(
            "{number}. {slug}, step {onset:,}: {symptom}",
            number=number,
            slug=symptom.slug,
            onset=symptom.onset,
            symptom=words.what_was_seen(symptom),
        )
        (x, y), *again = rows = [_row(axes, place, symptom, step) for step in symptom.steps or (symptom.onset,)]
        badge = _free(x, max(top + 14.0, y - 22), taken, 20 if y < top + height / 2 else -20, top + height)
        colour = symptom.severity
        spots = [element("circle", cx=x, cy=y, r=3) for x, y in (again if badge is not None else rows)]
        if badge is not None:
            taken.append((x, badge))
            stems.append(element("path", d=f"M{x:.1f} {badge:.1f}V{top + height}", stroke_dasharray="2 3", **stroke(colour)))
            stems.append(element("circle", cx=x, cy=y, r=3, **fill(colour)))
            badges.append(_badge(number, said, symptom, x, badge))
        if spots:
            stems.append(element("g", element("title", text(said)), *spots, **fill(colour)))
    yield from (*stems, *badges)  # no curve and no stem over a number


def _badge(number: int, said: str, symptom: Symptom, x: float, y: float) -> str:
    corner = 3 if symptom.severity == "critical" else 9
    width = 18 + 7 * max(0, len(str(number)) - 2)
    return element(
        "g",
        element("title", text(said)),
        element("rect", x=x - width / 2, y=y - 9, width=width, height=18, rx=corner, **fill(symptom.severity)),
        element("text", str(number), x=x, y=y + 4, **fill("paper"), font_size=11, font_weight=700, text_anchor="middle"),
        kind="mark",
        data_mark=number,
    )


def _spans(report: Report, axes: Axes, place: int, severity: str) -> list[tuple[int, int]]:
    return sorted((s.onset, max(s.onset, s.last)) for _, s in _marked(report, axes, place) if s.severity == severity)


def _marked(report: Report, axes: Axes, place: int) -> list[tuple[int, Symptom]]:
    """The symptoms of a panel with their numbers, of very many the worst; what no panel shows stands on the first one."""
    numbered = list(enumerate(words.alarming(report), 1))
    if len(numbered) > MOST:
        worst = sorted(numbered, key=lambda one: -RANK[one[1].severity])[:MOST]
        numbered = sorted(worst, key=lambda one: one[0])
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


def _free(x: float, y: float, taken: list[tuple[float, float]], further: int, foot: float) -> float | None:
    """The next height above `foot` where a badge hides no other, `further` up or down; None after three tries."""
    for _ in range(3):
        if not any(abs(x - left) < 20 and abs(y - top) < 20 for left, top in taken):
            return y if y < foot else None
        y += further
    return None


def _row(axes: Axes, place: int, symptom: Symptom, onset: int) -> tuple[float, float]:
    """Where the curve stands in the first row from `onset` on."""
    lines = axes.panels[place].lines
    line = next((line for line in lines if line.of == symptom.series), lines[0])
    step, value = next((point for point in line.points if point[0] >= onset), line.points[-1])
    return axes.x(step), axes.y(place, value)
