from __future__ import annotations

import re
from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import MEDIUM, Cause, Opinion
from lossdoctor.language import say
from lossdoctor.model import Chart, Remedy
from lossdoctor.signs import Signs

#: Families whose rotary base is 500,000 or more: their angles need more digits.
_LARGE_BASE = r"llama[-_ ]?(?:3|4)|qwen|yi\b|internlm|codellama|deepseek|mistral-nemo|glm-?4"
#: Symptoms of a loss that is too high, but not broken.
_SYMPTOMS = ("loss-plateau", "opening-loss-above-chance")


@dataclass(eq=False, repr=False)
class LowPrecisionRope(Cause):
    """The tables of the rotary position embedding were rounded to bf16, so far positions blur into each other.

    ## How we tell
    By a check only; the log shows no more than a loss that is somewhat too high and does not fall. It is considered where the
    weights themselves are bf16, or under ZeRO-3, and the context has 8,192 tokens or more: the error grows with both. bf16
    keeps 8 bits, so the positions 5,010 and 5,035 have the same number.

    ## What else it could be
    Nearly every other cause of a plateau, all of which are more frequent: the learning rate, the labels, a frozen adapter.

    ## Remedies and their sources
    `inv_freq`, cos and sin in fp32, also where the model is cast to bf16 afterwards: five public threads report it and three
    confirm it, over several model families. bf16 has 8 bits of precision
    (https://thecharlieblake.co.uk/mixed-precision-training).
    """

    title = "rotary position tables rounded to bf16"
    confirmed = 3
    decide_by = "print model.model.rotary_emb.inv_freq.dtype after loading: it must be torch.float32"
    long: int = 8192

    def weigh(self, chart: Chart) -> Opinion | None:
        still = Signs(chart).still
        seen = tuple(s for s in chart.all(*_SYMPTOMS) if s.open and s.severity != "info")
        run, length = chart.run, chart.run.get("max_length")
        if not (seen or still) or Signs(chart).broken or not isinstance(length, int) or length < self.long:
            return None
        stored = "bf16" in str(run.get("torch_dtype") or "").lower().replace("bfloat16", "bf16")
        sharded = hardware.zero_stage(run) == 3 and hardware.precision(run) == "bf16"
        if not stored and not sharded:
            return None
        opinion = Opinion(seen)
        words = say("the weights are stored in bf16") if stored else say("ZeRO-3 casts all tables to bf16")
        opinion.add(1, say("{words}, and the context has {length:,} tokens", words=words, length=length))
        name = run.words("model_name_or_path", "model_type")
        if re.search(_LARGE_BASE, name):
            opinion.add(1, say("this family has a large rotary base, which needs more digits than most"))
        opinion.points = min(opinion.points, MEDIUM - 1)  # the log alone never shows it
        opinion.explanation = say(
            "Casting the whole model to bf16 casts the table of rotary frequencies as well. Attention then "
            "confuses tokens that are far apart, which costs a little loss at short context and more at long."
        )
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        return (
            Remedy(
                say(
                    "Keep inv_freq, cos and sin in fp32: load in fp32 and let mixed precision cast, instead of model.to(bfloat16)"
                ),
                say("autocast leaves the tables alone, a cast of the model does not"),
                {"torch_dtype": "float32", "bf16": True},
                "medium",
                ("https://thecharlieblake.co.uk/mixed-precision-training",),
            ),
        )
