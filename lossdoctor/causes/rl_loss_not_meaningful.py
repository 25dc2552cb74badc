from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion
from lossdoctor.language import say
from lossdoctor.model import Chart
from lossdoctor.signs import Signs
from lossdoctor.tasks import PREFERENCE, REINFORCEMENT, SUPERVISED

#: A preference loss that stays where it began has learned nothing, and one that begins elsewhere has another reference.
_UNEXPECTED = ("loss-at-chance", "loss-plateau", "preference-start-offset")


@dataclass(eq=False, repr=False)
class RlLossNotMeaningful(Cause):
    """In reinforcement learning and preference tuning the loss does not tell how good the model is.

    ## How we tell
    The log has columns such as `reward`, `kl` or `rewards/margins`, or the trainer is named GRPO, PPO, DPO, KTO and the like.
    The first and the last rows of these columns tell whether the run does what it should.

    ## What else it could be
    A NaN gradient norm is a failure here as anywhere else. Rewards that are all alike within a group teach nothing. A margin
    that shrinks, or fewer than half of the pairs ranked right, is not expected.

    ## Remedies and their sources
    None: this is how these losses are. It was confirmed in eight threads about losses of 0, rising from 0 or below 0
    (https://github.com/huggingface/trl/issues/3452, https://github.com/modelscope/ms-swift/issues/3579); the reward and its
    spread within a group tell whether anything is learned.
    """

    title = "the loss of this trainer does not measure quality"
    confirmed = 8
    decide_by = "judge by reward and its spread (GRPO, PPO), or by rewards/margins and rewards/accuracies (DPO, KTO)"
    normal = True

    def weigh(self, chart: Chart) -> Opinion | None:
        task = chart.run.get("task", SUPERVISED)
        if task not in (REINFORCEMENT, PREFERENCE) or Signs(chart).broken or chart.outline.reward_nan:
            return None
        if task == PREFERENCE and any(chart.seen(slug) for slug in _UNEXPECTED):
            return None
        collapsed = chart.seen("reward-collapse")
        if collapsed and collapsed.open:
            return None
        alike = chart.seen("reward-variance-zero")
        if alike and alike.open:
            return None  # a loss of 0 because nothing can be learned is not expected either
        pairs = _pairs(chart)
        if task == PREFERENCE and pairs is None:
            return None  # margins that shrink are not expected
        opinion = Opinion(())
        opinion.add(6, say("the columns or the trainer say {task}", task=say(task)))
        kl = chart.outline.ends.get("kl")
        if kl and kl.highest > KL_HIGH:
            opinion.add(
                -2,
                say(
                    "the KL divergence reached {highest:.3g}, which is far from the reference and not expected",
                    highest=kl.highest,
                ),
            )
        opinion.explanation = (
            say(
                "GRPO and PPO start at a loss of 0, because the policy equals its reference, and rise with the "
                "divergence or go below 0: neither is an error. What counts is the reward.{chart}",
                chart=_reward(chart),
            )
            if task == REINFORCEMENT
            else say(
                "A preference loss measures the margin between two answers; it may reach 0, and the rewards of "
                "both answers may fall below 0 together, while the margin grows. What counts is the margin and "
                "the accuracy.{pairs}",
                pairs=pairs,
            )
        )
        return opinion


#: A KL divergence from which on the policy is far from its reference.
KL_HIGH = 10.0
#: Rows from which the first and the last ones tell a change.
ROWS = 8


def _reward(chart: Chart) -> str:
    """What the reward did in this run."""
    reward = chart.outline.ends.get("reward")
    if reward is None or reward.rows < ROWS:
        return ""
    return say(" Here it went from {first:.3g} to {last:.3g}.", first=reward.first, last=reward.last)


def _pairs(chart: Chart) -> str | None:
    """What the margin and the rewards of this run did; None where that is not as it should be."""
    ends = chart.outline.ends
    margins, chosen, right = (ends.get(f"rewards/{name}") for name in ("margins", "chosen", "accuracies"))
    if margins is None or margins.rows < ROWS:
        return ""
    share = say(", and {last:.0%} of the pairs are ranked right", last=right.last) if right else ""
    words = say(
        " Here the margin went from {first:.3g} to {last:.3g}{share}", first=margins.first, last=margins.last, share=share
    )
    if (margins.last < margins.first and margins.last < 0) or (right and right.last < 0.45):
        return None
    if chosen and chosen.last < min(0.0, chosen.first) and margins.last > margins.first:
        words += say(", while the reward of the chosen answers fell to {last:.3g}: as expected", last=chosen.last)
        if chosen.last < -STRONG:
            words += say(
                ". It fell far, though, so the chosen answers have become less likely as well: if the texts get "
                "worse, lower the learning rate, raise beta, or add a likelihood term (rpo_alpha in TRL's "
                "DPOConfig)"
            )
    return f"{words}."


#: Reward of the chosen answers below which they have lost much of their probability.
STRONG = 3.0
