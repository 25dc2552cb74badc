"""How fast a run goes on and when it will be over, from the times at which its steps were seen."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from lossdoctor.language import say
from lossdoctor.stats import median

#: Recent moments that count: the pace of hours ago, before an evaluation grew or a neighbour left the GPU, does not.
RECENT = 20
#: A pause this many times the usual one was sleep, not training.
ASLEEP = 20.0
#: Without a new row for this many times the usual, and this many seconds, a run is quiet.
QUIET_TIMES, QUIET_SECONDS = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is: `total` steps and `left` seconds where they are known, `quiet` seconds without a row where that is long."""

    step: int | None = None
    total: int | None = None
    epoch: float | None = None
    seconds_per_step: float | None = None
    left: float | None = None
    quiet: float | None = None
    ended: bool = False

    @property
    def share(self) -> float | None:
        """Of all steps those that are done, between 0 and 1."""
        return min(1.0, self.step / self.total) if self.total and self.step is not None else None


class Pace:
    """Times in seconds and the steps reached by then; a step that is lower begins anew."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=RECENT)

    def add(self, time: float, step: int) -> None:
        """The run had reached `step` at `time`; the first time counts."""
        if self._seen and step < self._seen[-1][1]:
            self._seen.clear()
        if not self._seen or (step > self._seen[-1][1] and time > self._seen[-1][0]):
            self._seen.append((time, step))

    @property
    def seconds_per_step(self) -> float | None:
        """The recent pace with the evaluations and the saving in it; None until two different steps were seen."""
        parts = [(late - early, last - first) for (early, first), (late, last) in pairwise(self._seen)]
        if not parts:
            return None
        usual = median(time / steps for time, steps in parts)
        awake = [part for part in parts if part[0] <= ASLEEP * usual * part[1]]
        return sum(time for time, _ in awake) / sum(steps for _, steps in awake)

    def left(self, total: int | None, now: float) -> float | None:
        """Seconds until `total` steps are done; None where nobody can tell."""
        pace = self.seconds_per_step
        if total is None or pace is None:
            return None
        time, step = self._seen[-1]
        return max(0.0, (total - step) * pace - max(0.0, min(now - time, self._between())))

    def quiet(self, now: float) -> float | None:
        """Seconds since the last step where that is far longer than usual."""
        if not self._seen:
            return None
        silent = now - self._seen[-1][0]
        return silent if silent > max(QUIET_SECONDS, QUIET_TIMES * self._between()) else None

    def _between(self) -> float:
        """The usual seconds between two rows; 0 where that is not known."""
        return median(late - early for (early, _), (late, _) in pairwise(self._seen)) if len(self._seen) > 1 else 0.0


def clock(seconds: float) -> str:
    """A duration as people say it: 45 s, 12 min, 3 h 05 min, 2 d 4 h."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return say("{minutes} min", minutes=minutes)
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return say("{hours} h {minutes:02} min", hours=hours, minutes=minutes)
    return f"{hours // 24:,} d {hours % 24} h"
