from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import inf

from lossdoctor.base import Detector, counted
from lossdoctor.language import say
from lossdoctor.model import RANK, Record, Severity, Symptom
from lossdoctor.named_steps import NAMED, NamedSteps
from lossdoctor.probe_columns import LABELLED, LOSSES, NONFINITE_LOSSES, PROCESS, UNLABELLED
from lossdoctor.vitals import Vitals


@dataclass
class Live:
    """What an instrument saw: steps, micro-batches, those of them without a label, and the processes that saw them."""

    steps: NamedSteps = field(default_factory=NamedSteps)
    batches: int = 0
    unlabelled: int = 0
    labels_seen: bool = True
    processes: set[int] = field(default_factory=set)
    severity: Severity | None = None
    open: bool = False

    def add(self, record: Record) -> None:
        values = record.values
        self.steps.add(record.step)
        self.batches += int(values[NONFINITE_LOSSES])
        self.unlabelled += int(min(values.get(UNLABELLED, 0.0), values[NONFINITE_LOSSES]))
        self.labels_seen = self.labels_seen and bool(values.get(LABELLED))
        if PROCESS in values and len(self.processes) < NAMED:
            self.processes.add(int(values[PROCESS]))

    def __str__(self) -> str:
        on = ", ".join(map(str, sorted(self.processes)))
        return say("the loss of {batches} was NaN {steps}", batches=counted(self.batches, "micro-batch"), steps=self.steps) + (
            say(", on rank {on}", on=on) if on else ""
        )


