from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from lossdoctor.base import LOSS_TELLS_NOTHING, Detector, Streak, counted
from lossdoctor.language import say
from lossdoctor.model import RANK, Record, Severity, Symptom
from lossdoctor.stats import median, noise_of_bends
from lossdoctor.trend import bend_step, detour
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LossDivergence(Detector):
    """The loss climbs and stays up.

    ## What it watches
    The median of the last five losses against the lowest level of the run (of 31 rows) and against the first rows: a fifth
    above the best, or 15 % above the start, far outside the noise, in five rows running. In logs of a few rows, which
    average hundreds of steps each, three rows above all that came before are enough. Above the start it is critical:
        the model is worse than before training. The first row of all counts as the start where the climb begins with it, as
    under a rate that is far too high already in the warm-up; if the loss comes back from there, a warning stays. So it
    does after a lower climb, of 5 %, that more than half of the run was needed to come back from.

    ## Why it matters
    A loss that climbs for many steps is not noise: the steps are too long, or the numbers are no longer right. What was
    learned is being lost, and the later checkpoints are worse than the earlier ones.

    ## What it misses
    A climb slower than the noise of the rows. Data that becomes harder in the course of an epoch looks the same.
    """

    incident = "rise"
    says = "the loss climbs from {best:.4g} (step {best_step:,.0f}) to {now:.4g} at step {last:,}"
    says_start = "the loss climbs above its start: {now:.4g} at step {last:,}, {start:.4g} in the first rows"
    says_back = "the loss climbs from {best:.4g} (step {best_step:,.0f}) to {peak:.4g} and is back at step {last:,}"
    says_scar = "the loss climbed from {start:.4g} to {peak:.4g} in the first steps, and was back only at step {last:,}"
    above_best: float = 0.20
    above_start: float = 0.15
    deviations: float = 5.0
    rows_running: int = 5
    rows: int = 7
    #: In a log of so few rows the first of them may tell data of two kinds.
    rows_of_excerpt: int = 60
    #: Lost beyond repair: this many times the best level, once it stays there.
    lost: float = 2.0
    #: In a log of fewer rows, this many above all of the four before.
    few_rows: int = 20
    few_running: int = 3
    #: There a row within this share of the rise, and of `above_best`, is still low: the climb begins after the last of them.
    foot: float = 0.25
    #: A row that averages so many steps may speak for itself.
    steps_of_a_row: int = 200
    recovered: float = 0.10
    #: A climb from the very first row: by this share, and this many standard deviations of a row.
    above_first: float = 0.10
    sure: float = 5.0
    #: A climb by this share counts where the run took more than half of its rows to come back from it.
    detour: float = 0.05

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._streak = Streak()
        self._best = self._noise = 0.0
        self._best_step = self._closed = 0
        self._worst: Severity = "warning"
        self._peak = 0.0
        self._first: float | None = None  # the first row, where the climb began with it
        self._scar: Symptom | None = None
        self._all: deque[tuple[int, float]] = deque(maxlen=self.few_rows)

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        loss, curve = vitals.loss, vitals.curve
        if curve.recent <= curve.calm_below and curve.rows > self.few_rows and self._symptom is None:
            self._streak.rows = 0
            return None
        if not loss or loss != loss or not vitals.loss_tells or vitals.repeated:
            return None
        if curve.rows <= self.few_rows:
            self._all.append((vitals.step, loss))
        if self._symptom is not None:
            return self._follow(vitals)
        if curve.rows < self.rows:
            return None
        few = self._few(vitals) if curve.rows <= self.few_rows else None
        return few or self._many(vitals)

    def _many(self, vitals: Vitals) -> Symptom | None:
        """Rows enough for medians: five rows running above the best level, or above the start."""
        curve, recent = vitals.curve, vitals.curve.recent
        start = curve.start
        best = curve.lowest
        risen, lost = recent - best, recent - start
        if risen <= self.above_best * curve.scale_at(best) and lost <= self.above_start * abs(start):
            self._streak.stop()
            return None
        noise = 0.56 * curve.noise  # of a median of five
        spread = max(curve.first) - min(curve.first)
        if risen <= self.deviations * noise or (risen == lost and lost <= 2 * spread):
            self._streak.stop()
            return None
        if self._streak.add(vitals.step - vitals.window + 1, vitals.step) < self.rows_running:
            return None
        if curve.rows <= self.rows_of_excerpt and max(curve.first) > 0.9 * recent and min(curve.first) < 1.2 * best:
            return None  # the first rows lie on both levels already: data of two kinds
        if curve.standing(min(15, curve.rows // 4)) - best < 0.4 * risen:
            return None  # data of two kinds: rows of the lower kind are still there
        self._best = best
        begun = bend_step(vitals.history, after=self._closed)
        self._best_step = min(begun, curve.best_step) if best < start else vitals.first_step or 1
        return self._open(max(1, begun - vitals.usual_window + 1), vitals)

    def _open(self, onset: int, vitals: Vitals) -> Symptom:
        self._peak = max(vitals.curve.recent, vitals.loss or 0.0)
        self._noise = min(vitals.curve.noise, 0.5 * abs(self._peak - self._best))
        self._symptom = self._state(onset, vitals)
        self._worst = self._symptom.severity
        return self._symptom

    def _few(self, vitals: Vitals) -> Symptom | None:
        """Few rows: all of them far above the first, or the last of them above those before."""
        rows = [loss for _, loss in self._all]
        first, rest = rows[0], rows[1:]
        all_far = min(rest) > max(self.lost * first, first + 8 * median(abs(b - a) for a, b in pairwise(rest)))
        if first > 0 and all_far:
            self._best, self._best_step = first, self._all[0][0]
            return self._open(self._all[1][0] - vitals.window + 1, vitals)
        return self._at_once(rows, vitals) or self._turned(rows, vitals) or self._jumped(rows, vitals)

    def _at_once(self, rows: list[float], vitals: Vitals) -> Symptom | None:
        """All of the last rows are far above the very first: the climb began before there was a level to climb from."""
        first, late = rows[0], rows[-self.rows_running :]
        opening, noise = vitals.run.get("opening_loss"), vitals.curve.jitter
        if opening and opening < first - self.sure * noise * vitals.usual_window**0.5:  # a single step scatters more than a row
            first = float(opening)
        if len(rows) <= self.rows_running or not vitals.random_batches or self._scar or first <= 0:
            return None
        if min(late) <= first or median(late) - first <= max(self.above_first * first, self.sure * noise):
            return None
        self._first, self._best, self._best_step = first, first, self._all[0][0]
        return self._open(max(1, self._all[1][0] - vitals.window + 1), vitals)

    def _turned(self, rows: list[float], vitals: Vitals) -> Symptom | None:
        """The last rows are all far above the second lowest: the curve has turned."""
        late = self.few_running if vitals.usual_window >= 5 else self.few_running + 1  # single batches scatter more
        low = sorted(rows)[1]
        bends = [abs(a - 2 * b + c) for a, b, c in zip(rows, rows[1:], rows[2:], strict=False)]
        risen = min(rows[-late:]) - low
        bar = max(self.above_best * abs(low), self.deviations * noise_of_bends(median(bends)))
        foot = low + min(self.foot * risen, self.above_best * vitals.curve.scale_at(low))
        if all(a < b for a, b in pairwise(rows[-late - 1 :])) and min(rows) in rows[-late - 1 : -late]:
            bar = min(bar, (self.lost - 1) * abs(low))  # each row above the one before since the best: no noise does that twice
        kinds = vitals.usual_window < 5 and max(rows[:-late]) > 0.9 * min(rows[-late:])  # single batches of two kinds
        if len(rows) >= late + 3 and risen > bar and not kinds:
            place = min(range(len(rows) - late), key=rows.__getitem__)
            self._best, self._best_step = rows[place], self._all[place][0]
            low_rows = [step for step, loss in list(self._all)[place:-late] if loss <= foot]
            return self._open(max(1, low_rows[-1] + 1), vitals)
        return None

    def _jumped(self, rows: list[float], vitals: Vitals) -> Symptom | None:
        """The last three rows, or one that averages hundreds of steps, are far above all of those just before."""
        quiet = 4 if vitals.usual_window >= 5 or len(rows) <= 10 else 8  # single batches of two kinds come in any order
        for running in (self.few_running, 2, 1):
            if running < self.few_running and vitals.usual_window < self.steps_of_a_row:
                break
            late, before = rows[-running:], rows[max(0, len(rows) - running - quiet) : -running]
            if len(before) < 4:
                continue
            usual = median(abs(b - a) for a, b in pairwise(before))
            gap = min(late) - max(before)
            needed = {self.few_running: self.above_best, 2: 0.5, 1: 1.0}[running] * abs(max(before))
            if gap > max(needed, 4 * usual):
                onset = self._all[-running][0] - vitals.window + 1
                self._best, self._best_step = min((loss, step) for step, loss in self._all)
                return self._open(onset, vitals)
        return None

    def _follow(self, vitals: Vitals) -> Symptom | None:
        known, recent = self._symptom, vitals.curve.recent
        assert known is not None
        self._peak = max(self._peak, recent, vitals.loss or recent)
        if recent < self._best + max(self.recovered * max(abs(self._best), 0.2 * vitals.curve.start), self._noise):
            self._symptom = None
            self._streak.stop()
            self._closed = vitals.step
            evidence: dict[str, Any] = {**known.evidence, "peak": self._peak}
            if self._first is not None:
                self._first = None
                self._scar = self.symptom("warning", known.onset, vitals.step, says=self.says_scar, **evidence)
                return self._scar
            back = self.symptom(self._worst, known.onset, vitals.step, says=self.says_back, **evidence)
            return replace(back, open=False)
        self._symptom = self._state(known.onset, vitals)
        if RANK[self._symptom.severity] <= RANK[self._worst]:
            return None
        self._worst = self._symptom.severity
        return self._symptom

    def _state(self, onset: int, vitals: Vitals) -> Symptom:
        curve = vitals.curve
        now = curve.recent if curve.rows > self.few_rows else vitals.loss or curve.recent
        start = curve.start if self._first is None else self._first
        worse = now - start > self.above_start * abs(start) and now > curve.first[0]
        ruined = now - self._best > (self.lost - 1) * curve.scale_at(self._best)
        severity: Severity = "critical" if worse or ruined else "warning"
        says = self.says_start if worse else self.says
        evidence: dict[str, Any] = {"best": self._best, "best_step": float(self._best_step), "start": start, "now": now}
        return self.symptom(severity, onset, vitals.step, says=says, **evidence)

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            yield self._state(self._symptom.onset, vitals)
        elif self._scar is not None:
            yield self._scar
        elif not self._closed and vitals.random_batches and (way := detour(vitals.history, self.detour, self.sure)):
            says = self.says_scar if way.back else self.says
            evidence: dict[str, Any] = way.evidence
            yield self.symptom("warning", way.onset, way.back or vitals.step, says=says, **evidence)

    def blind(self, vitals: Vitals) -> str | None:
        if not vitals.loss_tells:
            return say(LOSS_TELLS_NOTHING)
        return (
            say("{rows} with a usable loss: too few to tell a climb from noise", rows=counted(vitals.curve.rows, "row"))
            if vitals.curve.rows < self.rows
            else None
        )
