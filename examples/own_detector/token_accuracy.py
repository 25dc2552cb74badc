"""A detector and a cause of one's own: the token accuracy that SFTTrainer logs falls, because the data change on the way."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

from lossdoctor import Cause, Chart, Detector, Opinion, Record, Remedy, Symptom, Vitals


@dataclass(eq=False, repr=False)
class TokenAccuracyFalling(Detector):
    """The model predicts fewer tokens right than it did before.

    ## What it watches
    `mean_token_accuracy`, which SFTTrainer of TRL logs: the median of the last five rows beside the best such median so far.

    ## Why it matters
    The loss weighs how sure the model is; the accuracy counts how often it is right. A loss that wavers may be noise, an
    accuracy that falls for five rows means that the text has changed or the model has.

    ## What it misses
    A fall within the first five rows, and one that is slower than the best median is old.
    """

    series = "mean_token_accuracy"
    says = "token accuracy fell from {best:.1%} to {now:.1%} in step {onset:,}"
    drop: float = 0.05
    rows: int = 5

    def __post_init__(self) -> None:
        self._last: deque[float] = deque(maxlen=self.rows)
        self._best = 0.0
        self._open: Symptom | None = None

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        accuracy = record.values.get(self.series)
        if accuracy is None or not 0 <= accuracy <= 1:
            return None
        self._last.append(accuracy)
        if len(self._last) < self.rows:
            return None
        now = median(self._last)
        self._best = max(self._best, now)
        fallen = now < self._best - (self.drop if self._open is None else self.drop / 2)
        if fallen and self._open is None:
            self._open = self.symptom("warning", record.step, record.step, best=self._best, now=now)
            return self._open
        if not fallen and self._open is not None:
            before, self._open = self._open, None
            return Symptom(self.slug, self.series, "warning", before.onset, record.step, False, before.message, before.evidence)
        return None

    def blind(self, vitals: Vitals) -> str | None:
        return None if self._last else "no mean_token_accuracy was logged (SFTTrainer of TRL does)"


@dataclass(eq=False, repr=False)
class SourcesInOrder(Cause):
    """The training data come one source after the other, and the model has just reached another one.

    ## How we tell
    Token accuracy falls and stays down while nothing is wrong with the numbers, in the first epoch: a later epoch has seen
    every source.

    ## What else it could be
    A learning rate that is too high: then the gradient norm grows before the accuracy falls.

    ## Remedies and their sources
    Shuffled sources, which SFTConfig does on request (https://huggingface.co/docs/trl/sft_trainer).
    """

    title = "The training data are not shuffled across their sources"
    decide_by = "decode the first example of the batch before the fall and of the batch after it: are they from the same source?"
    first_epoch: float = 1.0

    def weigh(self, chart: Chart) -> Opinion | None:
        fall = chart.seen("token-accuracy-falling")
        if fall is None:
            return None
        opinion = Opinion((fall,))
        opinion.add(2, f"token accuracy fell in step {fall.onset:,}")
        if fall.open:
            opinion.add(1, "and has stayed down, as it does when all that follows is of another kind")
        if chart.outline.epochs is not None and chart.outline.epochs <= self.first_epoch:
            opinion.add(1, "in the first epoch, in which every source is new")
        if chart.seen("gradient-explosion") or chart.seen("gradient-not-finite"):
            opinion.add(-2, "the gradient norm is not sound either: the learning rate is the likelier cause")
        opinion.explanation = (
            "Data sets that were concatenated without shuffling come one after the other. Each is learned, and what was learned "
            "before is partly lost."
        )
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        return (
            Remedy(
                "Shuffle the training data across their sources",
                "every batch then holds a bit of everything",
                {"shuffle_dataset": True},
                "none",
                ("https://huggingface.co/docs/trl/sft_trainer",),
            ),
        )


PLUGINS = [TokenAccuracyFalling, SourcesInOrder]
