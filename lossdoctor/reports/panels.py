"""What a chart shows, in numbers: which curves share a panel, their scale, and which points of them a screen can tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import ceil, floor, isfinite, log10

from lossdoctor.language import later
from lossdoctor.model import Report
from lossdoctor.probe_columns import LOSS_SCALE
from lossdoctor.stats import usual_range

Point = tuple[int, float]

#: Positive values that span more than this are told apart on a logarithmic scale only.
LOG_FROM = {"loss": 100.0, "gradient norm": 30.0, "loss scale": 30.0}
#: Where a scale cannot be logarithmic, it ends this many times the middle 96 % beyond them; what is higher is drawn at the edge.
BEYOND = 3.0
FEWEST_POINTS = 2
#: Larger numbers are held at the edge: the span of a scale has to be a number itself.
HUGE = 1e300


@dataclass(frozen=True)
class Scale:
    """Values → 0 (bottom) to 1 (top); what lies outside is held at the edge."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value stands; an infinite one stands at its edge."""
        low, high = (log10(self.low), log10(self.high)) if self.log else (self.low, self.high)
        if self.log:
            value = log10(value) if value > 0 else low
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def ticks(self) -> list[float]:
        """Round values to write beside the axis: three to six."""
        if self.log:
            powers = [10.0**power for power in range(ceil(log10(self.low)), floor(log10(self.high)) + 1)]
            if len(powers) >= 2:
                return powers[:: ceil(len(powers) / 5)]
        return round_values(self.low, self.high, 4)


@dataclass(frozen=True)
class Line:
    """One curve: `points` are (step, value) in the order of their steps; `of` names its column, `colour` one of our colours."""

    name: str
    of: str
    points: tuple[Point, ...]
    colour: str = ""

    def stretches(self) -> Iterator[tuple[bool, list[Point]]]:
        """Points that stand together: (whether they are finite, those points)."""
        for finite, run in groupby(self.points, key=lambda point: isfinite(point[1])):
            yield finite, list(run)


@dataclass(frozen=True)
class Panel:
    """The curves that share one scale."""

    title: str
    lines: tuple[Line, ...]
    scale: Scale
    columns: frozenset[str] = field(default_factory=frozenset)


def panels(report: Report) -> list[Panel]:
    """Loss and evaluation loss, gradient norm, learning rate, loss scale, reward: as far as they were logged."""
    found = [
        _panel(later("loss"), [(later("train"), "loss"), *((_short(name), name) for name in evaluations(report))], report),
        _panel(later("gradient norm"), [("gradient norm", "grad_norm")], report),
        _panel(later("learning rate"), [("learning rate", "learning_rate")], report),
        _panel(later("loss scale"), [("loss scale", "loss_scale"), ("loss scale", LOSS_SCALE)], report),
        _panel(later("reward"), [("reward", "reward")], report),
    ]
    return [panel for panel in found if panel is not None]


def steps(shown: Sequence[Panel]) -> tuple[int, int] | None:
    """The first and the last step of all curves; None where there is nothing to draw."""
    every = [point[0] for panel in shown for line in panel.lines for point in (line.points[0], line.points[-1])]
    return (min(every), max(every)) if every else None


def thinned(points: Sequence[Point], columns: int) -> list[Point]:
    """At most four points for each of so many columns: the first, the lowest, the highest and the last in it.

    Drawn with that many pixels, it is the same picture (U. Jugel et al., "M4", VLDB 2014).
    """
    if len(points) <= 2 * columns:
        return list(points)
    first, last = points[0][0], points[-1][0]
    width = max(1, last - first) / columns
    kept: list[Point] = []
    for _, column in groupby(points, key=lambda point: min(columns - 1, int((point[0] - first) / width))):
        inside = list(column)
        places = {0, len(inside) - 1}
        places |= {choose(range(len(inside)), key=lambda i: inside[i][1]) for choose in (min, max)}
        kept += [inside[place] for place in sorted(places)]
    return kept


def round_values(low: float, high: float, wanted: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, about so many."""
    span = (high - low) or 1.0
    power = 10.0 ** floor(log10(span / wanted))
    unit = next((power * times for times in (1, 2, 5) if span / (power * times) <= wanted + 1), power * 10)
    return [round(unit * times, 12) for times in range(ceil(low / unit - 1e-9), floor(high / unit + 1e-9) + 1)]


def evaluations(report: Report) -> list[str]:
    """Columns of evaluation losses, as of several evaluation sets."""
    names = dict.fromkeys(name for record in report.records if record.kind == "eval" for name in record.values)
    return [name for name in names if name.startswith("eval_") and name.endswith("loss")][:4]


def _short(name: str) -> str:
    return later("evaluation") if name == "eval_loss" else name


def _panel(title: str, wanted: Sequence[tuple[str, str]], report: Report) -> Panel | None:
    return joined(title, [Line(name, column, points(report, column)) for name, column in wanted])


def joined(title: str, lines: Sequence[Line]) -> Panel | None:
    """Curves on one scale; those of fewer than two points are left out, and there is none where nothing is finite."""
    drawn = tuple(line for line in lines if len(line.points) >= FEWEST_POINTS)
    finite = sorted(min(HUGE, max(-HUGE, value)) for line in drawn for _, value in line.points if isfinite(value))
    if not drawn or not finite:
        return None
    return Panel(title, drawn, _scale(finite, LOG_FROM.get(title)), frozenset(line.of for line in lines))


def points(report: Report, column: str) -> tuple[Point, ...]:
    """What was logged in a column, by step."""
    found = [(r.step, r.values[column]) for r in report.records if column in r.values and r.kind != "summary"]
    return tuple(sorted(found, key=lambda point: point[0]))


def _scale(finite: list[float], log_from: float | None) -> Scale:
    """A scale that shows all, if need be by powers of ten; or the usual range, if a few values would flatten the rest."""
    low, high = finite[0], finite[-1]
    if log_from and low > 0 and high / low > log_from:
        return Scale(low / 1.2, high * 1.2, log=True)
    usual_low, usual_high = usual_range(finite)
    usual = usual_high - usual_low
    if usual > 0:
        low, high = max(low, usual_low - BEYOND * usual), min(high, usual_high + BEYOND * usual)
    room = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return Scale(low - room if low != 0 else low - room / 2, high + room)
