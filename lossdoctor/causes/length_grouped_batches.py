from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from lossdoctor.base import Cause, Opinion
from lossdoctor.language import later, say
from lossdoctor.model import Chart, Remedy, Symptom
from lossdoctor.signs import Signs


@dataclass(eq=False, repr=False)
class LengthGroupedBatches(Cause):
    """The loss swings because batches of short and of long examples take turns.

    ## How we tell
    `group_by_length` is on, and the loss goes up and down with a constant period that is shorter than an epoch. The Trainer
    sorts chunks of 50 batches by length, so a period of 50 steps gives it away even where the setting is not known. Data of
    several kinds in turn looks the same.

    ## What else it could be
    A period of one epoch is data that is not shuffled. Up and down from row to row, without a longer period, is a learning
    rate at the edge of what is stable.

    ## Remedies and their sources
    None is needed: maintainers and users agree that it is the order of the lengths
    (https://github.com/artidoro/qlora/issues/228), and QLoRA's own scripts train like that
    (https://github.com/artidoro/qlora/blob/main/scripts/finetune_guanaco_7b.sh).
    """

    title = "batches grouped by length take turns"
    confirmed = 5
    decide_by = "run the same steps with group_by_length=False: the swing is gone and the mean is the same"
    normal = True
    #: Batches that the Trainer's sampler sorts together.
    chunk: int = 50
    #: In logs of up to so many rows a rise and a fall of this share are enough, where the setting is known to be on.
    few: int = 11
    turn: float = 0.15

    def weigh(self, chart: Chart) -> Opinion | None:
        grouped = chart.run.get("group_by_length")
        if grouped is False or Signs(chart).broken:
            return None
        swing, noise = chart.seen("loss-oscillation"), chart.seen("loss-noise")
        if swing is not None and not swing.evidence.get("epoch_long"):
            return self._weigh_swing(chart, swing, bool(grouped))
        if not grouped or (noise is None and not self._turns(chart)):
            return None
        opinion = Opinion((noise,) if noise else ())
        scatter = say("scatter by {noise:.0%} of the level", noise=noise.evidence["noise"]) if noise else say("go up and down")
        opinion.add(4, say("group_by_length is on, and the rows {scatter}", scatter=scatter))
        opinion.explanation = say(_EXPLANATION)
        return opinion

    def _turns(self, chart: Chart) -> bool:
        """Whether a loss of a few rows goes up as well as down, by more than any step of training moves it."""
        losses = chart.outline.there("loss")
        changes = [after / before - 1 for before, after in pairwise(losses) if before > 0]
        return len(losses) <= self.few and max(changes, default=0.0) > self.turn and min(changes, default=0.0) < -self.turn

    def _weigh_swing(self, chart: Chart, swing: Symptom, grouped: bool) -> Opinion | None:
        rows, steps = swing.evidence["period_rows"], swing.evidence["period"]
        chunk = abs(steps / self.chunk - 1) < 0.1 and rows > 2.5
        epoch = chart.outline.steps_per_epoch
        opinion = Opinion((swing,))
        if grouped:
            opinion.add(6, say("group_by_length is on, and the loss swings with a period of {rows:.3g} rows", rows=rows))
        elif rows <= 2.5 or not (chunk or (epoch and 3 * steps < epoch)):
            return None
        else:
            opinion.add(
                2,
                say("the period of {steps:.0f} steps is constant", steps=steps)
                + (say(", an epoch has {epoch:.0f}", epoch=epoch) if epoch else ""),
            )
        if chunk:
            opinion.add(
                2, say("{steps:.0f} steps: the Trainer sorts chunks of {chunk} batches by length", steps=steps, chunk=self.chunk)
            )
        guess = (
            ""
            if grouped
            else say(
                "A constant period of {steps:.0f} steps is the order of the data, most often grouping by length. ", steps=steps
            )
        )
        opinion.explanation = guess + say(_EXPLANATION)
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        return (
            Remedy(
                say("Change nothing, and read the mean over a period"),
                say("grouping by length saves padding; it costs only the look of the curve"),
                {},
                "none",
                ("https://github.com/artidoro/qlora/issues/228",),
            ),
            Remedy(
                say("shuffle without regard to length"),
                say("the swing goes, and the padding comes back"),
                {"group_by_length": False},
                "low",
                ("https://github.com/artidoro/qlora/issues/228",),
                alternative=True,
            ),
        )


_EXPLANATION = later(
    "Examples of like length are put into the same batch, and long ones have another loss than short "
    "ones. The curve follows the length of the batch, over and over; the trend underneath is what "
    "counts."
)
