from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.families import family_of
from lossdoctor.language import say
from lossdoctor.model import Finding, Severity
from lossdoctor.plan import Plan
from lossdoctor.remedies import quantised_compute, wider_precision


@dataclass(eq=False, repr=False)
class Fp16ForBf16Model(Check):
    """A model that was trained in bf16 is fine-tuned in fp16.

    ## What it looks at
    fp16, and the family of the model by its name or type. A warning where overflows of that family are known (T5, Gemma, Qwen2,
    Phi-2 without a fused attention kernel); a note where only its training in bf16 is.

    ## Why it matters
    fp16 ends at 65,504. Activations of T5 reach 66,246 (https://github.com/huggingface/transformers/issues/9295), those of Gemma
    go beyond it (https://unsloth.ai/blog/gemma3), and Qwen2 gives a logged loss of 0
    (https://github.com/QwenLM/Qwen3/issues/670). A lower learning rate does not change activations.

    ## What it misses
    Other models with large activations, and tools that keep the sensitive layers in fp32, as Unsloth does.
    """

    title = "fp16 for a model that was trained in bf16"
    includes = ("nan-hidden-in-fp16",)
    place = 1

    def look(self, plan: Plan) -> Finding | None:
        family = family_of(plan.run)
        if plan.precision != "fp16" or family is None or not family.fp16:
            return None
        fused = family.attention and str(plan.get("attn_implementation") or "?") in family.attention and family.name == "Phi-2"
        careful = fused or "unsloth" in plan.run.words("framework", "model_name_or_path")
        model = plan.get("model_name_or_path") or family.name
        severity: Severity = "warning" if family.overflows and not careful else "info"
        words = say("{model} is to be trained in fp16, which ends at 65,504: {fp16}", model=model, fp16=say(family.fp16))
        because = [say("fp16: from {source}", source=plan.run.facts["fp16"].source)] if "fp16" in plan.run.facts else []
        if family.source:
            because.append(say("known of {family_name}: {source}", family_name=family.name, source=family.source))
        return self.finding(severity, words, *because, remedies=(wider_precision(plan.run), *quantised_compute(plan.run)))
