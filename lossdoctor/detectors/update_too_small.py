from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from lossdoctor.base import Detector
from lossdoctor.learning_rates import band_of
from lossdoctor.model import Symptom
from lossdoctor.stats import median
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class UpdateTooSmall(Detector):
    """All optimizer steps together cannot have changed the weights noticeably, and the loss did not fall.

    ## What it watches
    The sum of the learning rates of all steps, times what one of Adam's first steps at a rate of 1 would change in the matrices
    that are trained, as a multiple of their size (spectral norms; with LoRA, of the weights beneath the adapter). This is what
    the steps would come to if they all went the same way; in truth it is less. The live callback measures the size of the
    weights when training begins.

    ## Why it matters
    The loss scatters with its batches, and nothing in so noisy a curve tells that the model stays as it was. At a share of 0.02
    it does: in our grids (docs/evidence/rates.md) the best rates come to 6 and more, and a hundred steps of reinforcement
    learning at 5e-7, the lowest rate in wide use, to about 0.1 in a model of width 4,096, by estimate.

    ## What it misses
    Logs without the live callback, sharded and 4-bit weights, and optimizers other than Adam's kin. Parameters with a learning
    rate of their own, such as a new head, may learn all the same; so a loss that falls is left alone.
    """

    series = "learning_rate"
    says = "all {steps:,.0f} steps together can have changed the weights by no more than {share:.2g} times their size"
    #: Multiple of the size of the weights below which nothing was learned.
    share: float = 0.02
    #: Fewer steps are little at any rate.
    steps: int = 100
    #: Rows of which the halves are compared, and the share by which the second may be lower at most.
    rows: int = 8
    fallen: float = 0.03

    def so_far(self, vitals: Vitals) -> Iterable[Symptom]:
        return ()  # it is the sum that counts

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        per_rate, columns, run = vitals.run.get("weight_change_per_rate"), vitals.history.columns(), vitals.run
        losses, rates, ends = columns["loss"], columns["rate"], columns["step"]
        if per_rate is None or len(losses) < self.rows or ends[-1] < self.steps or vitals.rates.highest <= 0:
            return
        if band_of(run) is None or not vitals.supervised or not all(map(isfinite, rates)):
            return
        windows = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        share = per_rate * sum(rate * window for rate, window in zip(rates, windows, strict=True))
        half = len(losses) // 2
        if share < self.share and median(losses[half:]) > (1 - self.fallen) * median(losses[:half]):
            yield self.symptom("warning", 1, vitals.step, share=share, steps=float(ends[-1]))
