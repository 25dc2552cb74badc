from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite, sqrt
from typing import Any

from lossdoctor.base import Detector, Streak, counted
from lossdoctor.curve import Curve
from lossdoctor.language import say
from lossdoctor.model import RANK, Record, Severity, Symptom
from lossdoctor.stats import MAD_TO_SD, median
from lossdoctor.trend import smooth
from lossdoctor.vitals import Vitals

#: Means of so many rows; from so many of them on neighbours are merged, so that a long run is 16 to 32 of them.
WIDTH, BLOCKS = 3, 32
#: Rows in which the beginning of the fall is looked for to the row.
RECENT = 128


@dataclass(eq=False, repr=False)
class RewardCollapse(Detector):
    """The reward has fallen for good, far below its best.

    ## What it watches
    The median of the last five values of `reward` against the best level of the run (a median of up to 31 rows): half of that
    level is lost, or most of what had been gained since the start. The fall is far outside the scatter of single rows (from
    second differences), more than slow changes add up to (from the steps between the means of up to 32 blocks), deeper than
    any from which the reward came back, and lasts. It is critical where the reward is as low as it ever was and four fifths
    are lost. It ends when most of the fall has been made good.

    ## Why it matters
    The reward is what reinforcement learning trains for, and the loss shows nothing of this. The policy has left the region in
    which its answers made sense, and seldom finds back: checkpoints from before the fall are the ones to keep.

    ## What it misses
    A reward that is gamed: it rises while the answers get worse. Falls of less than half, or of a reward far from 0 that
    had gained little. A change of the data or of the reward function looks the same.
    """

    series = "reward"
    says = "the reward falls from {best:.3g} (step {best_step:,.0f}) to {now:.3g} at step {last:,}"
    says_of_level = (
        "the reward falls from {best:.3g} (step {best_step:,.0f}) to {now:.3g} at step {last:,}: {lost:.0%} of it is lost"
    )
    says_of_gain = (
        "the reward falls from {best:.3g} (step {best_step:,.0f}) to {now:.3g} at step {last:,}: {lost:.0%} of what it had "
        "gained is lost"
    )
    says_back = "the reward falls from {best:.3g} (step {best_step:,.0f}) to {low:.3g} and is back at {now:.3g} by step {last:,}"
    rows: int = 20
    lost_level: float = 0.5
    #: A gain counts where it is this share of the best level or more, and as far outside the noise as the fall must be.
    gain: float = 0.25
    lost_gain: float = 0.7
    deviations: float = 5.0
    #: Slow changes add up: so many times what a random walk of as many steps as there are blocks gives.
    wandering: float = 2.2
    dips: float = 1.5
    #: Of so many rows three quarters are down, and this goes on for this share of all rows, or half as many.
    rows_running: int = 10
    share_running: float = 0.08
    #: Critical: this share is lost (where of the gain alone, that share of the level as well), down to nearly the lowest level.
    lost_critical: float = 0.8
    level_critical: float = 0.6
    lowest: float = 0.1
    healed: float = 0.3
    rows_without: int = 50  # after so many it is no such run

    def __post_init__(self) -> None:
        self._curve = Curve()  # of the reward upside down: its best is the lowest
        self._blocks: list[float] = []
        self._sum, self._width = 0.0, WIDTH  # of the block that is being filled
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT)
        self._lowest = float("inf")
        self._streak = Streak()
        self._symptom: Symptom | None = None
        self._worst: Severity = "warning"
        self._best = self._best_step = self._fall = self._dip = self._largest_dip = 0.0
        self._closed = self._without = 0

    @property
    def settled(self) -> bool:
        return self._without > self.rows_without

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        reward = record.values.get("reward", float("nan"))
        self._without = 0 if isfinite(reward) else self._without + 1
        if self._without:
            return None
        self._see(reward, vitals)
        curve = self._curve
        if curve.best is None:
            return None
        self._lowest = min(self._lowest, -curve.recent)
        self._watch_dips(curve.best)
        if self._symptom is not None:
            return self._follow(vitals)
        if curve.rows < self.rows or not self._fallen(curve.best):
            self._streak.stop()
            return None
        if self._streak.add(vitals.step, vitals.step) < max(self.rows_running // 2, self.share_running * curve.rows):
            return None
        self._best, self._best_step = -curve.best, float(curve.best_step)
        self._fall = self._best + curve.recent
        self._symptom = self._state(self._onset(), vitals)
        self._worst = self._symptom.severity
        return self._symptom

    def _see(self, reward: float, vitals: Vitals) -> None:
        self._curve.push(-reward, vitals.step)
        self._recent.append((vitals.step, reward))
        self._sum += reward
        if self._curve.rows % self._width == 0:
            self._blocks.append(self._sum / self._width)
            self._sum = 0.0
            if len(self._blocks) == BLOCKS:
                self._blocks = [(a + b) / 2 for a, b in zip(self._blocks[::2], self._blocks[1::2], strict=True)]
                self._width *= 2

    def _watch_dips(self, best: float) -> None:
        """Remembers the deepest fall from which the reward came back."""
        down = self._curve.standing(self.rows_running) - best
        self._dip = max(self._dip, down)
        if down <= self.healed * self._dip:
            self._largest_dip, self._dip = max(self._largest_dip, self._dip), 0.0

    def _fallen(self, best: float) -> bool:
        """Whether the reward is far below its best level, and three quarters of the last rows are."""
        curve = self._curve
        fall = curve.recent - best
        if fall <= self.deviations * 0.56 * curve.jitter or curve.standing(self.rows_running) - best < 0.5 * fall:
            return False
        level, gained = self._lost(-best, -curve.recent)
        lost = level >= self.lost_level or gained >= self.lost_gain
        return lost and fall > max(self._wander(), self.dips * self._largest_dip)

    def _wander(self) -> float:
        """How far a level may wander by chance that takes such steps from block to block.

        Steps are the mean of two estimates, differences and second differences: only the first count a trend. A third of what
        the scatter of rows adds is taken off.
        """
        blocks = self._blocks
        if len(blocks) < 3:
            return 0.0
        steps = median(abs(b - a) for a, b in pairwise(blocks))
        bends = median(abs(a - 2 * b + c) for a, b, c in zip(blocks, blocks[1:], blocks[2:], strict=False))
        step = MAD_TO_SD * (steps + bends / sqrt(2)) / 2
        slow = max(0.0, step * step - 0.75 * self._curve.jitter**2 / self._width)
        return self.wandering * sqrt(slow * len(blocks))

    def _lost(self, best: float, now: float) -> tuple[float, float]:
        """The share of the best level that is lost, and that of the gain since the start; 0 where there was no real gain."""
        fall, gain = best - now, best + self._curve.start
        real = gain >= self.gain * abs(best) and gain > self._wander()
        return min(1.0, fall / max(abs(best), abs(now), 1e-300)), (min(1.0, fall / gain) if real else 0.0)

    def _onset(self) -> int:
        """The first row that is more than a quarter down; the first that is remembered, where the fall took longer."""
        low = self._best - 0.25 * self._fall
        level = smooth([reward for _, reward in self._recent], 5)
        held = [step for (step, _), reward in zip(self._recent, level, strict=True) if reward >= low]
        return max(1, self._closed + 1, (held[-1] if held else self._recent[0][0] - 1) + 1)

    def _follow(self, vitals: Vitals) -> Symptom | None:
        known, now = self._symptom, -self._curve.recent
        assert known is not None
        self._fall = max(self._fall, self._best - now)
        if self._best - now <= self.healed * self._fall:
            self._symptom = None
            self._streak.stop()
            self._closed = vitals.step
            evidence: dict[str, Any] = {**known.evidence, "now": now, "low": self._best - self._fall}
            back = self.symptom(self._worst, known.onset, vitals.step, says=self.says_back, **evidence)
            return replace(back, open=False)
        self._symptom = self._state(known.onset, vitals)
        if RANK[self._symptom.severity] <= RANK[self._worst]:
            return None
        self._worst = self._symptom.severity
        return self._symptom

    def _state(self, onset: int, vitals: Vitals) -> Symptom:
        now = -self._curve.recent
        level, gained = self._lost(self._best, now)
        heavy = level >= self.lost_critical or (gained >= self.lost_critical and level >= self.level_critical)
        lowest = now <= self._lowest + self.lowest * (self._best - self._lowest)
        severity: Severity = "critical" if lowest and heavy else "warning"
        of_level = self._best > 0 and level >= min(gained, self.lost_critical)
        says = self.says_of_level if of_level else self.says_of_gain if gained >= level else self.says
        lost = level if of_level else max(level, gained)
        evidence: dict[str, Any] = {"best": self._best, "best_step": self._best_step, "now": now, "lost": lost}
        return self.symptom(severity, onset, vitals.step, says=says, **evidence)

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            yield self._state(self._symptom.onset, vitals)

    def blind(self, vitals: Vitals) -> str | None:
        rows = self._curve.rows
        if vitals.loss_tells or rows >= self.rows:
            return None
        return (
            say("{rows} with a reward: too few to tell a fall from noise", rows=counted(rows, "row"))
            if rows
            else say("no reward was logged")
        )
