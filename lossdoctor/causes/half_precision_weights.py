from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion
from lossdoctor.model import Chart, Remedy
from lossdoctor.remedies import start_again
from lossdoctor.signs import Signs

HALF = ("float16", "fp16", "half", "torch.float16")
BRAIN = ("bfloat16", "bf16", "torch.bfloat16")


@dataclass(eq=False, repr=False)
class HalfPrecisionWeights(Cause):
    """The trainable weights themselves are stored in 16 bits.

    ## How we tell
    `torch_dtype` is float16, with mixed precision or without: fp16 weights without a scaler turn NaN from step 2 on, and
    small updates are lost. Losses that jump between normal, huge and NaN at an unknown precision are a weaker sign.

    ## What else it could be
    fp16 overflow of activations, which strikes with fp32 weights too. A frozen adapter, whose gradient norm is 0.
    """

    title = "Trainable weights stored in 16 bits"
    confirmed = 13
    decide_by = "print {p.dtype for p in model.parameters() if p.requires_grad}: it must be {torch.float32}"

    def weigh(self, chart: Chart) -> Opinion | None:
        signs = Signs(chart)
        symptoms = signs.witnesses or signs.scattered
        if not (signs.broken or signs.scattered) or signs.gradient in ("zero", "constant"):
            return None
        run = chart.run
        dtype = str(run.get("torch_dtype") or "").lower()
        opinion = Opinion(symptoms)
        if str(run.get("fp16")).lower() in ("full", "pure"):
            opinion.add(5, "fp16 is set to full: weights and optimizer are 16 bits wide")
        elif dtype in HALF:
            mixed = signs.precision in ("fp16", "bf16")
            opinion.add(4, f"the weights are loaded as {dtype}" + (f" although training is {signs.precision}" if mixed else ""))
        elif dtype in BRAIN and signs.precision == "fp16":
            opinion.add(3, "bf16 weights under an fp16 loss scaler")
        elif signs.precision is None and self._jumps(chart):
            opinion.add(2, "the loss jumps between normal and NaN, as it does when weights have no fp32 copy")
        if not opinion.points:
            return None
        opinion.explanation = (
            "Mixed precision computes in 16 bits and keeps the weights in 32. Here the weights themselves have 16 bits: an "
            "update smaller than their last digit is lost, and a larger one overflows."
        )
        return opinion

    @staticmethod
    def _jumps(chart: Chart) -> bool:
        loss = chart.seen("loss-not-finite")
        return bool(loss and loss.evidence.get("finite_rows_after") and not loss.evidence.get("learning_rate_frozen"))

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        return (
            Remedy(
                "Load the model in fp32, or cast the trainable parameters to fp32, and keep mixed precision on",
                "AMP then computes in 16 bits and updates in 32",
                {"torch_dtype": "float32"},
                "medium",
                ("https://github.com/google/gemma_pytorch/issues/24",),
            ),
            *start_again(chart),
        )
