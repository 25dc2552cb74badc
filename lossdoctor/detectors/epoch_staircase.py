from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lossdoctor.base import LOSS_TELLS_NOTHING, Detector
from lossdoctor.language import say
from lossdoctor.model import Severity, Symptom
from lossdoctor.stats import MAD_TO_SD, median
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class EpochStaircase(Detector):
    """The loss falls in steps at the epoch boundaries.

    ## What it watches
    The level of `loss` before and after each whole `epoch`, against the same comparison at other places of the epochs: a
    descent that is steep everywhere is no staircase. Steps of 5 % are a note, since most good runs have them in their second
    epoch; 15 % at several boundaries, or 25 % at a single one, are a warning. While the evaluation loss holds it
    stays a note.

    ## Why it matters
    The model sees each example again and knows it from the last time: it memorises. The training loss no longer tells how
    good the model is on anything new; only an evaluation set does.

    ## What it misses
    Epochs of fewer than eight rows, unless the steps are plain, and logs without an epoch column.
    """

    says = "the loss drops by {drop:.0%} at each of {boundaries:.0f} epoch boundaries, the first at step {onset:,}"
    says_once = "the loss drops by {drop:.0%} where epoch {epoch:.0f} ends, at step {onset:,}"
    rows_per_epoch: float = 8.0
    drop_to_note: float = 0.05
    drop_to_warn: float = 0.15
    drop_at_one: float = 0.25
    #: With three to eight rows per epoch, and rows that hardly move between.
    drop_of_few: float = 0.10
    deviations: float = 4.0
    #: A single boundary must stand out further.
    deviations_of_one: float = 6.0
    rows_for_one: int = 24

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        columns = vitals.history.columns()
        if few := self._few(vitals):
            yield few
        if few or self.blind(vitals) or (vitals.epoch or 0) < 1.1:
            return
        loss, epoch = columns["loss"], columns["epoch"]
        rows_per_epoch = (len(loss) - 1) / max(1e-9, epoch[-1] - epoch[0])
        side = int(min(12, max(3, rows_per_epoch // 3)))
        boundaries = [place for whole in range(1, int(epoch[-1]) + 1) if (place := bisect_left(epoch, whole + 1e-9)) > 0]
        drops = [(place, drop) for place in boundaries if (drop := _drop(loss, place, side)) is not None]
        shifts = [shift for part in range(2, 7) if (shift := round(rows_per_epoch * part / 8)) >= 2]
        elsewhere = [drop for place, _ in drops for s in shifts if (drop := _drop(loss, place - s, side)) is not None]
        if len(elsewhere) < 3:
            return
        sizes = [drop for _, drop in drops]
        usual, mean = median(elsewhere), sum(sizes) / len(sizes)
        scatter = max(MAD_TO_SD * median(abs(drop - usual) for drop in elsewhere), 0.005)
        excess = mean - usual
        sure = excess / (scatter / len(sizes) ** 0.5)
        once = len(sizes) == 1
        if excess < (2 if once else 1) * self.drop_to_note or sure < (self.deviations_of_one if once else self.deviations):
            return
        if (once and len(loss) < self.rows_for_one) or (not once and min(sizes) < 0.3 * mean):
            return
        severity: Severity = "warning" if excess > (self.drop_at_one if once else self.drop_to_warn) else "info"
        if vitals.eval_holds:
            severity = "info"
        place = drops[0][0]
        yield self.symptom(
            severity,
            int(columns["step"][place]),
            vitals.step,
            says=self.says_once if once else self.says,
            drop=mean,
            excess=excess,
            boundaries=float(len(sizes)),
            epoch=float(round(epoch[place])),
            level=vitals.curve.recent,
        )

    def _few(self, vitals: Vitals) -> Symptom | None:
        """Three to eight rows per epoch: every boundary is a step down, and the rows between them hardly move."""
        columns, last = vitals.history.columns(), int((vitals.epoch or 0.0) + 1e-9)
        loss, epoch = columns["loss"], columns["epoch"]
        if last < 2 or not vitals.loss_tells or not 3 <= vitals.history.rows / last < self.rows_per_epoch or epoch[0] != epoch[0]:
            return None
        epochs = [[value for value, at in zip(loss, epoch, strict=True) if n < at <= n + 1 + 1e-9] for n in range(last)]
        if min(map(len, epochs)) < 3 or min(map(min, epochs)) <= 0:
            return None
        within = [abs(sum(rows[:2]) - sum(rows[-2:])) / sum(rows[:2]) for rows in epochs]
        drops = [(sum(a[-2:]) - sum(b[:2])) / sum(a[-2:]) for a, b in pairwise(epochs)]
        if min(drops) < self.drop_of_few or max(within) > 0.5 * min(drops):
            return None
        mean, place = sum(drops) / len(drops), len(epochs[0])
        evidence: dict[str, Any] = {
            "drop": mean,
            "excess": mean,
            "boundaries": float(len(drops)),
            "epoch": 1.0,
            "level": vitals.curve.recent,
        }
        return self.symptom("info", int(columns["step"][place]), vitals.step, **evidence)

    def blind(self, vitals: Vitals) -> str | None:
        epoch = vitals.epoch
        if not vitals.loss_tells:
            return say(LOSS_TELLS_NOTHING)
        if epoch is None:
            return say("no epoch was logged")
        if epoch >= 1.1 and vitals.history.rows / epoch < self.rows_per_epoch:
            return say(
                "about {rows:.2g} rows per epoch: too few to see steps at its boundaries", rows=vitals.history.rows / epoch
            )
        return None


def _drop(loss: Sequence[float], place: int, side: int) -> float | None:
    """How far the level falls at a row, as a share; the row itself may lie on both sides of a boundary and does not count."""
    if place - side < 0 or place + 1 + side > len(loss):
        return None
    before, after = median(loss[place - side : place]), median(loss[place + 1 : place + 1 + side])
    return (before - after) / before if before > 0 else None