@dataclass(eq=False, repr=False)
class HiddenNanSteps(Detector):
    """Single steps had a NaN loss that the log filtered out.

    ## What it watches
    Live, the loss of every micro-batch before the Trainer filters it: the steps are named. Afterwards, two traces of the
    filter (`logging_nan_inf_filter`). Under gradient accumulation a NaN micro-batch multiplies the logged loss, so a row far
    above its neighbours beside a gradient norm *below* all of theirs is not a spike. And a gradient norm of exactly 0 beside a
    normal loss says that the last step of that row taught nothing.

    ## Why it matters
    The loss of these steps was NaN, or their batches had no labels. The weights survived; the curve lies.

    ## What it misses
    In a log, most of them: with five steps per row or more, a NaN step changes the average less than noise does. Only
    `LossDoctorCallback` sees these.
    """

    kinds = ("train", "probe")
    says = "{rows:.0f} rows look like NaN losses that the log filtered out, the first at step {onset:,}"
    inflated: float = 3.0
    gradient_below: float = 0.85
    back_within: float = 1.5
    rows_to_warn: int = 2
    clean_rows: int = 4
    #: In a run that is noisier than this (one standard deviation, as a share of the level) rows jump without a cause.
    noise: float = 0.2
    #: Below this level rows jump by such factors for ordinary reasons.
    level: float = 0.05
    #: Seen live: from this share of all steps on, unless their batches have no labels, the run is lost.
    share_to_condemn: float = 0.25
    steps_to_condemn: int = 8
    #: Steps without another one after which those seen live are history.
    steps_to_heal: int = 1000

    def __post_init__(self) -> None:
        self._suspect: tuple[int, int] | None = None
        self._rows = self._inflated = self._first = self._last = 0
        self._level = 0.0
        self._told = 0
        self._live = Live()
        self._before = Live()  # as it was when the stretch of steps that now goes on began

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if record.kind == "probe":
            return self._see(record, vitals) if record.values.get(NONFINITE_LOSSES) else None
        if self._live.open and vitals.step > self._live.steps.last:
            self._live.open = vitals.step - self._live.steps.last <= self.steps_to_heal
            return self._worse(vitals.step, running=False) if self._live.open else self._seen(self._live)
        loss, norm = vitals.loss, vitals.grad_norm
        if loss is None or norm is None or not vitals.supervised or vitals.watches(LOSSES):
            return None
        confirmed = False
        if self._suspect is not None and 0 < loss < self.back_within * self._level:
            self._count(*self._suspect)
            self._inflated += 1
            confirmed = True
        self._suspect = None
        striking = norm == 0.0 or loss > self.inflated / 2 * vitals.curve.recent_before
        if striking and vitals.clean_rows > self.clean_rows and vitals.norms and vitals.level_before > self.level:
            confirmed = self._look(loss, norm, vitals) or confirmed
        severity_changes = self._rows in (1, self.rows_to_warn) and self._rows != self._told
        if confirmed and severity_changes:
            self._told = self._rows
            return self._state()
        return None

    def _see(self, record: Record, vitals: Vitals) -> Symptom | None:
        """One more step that an instrument saw; told when it is the first, and when it gets worse."""
        if vitals.nonfinite_for_good:  # no single steps any more: that is for `loss-not-finite`
            told, self._live = self._live, self._before
            return replace(self._seen(told), open=False) if told.severity and not self._live.severity else None
        if record.step == vitals.nonfinite_since != self._live.steps.last:
            self._before = deepcopy(self._live)
        self._live.add(record)
        return self._worse(record.step, running=not self._before.severity)

    def _worse(self, step: int, running: bool) -> Symptom | None:
        """The symptom, if it is worse than it was told; in the midst of the first stretch of steps one does not know yet."""
        live, known = self._live, self._live.severity
        severity: Severity = "info" if running or live.steps.count < self.rows_to_warn else "warning"
        many = live.steps.count >= max(self.steps_to_condemn, self.share_to_condemn * step)
        if many and not running and live.unlabelled <= live.batches / 2:
            severity = "critical"
        if known is not None and live.open and RANK[severity] <= RANK[known]:
            return None
        live.open, live.severity = True, severity if RANK[severity] > RANK[known or "info"] else known or "info"
        return self._seen(live)

    def _seen(self, live: Live) -> Symptom:
        state = self.symptom(
            live.severity or "info",
            live.steps.first[0],
            live.steps.last,
            said=str(live),
            steps=float(live.steps.count),
            nonfinite_losses=float(live.batches),
            unlabelled=float(live.unlabelled),
            labels_seen=float(live.labels_seen),
        )
        return replace(state, open=live.open)

    def _look(self, loss: float, norm: float, vitals: Vitals) -> bool:
        """Whether a striking row is a NaN step for sure; an inflated one also needs the row after it."""
        level, first = vitals.level_before, vitals.step - vitals.window + 1
        if norm == 0.0 and 0 < loss < self.back_within * level:
            self._count(first, vitals.step)
            return True
        before = [other for other in vitals.norms if other != norm] or [0.0]
        calm = vitals.noise < self.noise * level and self._possible(vitals)
        if calm and self.inflated * level < loss < inf and norm < self.gradient_below * min(before):
            self._suspect, self._level = (first, vitals.step), level
        return False

    @staticmethod
    def _possible(vitals: Vitals) -> bool:
        """The filter inflates a row only where it has several micro-batches."""
        return vitals.window > 1 or vitals.run.get("gradient_accumulation_steps") != 1

    def _count(self, first: int, last: int) -> None:
        self._first = self._first or first
        self._last = last
        self._rows += 1

    def _state(self) -> Symptom:
        severity: Severity = "warning" if self._inflated >= self.rows_to_warn else "info"
        rows, inflated = float(self._rows), float(self._inflated)
        return self.symptom(severity, self._first, self._last, rows=rows, inflated_rows=inflated)

    @property
    def settled(self) -> bool:
        return self._suspect is None and not self._live.open

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._rows:
            yield self._state()
        if self._live.severity:
            yield self._seen(self._live)

    def blind(self, vitals: Vitals) -> str | None:
        since = vitals.run.watched.get(LOSSES)
        if vitals.run.get("logging_nan_inf_filter") is False or since == 1:
            return None
        if vitals.usual_window >= 5 and since:
            return say("the steps before {since:,} were not watched live, and the log filters NaN losses", since=since)
        if vitals.usual_window >= 5:
            return say(
                "one row covers {usual_window} steps and the log filters NaN losses: single NaN steps cannot be seen",
                usual_window=vitals.usual_window,
            )
        return None
