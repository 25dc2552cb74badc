from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lossdoctor.base import LOSS_TELLS_NOTHING, Detector, counted
from lossdoctor.language import say
from lossdoctor.learning_rates import band_of
from lossdoctor.model import Symptom
from lossdoctor.stats import median
from lossdoctor.trend import Trend
from lossdoctor.vitals import Vitals


@dataclass(eq=False, repr=False)
class LossPlateau(Detector):
    """The loss has hardly moved since the first row.

    ## What it watches
    The whole curve of `loss`: descents of several speeds are fitted to it, from one over within the first few rows to a
    straight line. It is a plateau if none of them fell by 4 % and, with 95 % confidence, none can have fallen by 7 %. A flat
    end after a descent is no plateau: every run whose learning rate decays ends like that.

    ## Why it matters
    Nothing is learned: the learning rate is too low, the weights that train are not connected to the loss, updates are lost
    in 16-bit weights, or the labels do not depend on the input.

    ## What it misses
    Runs too noisy or too short to tell, or still in their warm-up: that is said under "not judged", or as a note where the
    descent was 15 % at most. It is a warning all the same where the learning rate is below those that are usual for the way
    of training. A base model that already knows the data looks the same, since its loss has nowhere to fall.
    """

    incident = "flat"
    says_hidden = (
        "no descent can be seen in {rows:.0f} rows: the loss, {start:.4g} at first, fell by {drop_possible:.0%} at most, and the "
        "rows scatter by {noise:.0%}"
    )
    says = "the loss has hardly moved in {rows:.0f} rows: {start:.4g} at the start, {level:.4g} at the end"
    rows: int = 10
    drop: float = 0.04
    drop_possible: float = 0.07
    #: With so many rows, what the scatter may hide is told as a note if it is less than this.
    rows_to_note: int = 30
    drop_hidden: float = 0.15
    #: A loss that starts below this is that of a model that already does what the data asks for.
    mastered: float = 0.1
    #: An evaluation loss that fell by this share says that something was learned all the same.
    eval_drop: float = 0.03

    def so_far(self, vitals: Vitals) -> Iterable[Symptom]:
        loss = vitals.history.columns()["loss"]
        if len(loss) < self.rows:
            return ()
        start, level = median(loss[: max(3, len(loss) // 20)]), median(loss[-max(3, len(loss) // 5) :])
        plainly_fallen = 0 < level < (1 - 2 * self.drop_hidden) * start
        return () if plainly_fallen else self.finish(vitals)

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        trend = vitals.trend
        if trend is None or trend.drop > self.drop or trend.drop_most > self.drop_hidden:
            return
        hidden = trend.drop_most > self.drop_possible
        if (trend.rows < self.rows_to_note) if hidden else self.blind(vitals):
            return
        if vitals.begins_late or not vitals.loss_tells or self._warming(vitals):
            return
        risen = trend.level - trend.start > 0.1 * abs(trend.start) or self._rose_first(vitals, trend)
        if risen or 0 <= trend.start < self.mastered or vitals.eval_fell > self.eval_drop:
            return
        yield self.symptom(
            "info" if hidden and not self._low_rate(vitals) else "warning",
            max(1, (vitals.first_step or 1) - vitals.usual_window + 1),
            vitals.step,
            says=self.says_hidden if hidden else self.says,
            rows=float(trend.rows),
            start=trend.start,
            level=trend.level,
            drop=trend.drop,
            drop_possible=trend.drop_most,
            noise=trend.noise,
        )

    @staticmethod
    def _rose_first(vitals: Vitals, trend: Trend) -> bool:
        """Whether the first rows lie well below where the fit begins: what is flat now has climbed there."""
        return trend.start - vitals.curve.start > max(0.1, 3 * trend.noise) * abs(trend.start)

    @staticmethod
    def _warming(vitals: Vitals) -> bool:
        """Whether the learning rate still rises at the end of the log of a run that goes on: nothing need have moved yet."""
        rates = [rate for rate in vitals.history.columns()["rate"] if rate == rate]
        if len(rates) < 3 or vitals.progress >= 1:
            return False
        return rates[0] < 0.5 * rates[-1] and rates[-1] >= 0.98 * max(rates) and rates[-1] > rates[-3]

    @staticmethod
    def _low_rate(vitals: Vitals) -> bool:
        """Whether the rate is below those that are usual for the way of training: then there is little to doubt."""
        band, rates = band_of(vitals.run), [rate for rate in vitals.history.columns()["rate"] if rate == rate]
        return vitals.supervised and band is not None and band.known and bool(rates) and 0 < max(rates) < band.low

    def blind(self, vitals: Vitals) -> str | None:
        trend = vitals.trend
        if not vitals.loss_tells:
            return say(LOSS_TELLS_NOTHING)
        if trend is None or trend.rows < self.rows:
            return say("{rows} with a usable loss: too few for a trend", rows=counted(vitals.curve.rows, "row"))
        if vitals.begins_late:
            return say(
                "the log begins at step {first_step:,}: what the loss was before is not known", first_step=vitals.first_step
            )
        risen = trend.level - trend.start > 3 * trend.noise * abs(trend.start)
        noted = trend.rows >= self.rows_to_note and trend.drop_most <= self.drop_hidden
        if trend.drop <= self.drop and self._warming(vitals):
            return say("the learning rate still rises: the loss need not have moved yet")
        if trend.drop <= self.drop < self.drop_possible < trend.drop_most and not risen and not noted:
            return say(
                "the rows scatter by {noise:.0%} of the level: too much to tell whether the loss has moved", noise=trend.noise
            )
        return None
