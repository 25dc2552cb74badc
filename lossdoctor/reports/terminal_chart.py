"""A series as a small chart of Braille dots, two by four in a character: spikes stay visible, whatever the width."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, log10

from rich.text import Text

from lossdoctor import slips
from lossdoctor.language import say

#: The bit of each dot of a Braille character, by column and row from the top.
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
EMPTY = 0x2800
NOT_FINITE, ONSET = "×", "▲"
#: Values that span more than this are drawn on a logarithmic scale.
DECADES = 2.0
WIDEST_LABEL = 9


@dataclass(frozen=True)
class Series:
    """What to draw: points (step, value) in the order of their steps, and the style of the line."""

    name: str
    points: Sequence[tuple[int, float]]
    style: str = "cyan"
    marks: Mapping[int, str] = field(default_factory=dict)  # step at which something began → style
    logarithmic: bool = False  # where the values span enough


def chart(series: Series, width: int, height: int, steps: tuple[int, int]) -> list[Text]:
    """The title, `height` lines of the curve with the values at its top and bottom, and a line with the marks if there are any.

    Every line has at most `width` columns, and `steps` are the first and the last of the horizontal axis: charts beside each
    other share it. Where a value was not finite, × stands at the bottom.
    """
    finite = [value for _, value in series.points if isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    scaled = _is_logarithmic(series, finite)
    if scaled:
        low = min(value for value in finite if value > 0)
    labels = [short(high), short(low)] if high > low else ["", short(low) if finite else ""]
    gutter = min(WIDEST_LABEL, max(map(len, labels)))
    columns = max(1, width - gutter - 1)
    share = _shares(low, high, scaled)
    bounds, broken = _columns(series.points, columns * 2, steps)
    cells = _dots(bounds, columns, height, share)
    lines = [_title(series, scaled, width)]
    for row, codes in enumerate(cells):
        label = labels[0] if row == 0 else labels[1] if row == height - 1 else ""
        line = Text(f"{label:>{gutter}} "[: gutter + 1], "dim", no_wrap=True)
        for column, code in enumerate(codes):
            if row == height - 1 and broken[column]:
                line.append(NOT_FINITE, "red")
            else:
                line.append(chr(EMPTY + code) if code else " ", series.style)
        lines.append(line)
    return lines + _marks(series, gutter + 1, columns, steps)


def short(value: float) -> str:
    """A value in at most eight characters or so."""
    if not value or not isfinite(value) or abs(value) >= 0.01:
        words = f"{value:.4g}"
        return words if len(words) < 8 else f"{value:.2g}"
    words = slips.short(float(f"{value:.3g}"))
    return words if len(words) <= 8 else f"{value:.0e}"


def _title(series: Series, scaled: bool, width: int) -> Text:
    ends = f"{short(series.points[0][1])} → {short(series.points[-1][1])}" if len(series.points) > 1 else ""
    ends = ends or (short(series.points[0][1]) if series.points else "")
    title = Text.assemble((say(series.name), "bold"), f"  {ends}", (say(" (log scale)") if scaled else "", "dim"), no_wrap=True)
    title.truncate(width)
    return title


def _is_logarithmic(series: Series, finite: Sequence[float]) -> bool:
    positive = [value for value in finite if value > 0]
    wanted = series.logarithmic and len(positive) * 2 > len(finite) and min(finite, default=0.0) >= 0
    return wanted and log10(max(positive)) - log10(min(positive)) > DECADES


def _shares(low: float, high: float, scaled: bool) -> Callable[[float], float]:
    """The function from a value to its height, 0 to 1."""

    def share(value: float) -> float:
        if not high > low:
            return 0.0
        if scaled:
            return (log10(max(value, low)) - log10(low)) / (log10(high) - log10(low))
        if not isfinite(high - low):  # further apart than numbers go
            return (value / 2 - low / 2) / (high / 2 - low / 2)
        return (value - low) / (high - low)

    return share


def _place(step: int, columns: int, steps: tuple[int, int]) -> int:
    first, last = steps
    share = (step - first) / (last - first) if last > first else 0.0
    return min(columns - 1, max(0, int(share * columns)))


def _columns(
    points: Sequence[tuple[int, float]], columns: int, steps: tuple[int, int]
) -> tuple[list[tuple[float, float] | None], list[bool]]:
    """The least and the largest value in each column of dots, and whether a whole character has nothing finite but a NaN."""
    bounds: list[tuple[float, float] | None] = [None] * columns
    broken = [False] * (columns // 2)
    for step, value in points:
        place = _place(step, columns, steps)
        if not isfinite(value):
            broken[place // 2] = True
            continue
        low, high = bounds[place] or (inf, -inf)
        bounds[place] = (min(low, value), max(high, value))
    return bounds, broken


def _dots(
    bounds: Sequence[tuple[float, float] | None], columns: int, height: int, share: Callable[[float], float]
) -> list[list[int]]:
    """The characters' codes by line from the top: each column filled from its least to its largest, joined to the one before."""
    cells = [[0] * columns for _ in range(height)]
    levels = height * 4 - 1
    before: tuple[int, int, int] | None = None  # column of dots, and its range
    for place, bound in enumerate(bounds):
        if bound is None:
            continue
        bottom, top = (round(share(value) * levels) for value in bound)
        ranges = {place: (bottom, top)}
        if before is not None:
            ranges |= _joined(before, (place, bottom, top))
        for column, (low, high) in ranges.items():
            for level in range(low, high + 1):
                row, dot = divmod(levels - level, 4)
                cells[row][column // 2] |= DOTS[column % 2][dot]
        before = place, bottom, top
    return cells


def _joined(one: tuple[int, int, int], other: tuple[int, int, int]) -> dict[int, tuple[int, int]]:
    """The dots between two columns, and those that close the gap between their ranges."""
    (start, low, high), (end, bottom, top) = one, other
    if bottom > high:
        from_level, to_level = high, bottom
    elif top < low:
        from_level, to_level = low, top
    else:
        from_level = to_level = max(low, bottom)
    found = {}
    last = from_level
    for column in range(start + 1, end + 1):
        level = round(from_level + (to_level - from_level) * (column - start) / (end - start))
        found[column] = (min(last, level), max(last, level))
        last = level
    low, high = found[end]
    found[end] = (min(low, bottom), max(high, top))
    return found


def _marks(series: Series, indent: int, columns: int, steps: tuple[int, int]) -> list[Text]:
    inside = {step: style for step, style in series.marks.items() if steps[0] <= step <= steps[1]}
    if not inside:
        return []
    line = [(" ", "")] * columns
    for step, style in inside.items():
        line[_place(step, columns, steps)] = (ONSET, style)
    return [Text.assemble(" " * indent, *line, no_wrap=True)]
