from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import frexp

from lossdoctor import hardware
from lossdoctor.base import Cause, Opinion
from lossdoctor.language import later, say
from lossdoctor.model import Chart, Remedy
from lossdoctor.remedies import EIGHT_BIT, other_format
from lossdoctor.signs import Signs

XLA = "https://github.com/pytorch/xla/pull/2425"
STACK = "https://github.com/huggingface/finetrainers/issues/143"
#: A version with NaN that an upgrade ended.
_BAD_TORCH = "2.5.0"
_PLATFORMS = {
    "XLA": later("a TPU or another XLA device, where XLA_USE_BF16 turns everything into bf16"),
    "Apple": later("an Apple GPU, whose fp16 and bf16 are less tried"),
}


@dataclass(eq=False, repr=False)
class UnsupportedDtypeOnGpu(Cause):
    """The GPU does not support the number format that it is asked to compute in.

    ## How we tell
    8-bit weights on a GPU before Turing (compute capability below 7.5: V100, P100), fp16 on a GTX 16xx, bf16 on a GPU
    before Ampere. Typical are huge, oscillating losses from the first row, or a learning rate stuck at 0. Weaker signs are NaN
    from the first row on with an AMD, Ascend or XLA device, a version of torch that is known for it, or an image or video model.

    ## What else it could be
    fp16 overflow, which begins with a normal loss. NaN in the data or in the loaded weights, which a check of both shows.

    ## Remedies and their sources
    Leaving the format out is what threads agree on: no 8-bit weights below compute capability 7.5
    (https://github.com/tloen/alpaca-lora/issues/418), no fp16 on a GTX 16xx, no bf16 below 8.0, where torch may emulate it four
    times slower and say that it is supported (https://earino.github.io/applied-deep-learning/site/blog/05_bf16_on_t4.html).
    """

    title = "the GPU does not support this number format"
    confirmed = 4
    #: A first loss that no language model has, however bad its labels.
    wild: float = 20.0
    #: Rows from which on it is no accident that all of them are bf16 numbers.
    rows: int = 5
    decide_by = "run 20 steps in fp32 without quantisation on a smaller model: on a sound setup they are normal"

    def weigh(self, chart: Chart) -> Opinion | None:
        signs = Signs(chart)
        stuck = [
            s for s in chart.all("learning-rate-zero", "skipped-steps") if s.evidence.get("at_start") or s.severity != "info"
        ]
        wild = hardware.eight_bit(chart.run) and (chart.outline.first_loss or 0.0) > self.wild
        if not signs.broken and hardware.platform(chart.run) == "XLA" and (summed := self._summed_in_bf16(chart)):
            return summed
        if not (signs.broken or stuck or wild) or signs.gradient == "zero":
            return None
        opinion = Opinion(signs.witnesses or tuple(stuck))
        found = hardware.unsupported(chart.run)
        if found is None:
            return self._weigh_stack(chart, signs)
        words, _ = found
        opinion.add(5, words)
        if stuck:
            opinion.add(1, say("the learning rate is stuck from the first row: no step was ever made"))
        if signs.from_first_row:
            opinion.add(1, say("there was never a good row"))
        elif self._wild_rows(chart):
            opinion.add(1, say("the loss jumps wildly from the first rows on"))
        elif signs.broken and not stuck:
            opinion.add(-2, say("the first rows were sound"))
        if signs.rate_frozen:
            opinion.add(-2, say("steps are skipped from some row on, as after an overflow"))
        opinion.explanation = say(
            "{gpu} lacks the units for this format; the libraries fall back to code that returns wrong "
            "numbers instead of an error, whatever the data or the learning rate.",
            gpu=chart.run.get("gpu"),
        )
        return opinion

    def _weigh_stack(self, chart: Chart, signs: Signs) -> Opinion | None:
        """Weaker: a platform or a version of torch on which formats and kernels are less tried."""
        opinion, platform = Opinion(signs.witnesses), hardware.platform(chart.run)
        if hardware.eight_bit(chart.run) and (chart.outline.first_loss or 0.0) > self.wild:
            opinion.add(
                2,
                say(
                    "the weights are 8-bit, and the first loss is already {first_loss:,.4g}", first_loss=chart.outline.first_loss
                ),
            )
        if hardware.eight_bit(chart.run) and hardware.uses_deepspeed(chart.run):
            opinion.add(1, say("8-bit weights are not made to be split up by DeepSpeed"))
        if not signs.broken:
            opinion.explanation = say(
                "8-bit kernels need Turing or newer. On older GPUs they return wrong numbers instead of an error."
            )
            return opinion if opinion.points > 1 else None
        if platform:
            opinion.add(1, say("the accelerator is {words}", words=say(_PLATFORMS.get(platform, platform))))
        if str(chart.run.get("torch_version") or "").startswith(_BAD_TORCH):
            opinion.add(
                1,
                say(
                    "torch {torch_version} gives NaN with some models; the next version does not",
                    torch_version=chart.run.get("torch_version"),
                ),
            )
        if signs.from_first_row and (opinion.points or signs.text_model is False) and signs.precision != "fp16":
            opinion.add(
                1, say("NaN from the first row on, before any step could have moved a weight: the forward pass itself fails")
            )
        opinion.explanation = say(
            "With these weights and this data the first forward pass is already NaN. If both are finite, the "
            "library or the accelerator computes wrongly: a kernel, or a format that it only emulates."
        )
        return opinion

    @staticmethod
    def _wild_rows(chart: Chart) -> bool:
        """Whether a row is several times the one before it among the first."""
        losses = chart.outline.there("loss")[:6]
        return any(max(a, b) > 2.5 * min(a, b) > 0 for a, b in pairwise(losses))

    def _summed_in_bf16(self, chart: Chart) -> Opinion | None:
        """Losses that are bf16 numbers one and all: they were added up in bf16, where a sum soon stops growing."""
        losses = chart.outline.there("loss")
        if chart.outline.rows < self.rows or len(losses) < 3 or not all(frexp(loss)[0] * 256 % 1 == 0 for loss in losses):
            return None
        opinion = Opinion(())
        opinion.add(
            4, say("the losses of all {rows} rows have no more than the 8 digits of a bf16 number", rows=chart.outline.rows)
        )
        opinion.explanation = say(
            "With XLA_USE_BF16 every tensor is bf16, also the sum of the losses of a logging window: it "
            "stops growing when the next loss is smaller than its last digit. The curve stands still because "
            "of that, whatever the model learns."
        )
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        found = hardware.unsupported(chart.run)
        if found is None:
            if hardware.eight_bit(chart.run):
                why = say("compute capability 7.5 (Turing) or newer is needed for them; 4-bit weights go down to older GPUs")
                return (Remedy(say("Train without 8-bit weights"), why, {"load_in_8bit": False}, "medium", (EIGHT_BIT,)),)
            xla = hardware.platform(chart.run) == "XLA"
            why = say("bf16 then comes with mixed precision and fp32 weights; the variable also makes averaged losses wrong")
            wide = Remedy(say("If XLA_USE_BF16 is set, unset it"), why, {"bf16": True}, "none", (XLA,))
            why = say("NaN in the first step of a video model was a fault of one version of torch, and went with the next one")
            return (
                *((wide,) if xla else ()),
                Remedy(say("Upgrade PyTorch, and its build for this accelerator"), why, {}, "low", (STACK,)),
            )
        return other_format(chart.run)
