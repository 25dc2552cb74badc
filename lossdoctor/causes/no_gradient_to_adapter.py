from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion
from lossdoctor.language import later, say
from lossdoctor.learning_rates import band_of, rate_of
from lossdoctor.model import Chart, Remedy
from lossdoctor.remedies import non_reentrant
from lossdoctor.signs import Signs
from lossdoctor.tasks import adapter

CUT = later(
    "The loss is computed and its gradient goes nowhere: PeftModel.from_pretrained loads an adapter "
    "frozen, prepare_model_for_kbit_training called after the adapter freezes it, and reentrant "
    "gradient checkpointing cuts it off from the loss. Training then runs to its end and changes "
    "nothing."
)

#: Share of the adapter's parameters that a gradient must reach.
SOME = 0.5
CUT_OFF = later(
    "Only what lies behind the cut learns, such as a head. Reentrant gradient checkpointing passes no gradient on unless its "
    "inputs ask for one, and frozen embeddings do not; the gradient norm that is logged is that of the rest."
)


@dataclass(eq=False, repr=False)
class NoGradientToAdapter(Cause):
    """No trainable parameter gets a gradient: the adapter is frozen, or cut off from the loss.

    ## How we tell
    The gradient norm is exactly 0 while the loss is normal and stays where it is. A trainable-parameter count of 0 proves it.
    Inside a Trainer: the parameters of the adapter have no gradient in the first steps, while a head that is trained with it has.

    ## What else it could be
    Masked labels: there the loss is 0 as well. Half-precision weights: there the gradient is sound and the update is lost.

    ## Remedies and their sources
    `is_trainable=True` ended the cases of an adapter that was loaded frozen (https://github.com/huggingface/peft/issues/1142); a
    trainer may freeze one that is wrapped already (https://github.com/huggingface/trl/issues/3926). Reentrant gradient
    checkpointing gives an adapter no gradient unless the inputs ask for one: use the other kind
    (https://github.com/huggingface/transformers/issues/26221).
    """

    title = "no gradient reaches a trainable parameter"
    confirmed = 6
    decide_by = "model.print_trainable_parameters(), then look for p.grad is not None after one backward pass"

    def weigh(self, chart: Chart) -> Opinion | None:
        return self._cut_off(chart) or self._none_at_all(chart)

    @staticmethod
    def _cut_off(chart: Chart) -> Opinion | None:
        """An adapter of which little or nothing was seen to get a gradient, while something behind it gets one."""
        reached, run = chart.run.get("adapter_gradient"), chart.run
        if reached is None or reached >= SOME:
            return None
        if reached and not (run.get("gradient_checkpointing") is True and not run.get("inputs_require_grads")):
            return None  # experts, or a picture encoder, that the first batches did not use
        opinion = Opinion(())
        if reached:
            opinion.add(
                5, say("only {reached:.0%} of the adapter's parameters get a gradient in the first steps", reached=reached)
            )
        else:
            opinion.add(7, say("no parameter of the adapter gets a gradient, while others that are trained with it do"))
        if run.get("gradient_checkpointing") is True:
            opinion.add(2, say("gradient checkpointing can cut the gradient of an adapter"))
        opinion.explanation = say(CUT_OFF)
        return opinion

    def _none_at_all(self, chart: Chart) -> Opinion | None:
        zero = chart.seen("gradient-zero")
        none_trainable = chart.run.get("trainable_parameters") == 0
        if not (zero and zero.open) and not none_trainable:
            return self._suspected(chart)
        if zero is None and Signs(chart).broken:
            return None  # a loss that moved to NaN had a gradient
        if zero and not zero.evidence.get("from_first_row") and not none_trainable:
            return None  # what is frozen or cut off never had one
        if chart.seen("reward-variance-zero") and not none_trainable:
            return None  # equal rewards give no gradient
        opinion = Opinion((zero,) if zero else ())
        if none_trainable:
            opinion.add(6, say("the model has no trainable parameter at all"))
        masked = chart.seen("labels-all-masked")
        if masked and masked.open:
            if not none_trainable:
                return None
            opinion.add(-1, say("loss and gradient are both 0: masked labels look the same"))
        elif zero:
            zero_losses = zero.evidence.get("zero_loss_rows", 0.0)
            if zero_losses:
                opinion.add(1, say("the gradient is exactly 0"))
            else:
                opinion.add(4, say("the gradient is exactly 0 while the loss is normal"))
        signs = Signs(chart)
        if chart.run.get("use_lora") or chart.run.get("lora_r"):
            opinion.add(2, say("an adapter is trained, and an adapter can be loaded frozen"))
        if chart.run.get("gradient_checkpointing") is True:
            opinion.add(1, say("gradient checkpointing can cut the gradient of an adapter"))
        if "grpo" in signs.framework or "ppo" in signs.framework:
            opinion.add(-1, say("in reinforcement learning equal rewards give a zero gradient as well"))
        opinion.explanation = say(CUT)
        return opinion

    @staticmethod
    def _suspected(chart: Chart) -> Opinion | None:
        """An adapter whose loss stands still at a usual rate, in a log without gradient norms."""
        still, band, rate = Signs(chart).still, band_of(chart.run), rate_of(chart)
        if still is None or not adapter(chart.run) or chart.outline.typical_norm is not None or not rate or not band:
            return None
        if rate < band.low:
            return None
        opinion = Opinion(still.because)
        opinion.add(1, say("{still_words}, at a rate that is usual for {method}", still_words=still.words, method=band.method))
        if chart.run.get("gradient_checkpointing") is True:
            opinion.add(1, say("gradient checkpointing can cut the gradient of an adapter, and no gradient norm was logged"))
        opinion.explanation = say(CUT)
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        more = chart.run.get("gradient_checkpointing_kwargs")
        reentrant = isinstance(more, dict) and more.get("use_reentrant") is True and not chart.run.get("inputs_require_grads")
        load = Remedy(
            say("Load the adapter for training"),
            say("PeftModel.from_pretrained freezes it unless told otherwise"),
            {"is_trainable": True},
            "none",
            ("https://github.com/huggingface/peft/issues/1142", "https://github.com/huggingface/trl/issues/3926"),
        )
        trainable = bool(chart.run.get("trainable_parameters"))  # frozen parameters are none that checkpointing cuts off
        cut = chart.run.get("gradient_checkpointing") is True and trainable and (reentrant or self._cut_off(chart) is not None)
        return (non_reentrant(), load) if cut else (load, non_reentrant())
