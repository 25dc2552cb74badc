from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Cause, Opinion
from lossdoctor.families import billions
from lossdoctor.language import later, say
from lossdoctor.learning_rates import rate_of, short
from lossdoctor.model import Chart, Remedy
from lossdoctor.remedies import FP32_WEIGHTS, fp32_weights, start_again
from lossdoctor.signs import Signs
from lossdoctor.tasks import adapter

SOURCES = (FP32_WEIGHTS,)
LOST = later(
    "An update of AdamW is about as large as the learning rate. Added to a weight of 16 bits, an "
    "update below its last digit changes nothing at all: the gradient is sound, every step is "
    "computed, and the weights stay what they were."
)


@dataclass(eq=False, repr=False)
class HalfPrecisionWeights(Cause):
    """The trainable weights themselves are stored in 16 bits.

    ## How we tell
    `torch_dtype` is float16, with mixed precision or without: fp16 weights without a scaler turn NaN from step 2 on, and
    small updates are lost: the loss stands still although its gradient is sound. Losses that jump between normal, huge
    and NaN at an unknown precision are a weaker sign.

    ## What else it could be
    fp16 overflow of activations, which strikes with fp32 weights too. A frozen adapter, whose gradient norm is 0.

    ## Remedies and their sources
    Trainable weights in fp32 with mixed precision on ended the confirmed cases; pure half-precision weights gave NaN and losses
    of 153,318 in Gemma (https://github.com/google/gemma_pytorch/issues/24). It costs two more bytes per trainable weight, which
    for an adapter is next to nothing.
    """

    title = "trainable weights stored in 16 bits"
    confirmed = 13
    #: Billions of parameters from which on fp32 weights do not fit beside an optimizer.
    large: float = 5.0
    #: bf16 keeps 8 bits: half a step of its last digit at a weight of 0.02, which is what an update of AdamW must exceed.
    last_digit: float = 4e-5
    decide_by = "print {p.dtype for p in model.parameters() if p.requires_grad}: it must be {torch.float32}"

    def weigh(self, chart: Chart) -> Opinion | None:
        signs = Signs(chart)
        if lost := self._lost_updates(chart, signs):
            return lost
        symptoms = signs.witnesses or signs.scattered
        if not (signs.broken or signs.scattered) or signs.gradient in ("zero", "constant"):
            return None
        run = chart.run
        dtype = str(run.get("torch_dtype") or "").lower()
        opinion = Opinion(symptoms)
        if str(run.get("fp16")).lower() in hardware.PURE:
            opinion.add(5, say("fp16 is set to full: weights and optimizer are 16 bits wide"))
        elif dtype in hardware.HALF:
            mixed = signs.precision in ("fp16", "bf16")
            opinion.add(
                4,
                say("the weights are loaded as {dtype}", dtype=dtype)
                + (say(" although training is {precision}", precision=signs.precision) if mixed else ""),
            )
        elif dtype in hardware.BRAIN and signs.precision == "fp16":
            opinion.add(3, say("bf16 weights under an fp16 loss scaler"))
        elif signs.precision is None and self._jumps(chart):
            opinion.add(2, say("the loss jumps between normal and NaN, as it does when weights have no fp32 copy"))
        if not opinion.points:
            return None
        opinion.explanation = say(
            "Mixed precision computes in 16 bits and keeps the weights in 32. Here the weights themselves "
            "have 16 bits: an update smaller than their last digit is lost, and a larger one overflows."
        )
        return opinion

    def _lost_updates(self, chart: Chart, signs: Signs) -> Opinion | None:
        """A loss that stands still although its gradient is sound, because no update reaches the last digit of a weight."""
        still, rate = signs.still, rate_of(chart)
        dtype = str(chart.run.get("torch_dtype") or "").lower()
        pure = str(chart.run.get("fp16")).lower() in hardware.PURE
        if still is None or not (pure or dtype in (*hardware.HALF, *hardware.BRAIN)) or chart.seen("gradient-zero"):
            return None
        opinion = Opinion(still.because)
        opinion.add(1, still.words)
        opinion.add(2, say("the weights are {dtype}", dtype=say("fp16, like all else") if pure else dtype))
        if rate and rate < self.last_digit:
            opinion.add(
                2,
                say("at a rate of {rate} an update is smaller than the last digit of a typical weight of 0.02", rate=short(rate)),
            )
        if adapter(chart.run):
            opinion.add(-1, say("an adapter is trained, and PEFT keeps its weights in 32 bits unless told otherwise"))
        opinion.explanation = say(LOST)
        return opinion

    @staticmethod
    def _jumps(chart: Chart) -> bool:
        loss = chart.seen("loss-not-finite")
        return bool(loss and loss.evidence.get("finite_rows_after") and not loss.evidence.get("learning_rate_frozen"))

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        size, dtype = billions(chart.run) or 0.0, str(chart.run.get("torch_dtype") or "").lower()
        if size >= self.large and not adapter(chart.run) and dtype in hardware.HALF and hardware.precision(chart.run) == "bf16":
            why = say(
                "{size:g} billion weights take {size2:.0f} GB in fp32, before any optimizer; bf16 at least cannot overflow",
                size=size,
                size2=4 * size,
            )
            load = Remedy(
                say("Load the weights in bf16, as the training computes"), why, {"torch_dtype": "bfloat16"}, "low", SOURCES
            )
            return (load, *start_again(chart))
        return (fp32_weights(), *start_again(chart))
