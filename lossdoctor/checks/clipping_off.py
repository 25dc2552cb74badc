from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.learning_rates import WARM_UP
from lossdoctor.model import Finding, Remedy
from lossdoctor.plan import Plan


@dataclass(eq=False, repr=False)
class ClippingOff(Check):
    """Gradients are not clipped.

    ## What it looks at
    `max_grad_norm`: 0 switches clipping off, and so large a number that no gradient reaches it does the same.

    ## Why it matters
    One batch with a gradient of a thousand times the usual length is enough to leave the valley; clipped, it is a step like any
    other (https://ar5iv.labs.arxiv.org/html/2309.14322). It is a note: in matched runs without such a batch, clipping made no
    difference.

    ## What it misses
    Clipping that an optimizer does by itself.
    """

    title = "no clipping of gradients"
    place = 8
    #: A norm that no sound gradient has.
    absurd: float = 100.0

    def look(self, plan: Plan) -> Finding | None:
        norm = plan.get("max_grad_norm")
        if not isinstance(norm, (int, float)) or 0 < norm < self.absurd or "adafactor" in plan.run.words("optim"):
            return None
        words = (
            say("max_grad_norm: 0 switches clipping off")
            if norm == 0
            else say("max_grad_norm is {norm:g}, which clips nothing", norm=norm)
        )
        why = say("it costs nothing, and one bad batch cannot throw the run")
        return self.finding("info", words, remedies=(Remedy(say("Clip at 1"), why, {"max_grad_norm": 1.0}, "none", (WARM_UP,)),))
