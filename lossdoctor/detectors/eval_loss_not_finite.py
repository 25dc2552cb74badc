from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite

from lossdoctor.base import Detector
from lossdoctor.model import Record, Severity, Symptom
from lossdoctor.vitals import Vitals, is_eval_loss


@dataclass
class EvalLossNotFinite(Detector):
    """The evaluation loss is NaN or infinite.

    ## What it watches
    `eval_loss`, or every `eval_<set>_loss`. Beside a training loss of exactly 0.0 or NaN this is critical: evaluation is not
    filtered, so it proves that the zeros are hidden NaN. Beside a normal training loss it is a warning about the
    evaluation alone.

    ## Why it matters
    Without a usable evaluation loss neither the best checkpoint nor overfitting can be told, and early stopping is blind.

    ## What it misses
    transformers 5 averages over the finite evaluation batches and logs NaN only when none is finite.
    """

    series = "eval_loss"
    says = "{series} is {value} from step {onset:,} on while the training loss is normal: the evaluation itself is at fault"
    says_proof = "{series} is {value} while the training loss reads 0.0 or NaN: the zeros are hidden NaN"
    says_alone = "{series} is {value}, and no training loss was logged to compare it with"
    #: A last training loss below this many times the smallest printable one is a real zero.
    faded: float = 100.0

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._count = self._evals = 0
        self._proof = False
        self._healed = False

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if record.kind == "train":
            return self._train(vitals)
        if record.kind != "eval":
            return None
        losses = {name: value for name, value in record.values.items() if is_eval_loss(name)}
        if not losses:
            return None
        self._evals += 1
        bad = next(((name, value) for name, value in losses.items() if not isfinite(value)), None)
        if bad is None:
            closed, self._symptom = self._symptom, None
            self._healed = self._healed or closed is not None
            return replace(closed, open=False, last=record.step) if closed else None
        self._count += 1
        if self._symptom is not None:
            return None
        self._symptom = self._state(record.step, bad[0], bad[1], vitals)
        return self._symptom

    def _train(self, vitals: Vitals) -> Symptom | None:
        loss, norm = vitals.loss, vitals.grad_norm
        if loss is None or self._proof:
            return None
        faded = vitals.last_clean is not None and abs(vitals.last_clean) <= self.faded * vitals.loss_resolution
        real = faded or (norm is not None and isfinite(norm) and norm not in (0.0, 1.0))
        if not isfinite(loss) or (loss == 0.0 and vitals.supervised and not real):
            self._proof = True
            if self._symptom is not None:
                evidence = self._symptom.evidence
                self._symptom = self._state(self._symptom.onset, self._symptom.series, evidence["value"], vitals)
                return self._symptom
        return None

    def _state(self, onset: int, series: str, value: float, vitals: Vitals) -> Symptom:
        severity: Severity = "critical" if self._proof else "warning"
        says = self.says_proof if self._proof else self.says if vitals.rows else self.says_alone
        return self.symptom(
            severity,
            onset,
            max(onset, vitals.step),
            says=says,
            series=series,
            value=value,
            evaluations=float(self._evals),
            not_finite=float(self._count),
            training_loss_hidden=float(self._proof),
            from_first_evaluation=float(self._count == self._evals),
        )

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        symptom = self._symptom
        if symptom is not None:
            yield self._state(symptom.onset, symptom.series, symptom.evidence["value"], vitals)

    def blind(self, vitals: Vitals) -> str | None:
        return None if vitals.evals else "no evaluation loss was logged"
