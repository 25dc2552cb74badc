from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

from lossdoctor.base import Detector, counted
from lossdoctor.language import say
from lossdoctor.metrics import less_is_better, metrics_of
from lossdoctor.model import RANK, Record, Severity, Symptom
from lossdoctor.stats import median, noise_of_bends, rising
from lossdoctor.vitals import Vitals, is_eval_loss


@dataclass
class Evaluations:
    """The course of one evaluation set, in bounded memory."""

    first: float
    count: int = 0
    best: float = float("inf")
    best_step: int = 0
    since: int = 0
    #: The last three values, and the lowest median of three.
    late: list[float] = field(default_factory=list)
    low: float = float("inf")
    climbing: int = 0
    bends: list[float] = field(default_factory=list)
    #: The values since the best.
    after: list[float] = field(default_factory=list)
    train_at_best: float = 0.0
    #: Each metric at the best loss, its best since, and how many evaluations ago that was.
    metrics: dict[str, list[float]] = field(default_factory=dict)


@dataclass(eq=False, repr=False)
class EvalLossRising(Detector):
    """The evaluation loss has turned and rises while the training loss goes on falling.

    ## What it watches
    `eval_loss`, or every `eval_<set>_loss` by itself, against its best value: two evaluations since then, a rise of more than
    3 % and three times the usual change, still going on, while the training loss has not risen. Among eight or more the best is
    low by chance: then the last three are held against the lowest median of three, unless four or more climbed one after the
    other. Where evaluations scatter, six or more since the best that rise as chance hardly ever lets them (a test of Mann and
    Kendall); a little less surely where the training loss has fallen on by a fifth. A new best ends it. If a metric of the
    same evaluations (accuracy, F1, ROUGE, WER, …) still improves, it is a note that says so; so is a rise below 10 % where the
    weights of the best evaluation are loaded at the end, as early stopping does.

    ## Why it matters
    From the best evaluation on the model learns its training set and forgets the rest: it overfits. The checkpoint at the
    best evaluation is the one to keep.

    ## What it misses
    Runs without evaluation, which is most of them. A rise that one evaluation shows may be chance and is not told.
    """

    series = "eval_loss"
    kinds = ("eval",)
    says = "{series} rises from {best:.4g} (step {best_step:,.0f}) to {now:.4g} ({rise:+.0%}) while the training loss falls"
    says_both = "{series} rises from {best:.4g} (step {best_step:,.0f}) to {now:.4g} ({rise:+.0%}), and so does the training loss"
    says_metric = "{series} rises from {best:.4g} (step {best_step:,.0f}) to {now:.4g} ({rise:+.0%}), but {metric} still improves"
    rise: float = 0.03
    deviations: float = 3.0
    #: With so many evaluations running each above the one before, fewer deviations do.
    climbing: int = 3
    #: So many since the best, each above the one before, are no chance, however many there were before.
    each: int = 4
    deviations_climbing: float = 1.5
    evaluations: int = 2
    evaluations_of_many: int = 3
    many: int = 8
    #: So many since the best, and so many standard deviations of chance, show a rise that is slower than their scatter;
    #: fewer deviations where the training loss has fallen on by such a share.
    evaluations_of_trend: int = 6
    deviations_of_trend: float = 2.8
    deviations_apart: float = 2.4
    apart: float = 0.2
    #: Share by which a metric must be better than at the best loss to count as improving.
    metric_gain: float = 0.005
    sets: int = 64
    #: A rise of less than this share of the first evaluation, and less than this in all, is at most a note.
    faint_share: float = 0.005
    faint: float = 0.01
    #: A rise up to this share is a note where the best weights are loaded at the end: early stopping needs it to stop.
    spared: float = 0.10

    def __post_init__(self) -> None:
        self._sets: dict[str, Evaluations] = {}
        self._open: dict[str, Symptom] = {}

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        changed = None
        for series, value in record.values.items():
            if is_eval_loss(series) and isfinite(value) and (series in self._sets or len(self._sets) < self.sets):
                changed = self._see(series, value, record, vitals) or changed
        return changed

    def _see(self, series: str, value: float, record: Record, vitals: Vitals) -> Symptom | None:
        seen = self._sets.setdefault(series, Evaluations(value))
        seen.count += 1
        if len(seen.late) > 1:
            seen.bends = [*seen.bends[-31:], abs(value - 2 * seen.late[-1] + seen.late[-2])]
        if seen.late:
            seen.climbing = seen.climbing + 1 if value > seen.late[-1] else 0
        seen.late = [*seen.late[-2:], value]
        if len(seen.late) == 3:
            seen.low = min(seen.low, median(seen.late))
        metrics = self._metrics(series, record)
        if value < seen.best:
            seen.best, seen.best_step, seen.since, seen.after = value, record.step, 0, []
            seen.train_at_best = vitals.curve.recent if vitals.curve.rows else float("inf")
            seen.metrics = {name: [number, number, 0.0] for name, number in metrics.items()}
            known = self._open.pop(series, None)
            return replace(known, open=False, last=record.step) if known else None
        seen.since += 1
        seen.after = [*seen.after[-31:], value]
        for name, number in metrics.items():
            if name in seen.metrics:
                kept = seen.metrics[name]
                kept[2] = 0.0 if number > kept[1] else kept[2] + 1
                kept[1] = max(kept[1], number)
        severity = self._severity(seen, vitals)
        known = self._open.get(series)
        if known is not None and self._back(seen):
            return replace(self._open.pop(series), open=False, last=record.step)
        if severity is None:
            return None
        if known is None or RANK[severity] != RANK[known.severity]:
            self._open[series] = self._state(series, seen, severity, record.step, vitals)
            return self._open[series]
        return None

    @staticmethod
    def _metrics(series: str, record: Record) -> dict[str, float]:
        """The metrics of this set, turned so that more is better."""
        found = metrics_of(record.values, series)
        return {name: -value if less_is_better(name) else value for name, value in found.items()}

    def _severity(self, seen: Evaluations, vitals: Vitals) -> Severity | None:
        each = seen.climbing == seen.since >= self.each  # higher than the one before it
        many = seen.count >= self.many and not each  # the best of many lies low by chance alone
        needed = self.evaluations_of_many if many else self.evaluations
        climbs = not many and seen.climbing >= self.climbing
        usual = self._usual(seen) * (self.deviations_climbing if climbs else self.deviations)
        risen = min(seen.late[-needed:]) - (seen.low if many else seen.best)
        sure = risen > max(self.rise * abs(seen.best), usual) or self._slowly(seen, vitals)
        tiny = abs(seen.late[-1]) < 0.02 * abs(seen.first)  # it fell to nothing, and wobbles there
        learning = not vitals.curve.rows or vitals.curve.recent <= 1.02 * seen.train_at_best
        if seen.since < needed or not sure or tiny or not learning:
            return None
        risen = seen.late[-1] - seen.best
        faint = risen < self.faint and risen < self.faint_share * abs(seen.first)
        spared = risen < self.spared * abs(seen.best) and self._best_is_kept(vitals)
        return "info" if faint or spared or self._improving(seen) else "warning"

    @staticmethod
    def _best_is_kept(vitals: Vitals) -> bool:
        """Whether the weights of the lowest evaluation loss are those that are left at the end."""
        judge = str(vitals.run.get("metric_for_best_model") or "loss").removeprefix("eval_")
        return vitals.run.get("load_best_model_at_end") is True and judge == "loss"

    def _usual(self, seen: Evaluations) -> float:
        """The usual change; what two or three evaluations that go up and down show of it is the least that it can be."""
        if len(seen.bends) >= 3:
            return noise_of_bends(median(seen.bends))
        least = self.rise / 10 * abs(seen.best)
        return least if seen.climbing == seen.since else max(least, noise_of_bends(min(seen.bends, default=0.0)))

    def _back(self, seen: Evaluations) -> bool:
        """Whether a rise is over: by the last evaluation, or by the last three where there are many."""
        near = 0.5 * self.rise * abs(seen.best)
        if seen.late[-1] - seen.best < near:
            return True
        return seen.count >= self.many and median(seen.late) - seen.low < max(near, self._usual(seen))

    def _slowly(self, seen: Evaluations, vitals: Vitals) -> bool:
        """Whether the evaluations since the best rise, although their scatter hides it from one to the next."""
        if len(seen.after) < self.evaluations_of_trend or median(seen.after[-5:]) - seen.best <= self.rise * abs(seen.best):
            return False
        apart = bool(vitals.curve.rows) and vitals.curve.recent < (1 - self.apart) * seen.train_at_best
        return rising(seen.after) >= (self.deviations_apart if apart else self.deviations_of_trend)

    def _improving(self, seen: Evaluations) -> str | None:
        """A metric whose best lies after the best loss, in one of the last two evaluations."""
        for name, (at_best, best, ago) in seen.metrics.items():
            if best - at_best > self.metric_gain * max(abs(at_best), 0.01) and ago <= 1:
                return name
        return None

    def _state(self, series: str, seen: Evaluations, severity: Severity, step: int, vitals: Vitals) -> Symptom:
        metric = self._improving(seen) if severity == "info" else None
        says = self.says_metric if metric else self.says
        both = bool(vitals.curve.rows) and vitals.curve.recent > 1.02 * seen.train_at_best
        if both and not metric:
            says = self.says_both
        rise = seen.late[-1] / seen.best - 1 if seen.best > 0 else 0.0
        evidence: dict[str, Any] = {"best": seen.best, "best_step": float(seen.best_step), "now": seen.late[-1], "rise": rise}
        evidence |= {"metric_improves": float(bool(metric)), "both": float(both)}
        return self.symptom(severity, seen.best_step, step, says=says, series=series, words={"metric": metric or ""}, **evidence)

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        for series, known in self._open.items():
            seen = self._sets[series]
            yield self._state(series, seen, known.severity, max(vitals.step, known.last), vitals)

    def blind(self, vitals: Vitals) -> str | None:
        if not vitals.evals:
            return say("no evaluation loss was logged")
        return say("{evals}: too few to see a turn", evals=counted(vitals.evals, "evaluation")) if vitals.evals < 3 else None
