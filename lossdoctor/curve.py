"""The loss curve as it unfolds: level, noise, best and first level, robust against single rows, in bounded memory."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from lossdoctor.stats import MAD_TO_SD, RunningMedian, median, noise_of_bends

if TYPE_CHECKING:
    from lossdoctor.stretch import Stretch

#: A residual counts at most this many standard deviations, so that one spike does not hide the next.
WINSOR = 5.0
#: Noise is never taken for less than this share of the level: rounding, and runs whose first rows happen to agree.
LEAST_NOISE = 0.003
LEAST_NOISE_OF_ALL = 1e-4
#: Rows that the lowest level is a median of: a quarter of those there are, between seven and 31.
BEST_LEAST, BEST_MOST = 7, 31
#: In a long run the lowest level is looked for once in so many rows.
BEST_EVERY = 8
#: A residual is compared with the noise from this share of the level on.
BIG = 0.1
#: Rows for which the largest residual is remembered.
MEMORY = 256


class Memory(NamedTuple):
    """The last of what a curve keeps, the oldest first: losses, second differences, residuals; the largest with their rows."""

    losses: list[float]
    bends: list[float]
    above: list[float]
    largest: list[tuple[int, float]]


class Curve:
    """Takes finite, non-zero losses, each once: a table that repeats the last loss beside every evaluation adds no row."""

    def __init__(self) -> None:
        self.rows = 0
        #: Medians of the last five losses, with this row and without it; a short window follows a steep descent.
        self.recent = self.recent_before = 0.0
        #: The lowest median of up to 31 rows, and the step where it was; None while there are too few.
        self.best: float | None = None
        self.best_step = 0
        #: Levels up to here are within 15 % of the best and need no second look.
        self.calm_below = float("-inf")
        self.first: list[float] = []
        #: Median of the first three losses; 0.0 before the first.
        self.start = 0.0
        self.last = self.last_before = 0.0
        self._five: deque[float] = deque(maxlen=5)
        self._many: deque[float] = deque(maxlen=BEST_MOST)
        self._bends = RunningMedian(64)
        self._last_bend = 0.0
        self._above = RunningMedian(32)
        #: The residuals of the last 256 rows that no later one exceeds, largest first.
        self._largest: deque[tuple[int, float]] = deque()

    @property
    def changes(self) -> int:
        """How many differences the noise is an estimate from."""
        return len(self._bends)

    @property
    def lowest(self) -> float:
        """The best level so far, or the start, whichever is lower."""
        return self.start if self.best is None else min(self.start, self.best)

    def scale_at(self, level: float) -> float:
        """What a change from `level` is measured against: itself, or a fifth of the descent to it where it has become small."""
        return max(abs(level), 0.2 * (self.start - level))

    @property
    def scale(self) -> float:
        """What a jump is measured against: the level, or a fifth of the whole descent where the level has become small."""
        low = self.recent if self.best is None else min(self.recent, self.best)
        return max(abs(self.recent), 0.2 * (self.start - low))

    @property
    def jitter(self) -> float:
        """Standard deviation of a row, from second differences: no trend touches them, up or down."""
        return noise_of_bends(self._bends.median)

    @property
    def jitter_before(self) -> float:
        """The same without the last row."""
        bends = sorted(self._bends.values())
        if bends:
            bends.remove(self._last_bend)
        return noise_of_bends(median(bends)) if bends else 0.0

    @property
    def noise(self) -> float:
        """Standard deviation of a row around the level, of the larger of two estimates.

        Second differences are not touched by a trend; residuals above the level are right where rows are correlated, and
        count for up to twice the differences, since a climb consists of nothing else.
        """
        noise = self.jitter
        if len(self._above) >= 8:
            noise = max(noise, min(MAD_TO_SD * self._above.median, 2 * noise))
        return max(noise, LEAST_NOISE * abs(self.recent), LEAST_NOISE_OF_ALL)

    def standing(self, rows: int) -> float:
        """What three quarters of the last `rows` losses (up to 31) are above."""
        late = sorted(islice(self._many, max(0, len(self._many) - rows), None))
        return late[len(late) // 4] if late else 0.0

    @property
    def largest_residual(self) -> float:
        """How far above the level a row of the last 256 was; 0.0 where none was."""
        return self._largest[0][1] if self._largest else 0.0

    def push(self, loss: float, step: int) -> None:
        """Takes the next loss."""
        self.rows += 1
        if self.rows <= 3:
            self.first.append(loss)
            self.start = median(self.first)
        five = self._five
        base = self.recent_before = self.recent
        if self.rows > 2:
            self._last_bend = abs(loss - 2 * self.last + self.last_before)
            self._bends.push(self._last_bend)
            if self.rows > 5 and loss > base:
                residual = loss - base
                self._above.push(residual)
                if residual > BIG * abs(base) and residual > WINSOR * self.jitter:  # which the noise is never below
                    residual = min(residual, WINSOR * self.noise)
                self._remember(self.rows, residual)
        five.append(loss)
        self.recent = sorted(five)[2] if len(five) == 5 else median(five)
        self.last_before, self.last = self.last, loss
        self._many.append(loss)
        if self.rows >= BEST_LEAST and self.rows % (1 if self.rows < 32 else BEST_EVERY) == 0:
            width = min(BEST_MOST, max(BEST_LEAST, self.rows // 4))
            late = sorted(islice(self._many, len(self._many) - width, None))
            level = late[width // 2]
            if self.best is None or level < self.best:
                self.best, self.best_step = level, step
            self.calm_below = self.lowest + 0.15 * self.scale_at(self.lowest)

    def _remember(self, row: int, residual: float) -> None:
        largest = self._largest
        while largest and largest[-1][1] <= residual:
            largest.pop()
        largest.append((row, residual))
        while largest[0][0] <= row - MEMORY:
            largest.popleft()

    @property
    def full(self) -> bool:
        """Whether noise and levels are of as many rows as they will ever be."""
        return len(self._bends) == self._bends.window and len(self._above) == self._above.window and len(self._many) == BEST_MOST

    def memory(self) -> Memory:
        """What the levels and the noise of the next rows follow from."""
        return Memory(list(self._many), list(self._bends.values()), list(self._above.values()), list(self._largest))

    def skip(self, stretch: Stretch) -> None:
        """Goes on to the state that `push` with each loss of a stretch would lead to."""
        for row, residual in stretch.residuals():
            self._remember(row, residual)
        self.rows += stretch.rows
        last = stretch.columns["loss"][-BEST_MOST:]
        self._five.extend(last)
        self._many.extend(last)
        self.last_before, self.last = last[-2:]
        self._bends.extend(stretch.bends[-self._bends.window :].tolist())
        self._last_bend = float(stretch.bends[-1])
        self._above.extend(stretch.above[-self._above.window :].tolist())
        self.recent_before, self.recent = float(stretch.recent_before[-1]), float(stretch.recent[-1])
        if stretch.best_place is not None:
            self.best, self.best_step = float(stretch.best[-1]), stretch.columns["step"][stretch.best_place]
        self.calm_below = self.lowest + 0.15 * self.scale_at(self.lowest)
