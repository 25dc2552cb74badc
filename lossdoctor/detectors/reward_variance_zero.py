from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lossdoctor.base import Detector, Streak
from lossdoctor.model import Record, Severity, Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class RewardVarianceZero(Detector):
    """All answers of a group get the same reward, so nothing is learned.

    ## What it watches
    `reward_std` of exactly 0, or `frac_reward_zero_std` of 1, in several rows running; a log of fewer rows that has nothing
    else gives a note. It is the spread within a group of answers that counts; the spread of each reward over all data
    (`rewards/<name>/std`) may be large all the same.

    ## Why it matters
    GRPO and its relatives learn from the differences within a group. Where there are none the advantage, the loss and the
    gradient are 0: the step costs as much as any other and teaches nothing.

    ## What it misses
    Rows in which only most of the groups are alike.
    """

    series = "reward_std"
    says = "all answers of a group got the same reward in {rows:.0f} rows running from step {onset:,}: no advantage, no gradient"
    rows: int = 5
    #: After so many rows without these columns it is no such run.
    rows_without: int = 50
    rows_to_heal: int = 3

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._streak = Streak()
        self._other = self._without = 0
        self._from_start = True

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        spread, share = record.values.get("reward_std"), record.values.get("frac_reward_zero_std")
        if spread is None and share is None:
            self._without += 1
            return None
        self._without = 0
        if (share is None and spread != 0.0) or (share is not None and share < 1.0):
            return self._alive(vitals)
        self._other = 0
        self._streak.add(max(1, vitals.step - vitals.window + 1), vitals.step)
        if self._symptom is None and self._streak.rows >= self.rows:
            self._symptom = self._state()
            return self._symptom
        return None

    def _alive(self, vitals: Vitals) -> Symptom | None:
        self._other += 1
        if self._symptom is None or self._other >= self.rows_to_heal:
            closed = replace(self._state(), open=False) if self._symptom else None
            self._symptom = None
            self._streak.stop()
            self._from_start = False
            return closed
        return None

    def _state(self, severity: Severity = "warning") -> Symptom:
        streak = self._streak
        rows, start = float(streak.rows), float(self._from_start)
        return self.symptom(severity, streak.first, streak.last, rows=rows, from_first_row=start)

    @property
    def settled(self) -> bool:
        return self._without > self.rows_without

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            yield self._state()
        elif 0 < self._streak.rows == vitals.rows:  # all that was pasted
            yield self._state("info")
