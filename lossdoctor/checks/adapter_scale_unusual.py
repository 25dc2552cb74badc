from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.learning_rates import GUIDE, LORA
from lossdoctor.model import Finding, Remedy, Severity
from lossdoctor.plan import Plan
from lossdoctor.slips import short


@dataclass(eq=False, repr=False)
class AdapterScaleUnusual(Check):
    """The update of the adapter is multiplied by a factor far from the usual ones.

    ## What it looks at
    alpha / rank, or alpha / √rank with rsLoRA. Usual are 0.25 (QLoRA) to 2.

    ## Why it matters
    The factor works like a learning rate: at 16 a rate of 2e-4 does what 2e-3 does elsewhere, and at 0.05 nothing moves. The best
    rate is about independent of the rank as long as the factor stays (https://arxiv.org/abs/2312.03732).

    ## What it misses
    Ranks and alphas that a pattern sets for single modules.
    """

    title = "unusual scale of the adapter"
    place = 3
    #: Factors beyond which the scale is a note, and four times beyond which it is a warning.
    high: float = 8.0
    low: float = 0.1
    far: float = 4.0

    def look(self, plan: Plan) -> Finding | None:
        scale = plan.adapter_scale
        if scale is None or self.low <= scale.value <= self.high:
            return None
        strong = scale.value > self.high
        off = scale.value / self.high if strong else self.low / scale.value if scale.value > 0 else float("inf")
        severity: Severity = "warning" if off >= self.far else "info"
        words = say(
            "the update of the adapter is multiplied by {scale_value} ({scale_how}); 0.25 to 2 are usual",
            scale_value=short(float(f"{scale.value:.3g}")),
            scale_how=scale.how,
        )
        rank, stable = int(plan.get("lora_r")), plan.get("use_rslora") is True
        alpha = round(2 * rank**0.5) if stable else 2 * rank if strong else rank
        why = say("a scale of 2, as in most recipes") if strong else say("the rank as alpha gives a scale of 1")
        change = {"lora_alpha": alpha}
        remedy = Remedy(
            say("Set lora_alpha to {alpha}", alpha=alpha),
            say("a scale of 2") if stable else why,
            change,
            "none",
            (GUIDE, LORA[0]),
        )
        return self.finding(severity, words, remedies=(remedy,))
