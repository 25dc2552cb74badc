from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.model import Finding, Severity
from lossdoctor.plan import Plan
from lossdoctor.remedies import no_overlap


@dataclass(eq=False, repr=False)
class OverlappingCommunication(Check):
    """DeepSpeed ZeRO-1 or ZeRO-2 reduces gradients while it frees their buffers.

    ## What it looks at
    `overlap_comm: true` at stage 1 or 2. A warning with several processes and `contiguous_gradients`, where all confirmed cases
    come from; else a note. Nothing with one process or at stage 3.

    ## Why it matters
    The buffers may be freed before the reduction is done: the loss then reads 0.0 or the gradient norm NaN, on one machine and
    not on another. `overlap_comm: false` ended six confirmed cases and costs little speed
    (https://github.com/deepspeedai/DeepSpeed/issues/7188, https://github.com/deepspeedai/DeepSpeed/issues/5347). Most runs with
    it are sound.

    ## What it misses
    DeepSpeed configurations that are named and not at hand.
    """

    title = "overlapping communication in ZeRO-1/2"
    place = 2

    def look(self, plan: Plan) -> Finding | None:
        run, stage, processes = plan.run, hardware.zero_stage(plan.run), hardware.gpus(plan.run)
        if run.get("overlap_comm") is not True or stage not in (1, 2) or processes == 1:
            return None
        severity: Severity = "warning" if hardware.races(run) else "info"
        words = say("overlap_comm is on with ZeRO-{stage}", stage=stage)
        words += say(" on {processes} processes", processes=processes) if processes else ""
        words += say(": gradients may be freed before they are reduced, and then read as NaN")
        because = [say("overlap_comm: true, from {source}", source=run.facts["overlap_comm"].source)]
        if run.get("contiguous_gradients") is True:
            because.append(say("contiguous_gradients: true, as in the confirmed cases"))
        return self.finding(severity, words, *because, remedies=no_overlap())
