from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite

from lossdoctor.base import Detector
from lossdoctor.model import RANK, Record, Severity, Symptom
from lossdoctor.probe_columns import LOSSES
from lossdoctor.vitals import Vitals
from lossdoctor.zeros import faded, telling_gradient


@dataclass(eq=False, repr=False)
class LossIntermittentZero(Detector):
    """Single rows have a loss of exactly 0.0 between normal ones.

    ## What it watches
    `loss`: zeros that a normal row follows, where the rows around are far above anything that could be printed as 0. One is
    a note, several are a warning; more than a quarter of all rows in several places, without labels as an explanation, are
    critical.

    ## Why it matters
    Each such row is a step whose loss was NaN and was filtered out of the log, or a batch without a single supervised
    token. The weights survived it; the data of that step taught nothing.

    ## What it misses
    With several steps per row such a step only lowers the average a little. In reinforcement learning and preference
    tuning, and for losses with a margin, a zero is an ordinary value. Live, the losses themselves are seen, and
    `hidden-nan-steps` names the steps.
    """

    says = "the loss is exactly 0.0 in {zero_rows:.0f} of {rows:.0f} rows, between normal ones"
    rows_to_warn: int = 2
    #: From this share of all rows on, unless their gradient is 0 (no labels) rather than NaN, the run is lost.
    share_to_condemn: float = 0.25
    blocks_to_condemn: int = 3
    #: The level must be this many times the smallest loss the log can print.
    faded: float = 1000.0
    #: Healed after this many rows without a zero, or five for every zero there was.
    rows_to_heal: int = 30

    def __post_init__(self) -> None:
        self._zeros = self._blocks = self._pending = self._clean = self._not_finite = self._zero_gradient = 0
        self._first = self._last = 0
        self._told: Severity | None = None
        self._done = False

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if vitals.loss is None or not vitals.supervised or self._done or vitals.watches(LOSSES):
            return None
        if vitals.loss == 0.0:
            self._zero(vitals)
            return None
        norm = vitals.grad_norm
        if norm is not None and not isfinite(norm):
            return None
        if self._pending:
            self._zeros += self._pending
            self._blocks += 1
            self._pending = self._clean = 0
        self._clean += 1
        if self._told and self._clean >= max(self.rows_to_heal, 5 * self._zeros):
            self._done = True  # one episode is told of; a second one would be of another identity and say the same
            return replace(self._state(vitals), open=False)
        severity = self._severity(vitals)
        if severity and RANK[severity] > RANK.get(self._told or "", -1):
            self._told = severity
            return self._state(vitals)
        return None

    def _zero(self, vitals: Vitals) -> None:
        norm = vitals.grad_norm
        if not vitals.clean_rows or telling_gradient(norm):
            return
        if not self._zeros and (faded(vitals) or vitals.level <= self.faded * vitals.loss_resolution):
            return
        if not self._zeros and not self._pending:
            self._first = vitals.step - vitals.window + 1
        self._pending += 1
        self._last = vitals.step
        if norm is not None:
            self._not_finite += not isfinite(norm)
            self._zero_gradient += norm == 0.0

    def _severity(self, vitals: Vitals) -> Severity | None:
        if not self._zeros:
            return None
        many = self._blocks >= self.blocks_to_condemn and self._zeros >= self.share_to_condemn * vitals.rows
        if many and self._zero_gradient < self._zeros // 2:
            return "critical"
        return "warning" if self._zeros >= self.rows_to_warn else "info"

    def _state(self, vitals: Vitals) -> Symptom:
        return self.symptom(
            self._severity(vitals) or "info",
            self._first,
            self._last,
            zero_rows=float(self._zeros),
            blocks=float(self._blocks),
            rows=float(vitals.rows),
            level_before=vitals.level,
            gradient_not_finite_rows=float(self._not_finite),
            gradient_zero_rows=float(self._zero_gradient),
        )

    @property
    def settled(self) -> bool:
        return self._done or not (self._told or self._zeros or self._pending)

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._told and not self._done:
            yield self._state(vitals)
