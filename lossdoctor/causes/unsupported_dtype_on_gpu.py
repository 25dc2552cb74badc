from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lossdoctor import hardware
from lossdoctor.base import Cause, Opinion
from lossdoctor.model import Chart, Remedy
from lossdoctor.signs import Signs


@dataclass(eq=False, repr=False)
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
        found = self._unsupported(chart)
        if found is None:
            return None
        words, _ = found
        opinion.add(5, words)
        if stuck:
            opinion.add(1, "the learning rate is stuck from the first row: no step was ever made")
        if signs.from_first_row:
            opinion.add(1, "there was never a good row")
        elif signs.broken and not stuck:
            opinion.add(-2, "the first rows were sound")
        if signs.rate_frozen:
            opinion.add(-2, "steps are skipped from some row on, as after an overflow")
        opinion.explanation = (
            f"{chart.run.get('gpu')} lacks the units for this format; the libraries fall back to code that returns wrong numbers "
            "instead of an error, whatever the data or the learning rate."
        )
        return opinion

    @staticmethod
    def _unsupported(chart: Chart) -> tuple[str, dict[str, Any]] | None:
        """What this GPU cannot do of what the run asks for, and the settings without it."""
        run, precision = chart.run, hardware.precision(chart.run)
        gpu, capability = run.get("gpu"), hardware.compute_capability(run)
        eight_bit = re.search(r"(?<!\d)8[-_ ]?bit|int8|^8$", str(run.get("quantization") or "").lower())
        if (
            eight_bit
            and "4bit" not in str(run.get("quantization")).lower()
            and capability
            and capability < hardware.INT8_CAPABILITY
        ):
            return f"8-bit weights need compute capability 7.5, {gpu} has {capability}", {"load_in_8bit": False}
        if precision == "fp16" and re.search(r"gtx\s*16\d0", str(gpu).lower()):
            return f"fp16 is broken on {gpu}", {"fp16": False}
        if precision == "bf16" and capability and capability < hardware.BF16_CAPABILITY:
            return f"bf16 needs compute capability 8.0, {gpu} has {capability}", {"bf16": False}
        return None

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        found = self._unsupported(chart)
        words, change = found or ("", {})
        source = "https://github.com/tloen/alpaca-lora/issues/418"
        return (Remedy("Do not use this format on this GPU", words, change, "medium", (source,)),)
