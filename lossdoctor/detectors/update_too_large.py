from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lossdoctor.base import Detector
from lossdoctor.learning_rates import band_of, short
from lossdoctor.model import Record, Symptom
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class UpdateTooLarge(Detector):
    """One optimizer step can change the pre-trained weights by as much as they are.

    ## What it watches
    The highest `learning_rate` so far, times what one of Adam's first steps at a rate of 1 would change in the matrices that are
    trained, as a multiple of their size (spectral norms; with LoRA, of the weights beneath the adapter). The live callback
    measures their size when training begins. Half as much is enough where a quarter of the rows are above the loss before the
    first step, or where gradients are not clipped and the rate is twice the highest usual one. Models that were not loaded from
    a checkpoint are left alone: fresh weights have nothing to lose.

    ## Why it matters
    What the model knew is overwritten within a few steps. The loss may look healthy all the same: after a short rise, or none, it
    falls smoothly while the rate decays, and ends far above what a lower rate reaches. The rates in use for large models are far
    from it, at less than 0.1. In our own grids (docs/evidence/rates.md) the best rates lie between 0.08 and 0.43.

    ## What it misses
    Logs without the live callback, sharded and 4-bit weights, and optimizers other than Adam's kin.
    """

    series = "learning_rate"
    says = "at a rate of {rate}, one of the first steps can change the weights by {times:.3g} times their size"
    says_above = (
        "at a rate of {rate}, one of the first steps can change the weights by {times:.3g} times their size, and {above:.0%} of "
        "the rows are above the loss before the first step"
    )
    #: Multiple of the size of the weights from which on a step overwrites them.
    times: float = 1.0
    #: The same where something else speaks for it, too.
    times_supported: float = 0.5
    #: Share of rows above the loss before the first step that supports it.
    above: float = 0.25
    #: Without clipping one large gradient makes Adam's step up to (1 - beta1) / √(1 - beta2) = 3 times as long; then a rate of so
    #: many times the highest usual one supports it.
    above_usual: float = 2.0
    #: Fewer rows say nothing about their share.
    rows: int = 8

    def __post_init__(self) -> None:
        self._symptom: Symptom | None = None
        self._highest = 0.0  # rate that was looked at
        self._onset = 0

    @property
    def settled(self) -> bool:
        return self._symptom is None and self._highest == 0.0

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        rate, run = vitals.rates.highest, vitals.run
        per_rate = run.get("weight_change_per_rate")
        band = band_of(run) if rate > self._highest and per_rate is not None and run.get("model_name_or_path") else None
        if band is None:
            return None
        self._highest, times = rate, rate * per_rate
        self._onset = self._onset or max(1, vitals.step - vitals.window + 1)
        unclipped = run.get("max_grad_norm") == 0 and band.known and rate >= self.above_usual * band.high
        if times < (self.times_supported if unclipped else self.times):
            return None
        self._symptom = self._state(vitals, times)
        return self._symptom

    def _state(self, vitals: Vitals, times: float, says: str | None = None, above: float = 0.0) -> Symptom:
        words = {"rate": short(self._highest)}
        return self.symptom("warning", self._onset, vitals.step, says=says, words=words, times=times, above=above)

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        if self._symptom is not None:
            yield replace(self._symptom, last=vitals.step)
            return
        opening, losses = vitals.run.get("opening_loss"), vitals.history.columns()["loss"]
        times = self._highest * (vitals.run.get("weight_change_per_rate") or 0.0)
        if times < self.times_supported or not opening or len(losses) < self.rows or not vitals.supervised:
            return
        above = sum(loss > opening for loss in losses) / len(losses)
        if above >= self.above:
            yield self._state(vitals, times, self.says_above, above)
