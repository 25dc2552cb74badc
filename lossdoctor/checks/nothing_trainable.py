from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.model import Finding, Remedy
from lossdoctor.plan import Plan
from lossdoctor.tasks import adapter

FROZEN = "https://github.com/huggingface/peft/issues/1142"


@dataclass(eq=False, repr=False)
class NothingTrainable(Check):
    """The model has no parameter that is trained.

    ## What it looks at
    The number of trainable parameters, inside a Trainer or as it is stated.

    ## Why it matters
    Every step is computed, and nothing changes. `PeftModel.from_pretrained` loads an adapter frozen unless told otherwise
    (https://github.com/huggingface/peft/issues/1142), and some trainers freeze one that is wrapped already
    (https://github.com/huggingface/trl/issues/3926).

    ## What it misses
    Parameters that are trainable and get no gradient: the log shows them.
    """

    title = "nothing to train"
    place = 0

    def look(self, plan: Plan) -> Finding | None:
        if plan.get("trainable_parameters") != 0:
            return None
        words = say("the model has no trainable parameter: every step is computed, and nothing changes")
        told = say("trainable_parameters: 0, from {source}", source=plan.run.facts["trainable_parameters"].source)
        if adapter(plan.run):
            why = say("PeftModel.from_pretrained freezes it unless told otherwise")
            remedy = Remedy(say("Load the adapter for training"), why, {"is_trainable": True}, "none", (FROZEN,))
        else:
            why = say("requires_grad is off for all of them")
            remedy = Remedy(say("Unfreeze what is to be trained: model.requires_grad_(True)"), why, {}, "none", (FROZEN,))
        return self.finding("critical", words, told, remedies=(remedy,))
