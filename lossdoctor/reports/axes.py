"""Where things stand on a chart: steps from left to right, one panel under the other."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from lossdoctor.reports.panels import Panel

#: Pixels of the whole picture, at its sides, above the first panel, below the last one, and between two.
WIDTH, LEFT, RIGHT, TOP, BOTTOM, GAP = 880, 62, 26, 24, 30, 32
#: Heights of the first panel and of the others.
TALL, LOW = 230, 96


class Axes:
    """`x` and `y` of a step and of a value in a panel, in pixels."""

    width = WIDTH - LEFT - RIGHT

    def __init__(self, panels: Sequence[Panel], span: tuple[int, int]) -> None:
        self.panels = panels
        self.first, self.last = span
        self.heights = [LOW if place else TALL for place in range(len(panels))]
        self.tops = [TOP + sum(self.heights[:place]) + GAP * place for place in range(len(panels))]
        self.height = self.tops[-1] + self.heights[-1] + BOTTOM

    def x(self, step: float) -> float:
        """What lies outside is held at the edge."""
        inside = min(max(step, self.first), self.last)
        return LEFT + self.width * (inside - self.first) / max(1, self.last - self.first)

    def y(self, place: int, value: float) -> float:
        """A value that is not finite stands at the top."""
        share = self.panels[place].scale.place(value) if isfinite(value) else 1.0
        return self.tops[place] + self.heights[place] * (1 - share)
