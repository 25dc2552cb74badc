from __future__ import annotations

import re
from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Cause, Opinion
from lossdoctor.model import Chart, Remedy
from lossdoctor.signs import Signs


@dataclass
class UnsupportedDtypeOnGpu(Cause):
    """The GPU does not support the number format that it is asked to compute in.

    ## How we tell
    8-bit weights on a GPU before Turing (compute capability below 7.5: V100, P100), fp16 on a GTX 16xx, bf16 on a GPU
    before Ampere. Typical are huge, oscillating losses from the first row, or a learning rate stuck at 0.

    ## What else it could be
    fp16 overflow, which begins with a normal loss.
    """

    title = "The GPU does not support this number format"
    confirmed = 4
    decide_by = "run 20 steps in fp32 without quantisation on a smaller model: on a sound setup they are normal"

    def weigh(self, chart: Chart) -> Opinion | None:
        signs = Signs(chart)
        stuck = [
            s for s in chart.all("learning-rate-zero", "skipped-steps") if s.evidence.get("at_start") or s.severity != "info"
        ]
        if not (signs.broken or stuck) or signs.gradient == "zero":
            return None
        opinion = Opinion(signs.witnesses or tuple(stuck))
        run = chart.run
        gpu, capability = run.get("gpu"), hardware.compute_capability(run)
        eight_bit = "8" in str(run.get("quantization") or "")
        if eight_bit and capability and capability < hardware.INT8_CAPABILITY:
            opinion.add(5, f"8-bit weights need compute capability 7.5, {gpu} has {capability}")
        elif signs.precision == "fp16" and re.search(r"gtx\s*16\d0", str(gpu).lower()):
            opinion.add(5, f"fp16 is broken on {gpu}")
        elif signs.precision == "bf16" and capability and capability < hardware.BF16_CAPABILITY:
            opinion.add(4, f"bf16 needs compute capability 8.0, {gpu} has {capability}")
        if not opinion.points:
            return None
        if stuck:
            opinion.add(1, "the learning rate is stuck from the first row: no step was ever made")
        if signs.from_first_row:
            opinion.add(1, "there was never a good row")
        opinion.explanation = (
            f"{gpu} lacks the units for this format; the libraries fall back to code that returns wrong numbers instead of an "
            "error, so the loss is wrong from the beginning, whatever the data or the learning rate."
        )
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        eight_bit = "8" in str(chart.run.get("quantization") or "")
        change = {"load_in_8bit": False} if eight_bit else {"fp16": False, "bf16": False}
        return (
            Remedy(
                "Do not use this format on this GPU",
                "8-bit kernels need Turing (compute capability 7.5), bf16 units Ampere (8.0)",
                change,
                "medium",
                ("https://github.com/tloen/alpaca-lora/issues/418",),
            ),
        )
