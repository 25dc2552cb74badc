"""Where the symptoms of a run belong on the charts that TensorBoard draws of it: a dot on the curve where each begins."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan

from lossdoctor.model import Report, Symptom
from lossdoctor.parsing.column_names import column
from lossdoctor.readers.event_files import Point
from lossdoctor.reports import words
from lossdoctor.stats import median, usual_range

#: Finite values before a dot that tell the level there.
TREND = 9
#: The chart for what has none of its own.
MAIN = "train/loss"
#: Points that are kept of a growing curve: so many of the latest, and as many of all before.
LATEST = 4096

Curves = Mapping[str, Sequence[Point]]


@dataclass(frozen=True)
class Dot:
    """One point of a sub-run: the tag of the chart, where on it, and the symptom that begins there, or again, at `onset`."""

    point: Point
    symptom: Symptom
    onset: int

    @property
    def tag(self) -> str:
        return self.point.tag


class Growing:
    """The curve of a run that goes on: the latest points, and of all before them an even choice, however long it gets."""

    def __init__(self) -> None:
        self._older: list[Point] = []
        self._latest: deque[Point] = deque()
        self._every = 1
        self._passed = 0

    def add(self, point: Point) -> None:
        """Takes the next point; what is trained anew after a resume takes the place of what was there."""
        for there in (self._latest, self._older):
            while there and there[-1].step >= point.step:
                there.pop()
        self._latest.append(point)
        if len(self._latest) > LATEST:
            oldest = self._latest.popleft()
            if self._passed % self._every == 0:
                self._older.append(oldest)
            self._passed += 1
        if len(self._older) > LATEST:
            del self._older[1::2]
            self._every *= 2

    def points(self) -> list[Point]:
        """The curve, by step."""
        return [*self._older, *self._latest]


def curves(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Points → curves by tag, each by step; what is trained anew after a resume takes the place of what was there."""
    found: dict[str, list[Point]] = {}
    for point in points:
        curve = found.setdefault(point.tag, [])
        while curve and curve[-1].step >= point.step:
            curve.pop()
        curve.append(point)
    return found


def dots(report: Report, drawn: Curves) -> dict[str, list[Dot]]:
    """The dots by slug, each list by step; a symptom of a column without a chart stands on that of the training loss."""
    found: dict[str, dict[tuple[str, int], Dot]] = {}
    pictures: dict[str, tuple[float, float] | None] = {}
    for symptom in words.alarming(report):
        tag = chart_of(symptom.series, drawn)
        if tag is None:
            continue
        if tag not in pictures:
            pictures[tag] = _picture(drawn[tag])
        if (picture := pictures[tag]) is not None:
            for onset in symptom.steps or (symptom.onset,):
                point = _place(onset, drawn[tag], picture)
                found.setdefault(symptom.slug, {}).setdefault((point.tag, point.step), Dot(point, symptom, onset))
    return {slug: sorted(placed.values(), key=lambda dot: dot.point.step) for slug, placed in found.items()}


def apart(points: Sequence[Point]) -> list[Point]:
    """With a NaN after each point but the last: TensorBoard joins the points of a run by a line, and not across a NaN."""
    separated: list[Point] = []
    for place, point in enumerate(points):
        separated.append(point)
        if place + 1 < len(points) and points[place + 1].step > point.step + 1:
            separated.append(Point(point.tag, point.step + 1, nan, point.wall_time))
    return separated


def chart_of(series: str, drawn: Curves) -> str | None:
    """The tag of a series; of what has no chart of its own, that of the training loss, whatever it is called in this run."""
    names = {column(tag): tag for tag in drawn}
    wanted = (series, "loss", "train_loss")
    return next((names[name] for name in wanted if name in names), None)


def _picture(curve: Sequence[Point]) -> tuple[float, float] | None:
    """The lowest and the highest value that TensorBoard's chart shows: it leaves outliers out. None where none is finite."""
    finite = sorted(point.value for point in curve if isfinite(point.value))
    return usual_range(finite) if finite else None


def _place(onset: int, curve: Sequence[Point], picture: tuple[float, float]) -> Point:
    """On the curve if its value is in the picture, else at the level just before, where the eye finds it."""
    place = min(bisect_left(curve, onset, key=lambda point: point.step), len(curve) - 1)
    there, (low, high) = curve[place], picture
    if isfinite(there.value) and low <= there.value <= high:
        return there
    before = [point.value for point in curve[:place] if isfinite(point.value)]
    before = before or [min(point.value for point in curve if isfinite(point.value))]
    return there._replace(value=median(before[-TREND:]) if isfinite(there.value) else before[-1])
