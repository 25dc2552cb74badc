from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion
from lossdoctor.model import Chart
from lossdoctor.signs import Signs
from lossdoctor.tasks import PREFERENCE, REINFORCEMENT, SUPERVISED


@dataclass(eq=False, repr=False)
class RlLossNotMeaningful(Cause):
    """In reinforcement learning and preference tuning the loss does not tell how good the model is.

    ## How we tell
    The log has columns such as `reward`, `kl` or `rewards/margins`, or the trainer is named GRPO, PPO, DPO, KTO and the like.

    ## What else it could be
    A NaN gradient norm is a failure here as anywhere else.
    """

    title = "The loss of this trainer does not measure quality"
    confirmed = 8
    decide_by = "judge by reward and its spread (GRPO, PPO), or by rewards/margins and rewards/accuracies (DPO, KTO)"
    normal = True

    def weigh(self, chart: Chart) -> Opinion | None:
        task = chart.run.get("task", SUPERVISED)
        if task not in (REINFORCEMENT, PREFERENCE) or Signs(chart).broken:
            return None
        if task == PREFERENCE and chart.seen("loss-at-chance"):
            return None  # a preference loss that stays at ln 2 has learned nothing: that is not expected
        opinion = Opinion(())
        opinion.add(6, f"the columns or the trainer say {task}")
        opinion.explanation = (
            "GRPO and PPO start at a loss of 0, because the policy equals its reference, and rise with the divergence or go "
            "below 0: neither is an error. What counts is the reward."
            if task == REINFORCEMENT
            else "A preference loss measures the margin between two answers; it may reach 0, and the rewards of both answers may "
            "fall below 0 together, while the margin grows. What counts is the margin and the accuracy."
        )
        return opinion
