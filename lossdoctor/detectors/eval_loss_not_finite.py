from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite

from lossdoctor.base import Detector
from lossdoctor.language import say
from lossdoctor.model import Record, Severity, Symptom
from lossdoctor.vitals import Vitals, is_eval_loss
from lossdoctor.zeros import faded, telling_gradient


@dataclass(eq=False, repr=False)
class EvalLossNotFinite(Detector):
    """The evaluation loss is NaN or infinite.

    ## What it watches
    `eval_loss`, or every `eval_<set>_loss`. Beside a training loss of exactly 0.0 or NaN this is critical: an evaluation is never
    logged as 0.0 for NaN, so it proves that the zeros are hidden NaN. Beside a normal training loss it is a warning about the
    evaluation alone.

    ## Why it matters
    Without a usable evaluation loss neither the best checkpoint nor overfitting can be told, and early stopping is blind.

    ## What it misses
    transformers 5 averages over the finite evaluation batches and logs NaN only when none is finite.
    """

    series = "eval_loss"
    kinds = ("train", "eval")
    says = "{series} is {value} from step {onset:,} on while the training loss is normal: the evaluation itself is at fault"
    says_proof = "{series} is {value} while the training loss reads 0.0 or NaN: the zeros are hidden NaN"
    says_alone = "{series} is {value}, and no training loss was logged to compare it with"
    #: Evaluation sets that are followed.
    sets: int = 64

    def __post_init__(self) -> None:
        self._open: dict[str, Symptom] = {}
        self._counts: dict[str, list[int]] = {}
        self._proof = False

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if record.kind == "train":
            return self._train(vitals)
        changed = None
        for series, value in record.values.items():
            if is_eval_loss(series) and (series in self._counts or len(self._counts) < self.sets):
                changed = self._see(series, value, record.step, vitals) or changed
        return changed

    def _see(self, series: str, value: float, step: int, vitals: Vitals) -> Symptom | None:
        counts = self._counts.setdefault(series, [0, 0])
        counts[0] += 1
        known = self._open.get(series)
        if isfinite(value):
            if known is None:
                return None
            del self._open[series]
            return replace(known, open=False, last=step)
        counts[1] += 1
        if known is not None:
            return None
        self._open[series] = self._state(step, series, value, vitals)
        return self._open[series]

    def _train(self, vitals: Vitals) -> Symptom | None:
        loss, norm = vitals.loss, vitals.grad_norm
        if loss is None or self._proof or (loss != 0.0 and isfinite(loss)):
            return None
        real = faded(vitals) or telling_gradient(norm)
        if not isfinite(loss) or (loss == 0.0 and vitals.supervised and not real):
            self._proof = True
            for series, known in self._open.items():
                self._open[series] = self._state(known.onset, series, known.evidence["value"], vitals)
            return next(iter(self._open.values()), None)
        return None

    def _state(self, onset: int, series: str, value: float, vitals: Vitals) -> Symptom:
        severity: Severity = "critical" if self._proof else "warning"
        says = self.says_proof if self._proof else self.says if vitals.rows else self.says_alone
        evaluations, not_finite = self._counts[series]
        return self.symptom(
            severity,
            onset,
            max(onset, vitals.step),
            says=says,
            series=series,
            value=value,
            evaluations=float(evaluations),
            not_finite=float(not_finite),
            training_loss_hidden=float(self._proof),
            from_first_evaluation=float(not_finite == evaluations),
        )

    @property
    def settled(self) -> bool:
        return True

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        for series, known in self._open.items():
            yield self._state(known.onset, series, known.evidence["value"], vitals)

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.evals else say("no evaluation loss was logged")
