from __future__ import annotations

import re
from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion
from lossdoctor.language import say
from lossdoctor.model import Chart, Remedy


@dataclass(eq=False, repr=False)
class LossScaledByAccumulation(Cause):
    """The loss is summed over accumulation steps (or processes) instead of averaged.

    ## How we tell
    The training loss is a steady multiple of the evaluation loss, and the multiple is `gradient_accumulation_steps` or the
    number of processes. Without evaluation: the first loss is above that of guessing, and divided by the accumulation steps
    it would be plausible. transformers 4.46 to 4.51 did this with some models.

    ## What else it could be
    Labels or embeddings that do not fit the model: then the evaluation loss is as high. Overfitting moves the two losses
    apart as well, but the other way round and not by a constant factor.

    ## Remedies and their sources
    Upgrading transformers ended the confirmed cases of 4.46 and 4.47
    (https://github.com/huggingface/transformers/issues/35204); some models kept the error until 4.51
    (https://github.com/huggingface/transformers/issues/37766). A model of your own must use `num_items_in_batch`
    (https://github.com/huggingface/transformers/pull/35438), or the Trainer be told with `model_accepts_loss_kwargs` that it
    does not: it then divides by the accumulation steps itself.
    """

    title = "the loss is summed over accumulation steps"
    confirmed = 4
    decide_by = "run 10 steps with gradient_accumulation_steps=1 and the same batch: the first loss must not change"

    #: Versions of transformers that logged such losses for some models.
    first_minor: int = 46
    last_minor: int = 51
    #: A gradient norm from which on the multiplication may be suspected with these versions.
    high_norm: float = 10.0

    def weigh(self, chart: Chart) -> Opinion | None:
        gap, opening = chart.seen("train-eval-scale-gap"), chart.seen("opening-loss-above-chance")
        steps = chart.run.get("gradient_accumulation_steps")
        if steps == 1 and gap is None:
            return None
        opinion = Opinion(tuple(s for s in (gap, opening) if s))
        if gap and gap.severity == "warning":
            ratio, factor = gap.evidence["ratio"], gap.evidence["factor"]
            opinion.add(
                6,
                say(
                    "train and evaluation loss differ by {ratio:.3g}, and {factor:.0f} is a factor of this run",
                    ratio=ratio,
                    factor=factor,
                ),
            )
        elif gap:
            opinion.add(
                2, say("the training loss is a steady {ratio:.3g} times the evaluation loss", ratio=gap.evidence["ratio"])
            )
        if opening and opening.open and isinstance(steps, (int, float)) and steps > 1:
            share = opening.evidence["loss"] / steps
            if share < 0.9 * opening.evidence["chance"]:
                opinion.add(
                    3,
                    say(
                        "divided by the {steps:.0f} accumulation steps the first loss would be {share:.3g}",
                        steps=steps,
                        share=share,
                    ),
                )
            else:
                opinion.add(-2, say("even divided by the {steps:.0f} accumulation steps the first loss is too high", steps=steps))
        norm = chart.outline.typical_norm or 0.0
        if not opinion.points and self._affected(chart) and norm > self.high_norm and isinstance(steps, int) and steps > 1:
            opinion.add(
                1,
                say(
                    "the gradient norm is {norm:.3g}, and divided by {steps} accumulation steps {norm2:.2g}",
                    norm=norm,
                    steps=steps,
                    norm2=norm / steps,
                ),
            )
            opinion.add(
                1,
                say(
                    "transformers {transformers_version} multiplies loss and gradient for some models",
                    transformers_version=chart.run.get("transformers_version"),
                ),
            )
        elif opinion.points > 0 and self._affected(chart):
            opinion.add(
                2,
                say(
                    "transformers {transformers_version} does this with some models",
                    transformers_version=chart.run.get("transformers_version"),
                ),
            )
        opinion.explanation = say(
            "Each micro-batch adds its mean loss, and the sum is not divided by their number. The gradient "
            "is as much too large, so clipping acts at every step and the learning rate means something else "
            "than it says; Adam hides part of that."
        )
        return opinion

    def _affected(self, chart: Chart) -> bool:
        found = re.match(r"4\.(\d+)", str(chart.run.get("transformers_version", "")))
        return bool(found) and self.first_minor <= int(found[1]) <= self.last_minor  # type: ignore[index]

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        upgrade = Remedy(
            say("Upgrade transformers to 4.52 or later"),
            say("the Trainer then divides by the number of tokens of all accumulation steps"),
            {},
            "low",
            (
                "https://github.com/huggingface/transformers/issues/35204",
                "https://github.com/huggingface/transformers/issues/37766",
            ),
        )
        own = Remedy(
            say("If the model is your own, let its loss take num_items_in_batch"),
            say("a forward that ignores it gives a mean per micro-batch, which the Trainer no longer divides"),
            {},
            "low",
            ("https://github.com/huggingface/transformers/pull/35438",),
        )
        return (*self._divided(), own) if self._newer(chart) else (upgrade, own)

    @staticmethod
    def _divided() -> tuple[Remedy, ...]:
        return (
            Remedy(
                say("Let the Trainer divide by the accumulation steps: set trainer.model_accepts_loss_kwargs to false"),
                say("a compute_loss or a model that ignores num_items_in_batch gives a mean per micro-batch, and the sum of "
                    "these is divided only where the Trainer knows it"),
                {"model_accepts_loss_kwargs": False},
                "none",
                ("https://github.com/huggingface/transformers/pull/35438",),
            ),
        )  # fmt: skip

    def _newer(self, chart: Chart) -> bool:
        """Whether this is a release in which only code of one's own adds up means."""
        found = re.match(r"(\d+)\.(\d+)", str(chart.run.get("transformers_version", "")))
        return bool(found) and (int(found[1]), int(found[2])) > (4, self.last_minor)  # type: ignore[index]
