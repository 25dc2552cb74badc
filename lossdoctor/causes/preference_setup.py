from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Literal

from lossdoctor.base import Cause, Opinion
from lossdoctor.language import later, say
from lossdoctor.learning_rates import band_of, change, lower, rate_of, short
from lossdoctor.model import Chart, Remedy
from lossdoctor.signs import Signs
from lossdoctor.tasks import PREFERENCE

Kind = Literal["reference", "spread", "kto", "groups", "standing"]
REFERENCE = "https://github.com/huggingface/trl/issues/1236"
SPREAD = ("https://github.com/huggingface/trl/issues/3857", "https://github.com/modelscope/ms-swift/issues/4570")
KTO = "https://github.com/huggingface/trl/pull/1380"
STANDING = "https://github.com/huggingface/trl/issues/701"
FEW = 5  # rows that do not say what stays
_WHY: dict[str, str] = {
    "reference": later(
        "A DPO reward is beta × the log ratio between the model and its reference, so it is 0 while they are the same "
        "model. The reference is another checkpoint, or only one of the two has the adapter, the template or the precision."
    ),
    "spread": later(
        "The advantage is the reward of an answer minus that of its group. Where all have the same it is 0, and loss and "
        "gradient with it: the prompts are too easy or too hard, the answers all alike, or the reward too coarse."
    ),
    "kto": later(
        "KTO estimates its KL term from prompts paired with answers to other prompts. A batch without such a pair leaves "
        "the mean over nothing, which is NaN."
    ),
    "groups": later(
        "unsloth computes GRPO in kernels of its own, and a version of them gave NaN with more than one group in a step."
    ),
    "standing": later(
        "A DPO loss of ln 2 = 0.693 is that of a model which prefers neither answer, as at the start. If it stays, no "
        "update reaches the weights (a frozen adapter), or the updates are too small (the rate, or 16-bit weights)."
    ),
}
_CHECKS: dict[str, str] = {
    "reference": later("evaluate before the first step: rewards/chosen and rewards/rejected must be 0.0"),
    "spread": later("read the answers to one prompt with their rewards: all right, all wrong, or all the same text?"),
    "kto": later("run 10 steps with 8 examples per device and the newest TRL: is kl finite in every row?"),
    "standing": later("model.print_trainable_parameters(), then 50 steps on 16 pairs: the margin must grow"),
}


@dataclass(eq=False, repr=False)
class PreferenceSetup(Cause):
    """Preference tuning or reinforcement learning is set up so that it cannot learn what it should.

    ## How we tell
    DPO rewards far from 0 in the first rows: the reference model is another one. `reward_std` 0 or `frac_reward_zero_std` 1:
    all answers of a group get the same reward, and GRPO learns from their differences alone. KTO with NaN: a batch without
    mismatched pairs has no KL term. Margins that stay at 0 and accuracies at 0.5: nothing is learned.

    ## What else it could be
    Rewards of both answers that fall together while the margin grows are no fault. Log probabilities of 0 are cut-off answers.

    ## Remedies and their sources
    The SFT model itself as reference, and a rate of 5e-7 to 5e-6 (https://github.com/huggingface/trl/issues/1236). More random
    sampling, prompts that are neither all solved nor all failed, and finer rewards
    (https://github.com/huggingface/trl/issues/3857, https://github.com/modelscope/ms-swift/issues/4570). For KTO a newer TRL and
    more than one example per device (https://github.com/huggingface/trl/pull/1380), which is confirmed.
    """

    title = "a faulty setup of preference tuning or rewards"
    confirmed = 2
    decide_by = "print the rewards of one batch before the first step: for DPO both 0, for GRPO different ones in a group"
    #: Margins below this count as not having moved, in logs of at least so many rows.
    margin: float = 0.05
    rows: int = 20
    #: Distance of the loss to ln 2 as a share of it.
    near: float = 0.03

    def _kind(self, chart: Chart) -> Kind | None:
        words = chart.run.words("trainer", "framework")
        spread = chart.seen("reward-variance-zero")
        if chart.seen("preference-start-offset"):
            return "reference"
        if spread and spread.open:
            return "spread"
        if Signs(chart).broken:
            return "kto" if "kto" in words else "groups" if "grpo" in words and "unsloth" in words else None
        if chart.run.get("task") != PREFERENCE or chart.seen("gradient-zero"):
            return None
        return "standing" if self._stands(chart) else None

    def _stands(self, chart: Chart) -> bool:
        outline = chart.outline
        if chart.seen("loss-at-chance"):
            return True
        margins, right = outline.ends.get("rewards/margins"), outline.ends.get("rewards/accuracies")
        if margins is None or outline.level is None or abs(margins.last) > self.margin:
            return False
        if abs(outline.level / log(2) - 1) > self.near or (right and abs(right.last - 0.5) > 0.15):
            return False
        warm = (outline.peak_rate or 0.0) >= 0.5 * float(chart.run.get("learning_rate") or "inf")
        return margins.rows >= self.rows or (1 < margins.rows <= FEW and warm)

    def weigh(self, chart: Chart) -> Opinion | None:
        kind = self._kind(chart)
        if kind is None:
            return None
        opinion = {"reference": self._reference, "spread": self._spread, "standing": self._standing}.get(kind, self._nan)(chart)
        opinion.explanation = say(_WHY[kind]) + opinion.explanation
        return opinion

    def _reference(self, chart: Chart) -> Opinion:
        offset = next(chart.all("preference-start-offset"))
        opinion, seen = Opinion((offset,)), offset.evidence
        both = say("{chosen:+.3g} (chosen) and {rejected:+.3g} (rejected)", chosen=seen["chosen"], rejected=seen["rejected"])
        opinion.add(5, say("the first rewards are {both} instead of 0", both=both))
        if seen["steps"] <= 1:
            opinion.add(1, say("that is before any step could have moved the model"))
        return opinion

    def _spread(self, chart: Chart) -> Opinion:
        zero, reward = next(s for s in chart.all("reward-variance-zero") if s.open), chart.outline.ends.get("reward")
        opinion, rows = Opinion((zero,)), zero.evidence["rows"]
        level = f" ({reward.last:.3g})" if reward else ""
        where = say("{rows:.0f} rows running", rows=rows) if rows > 1 else say("the only row")
        start = say(", from the first one on") if zero.severity != "info" and zero.evidence.get("from_first_row") else ""
        points = 3 if zero.severity == "info" else 6 if start else 5
        opinion.add(
            points,
            say("all answers of a group got the same reward{level} in {where}{start}", level=level, where=where, start=start),
        )
        return opinion

    def _nan(self, chart: Chart) -> Opinion:
        signs = Signs(chart)
        opinion, batch = Opinion(signs.witnesses), chart.run.get("per_device_train_batch_size")
        if self._kind(chart) == "groups":
            opinion.add(2, say("GRPO with unsloth, which gave NaN in a version when a step had more than one group"))
            return opinion
        opinion.add(4, say("the trainer is KTO, whose KL term needs mismatched pairs in every batch: without one it is NaN"))
        if batch == 1:
            opinion.add(2, say("a batch of one example per device has no other answer to pair with"))
        if signs.precision == "fp16":
            opinion.add(-2, say("fp16 is on, and fp16 overflow gives NaN with every trainer"))
        if not signs.from_first_row:
            opinion.add(-1, say("the first rows were sound"))
        return opinion

    def _standing(self, chart: Chart) -> Opinion:
        chance, outline, rate, band = chart.seen("loss-at-chance"), chart.outline, rate_of(chart), band_of(chart.run)
        margins, right = outline.ends.get("rewards/margins"), outline.ends.get("rewards/accuracies")
        opinion = Opinion((chance,) if chance else ())
        if chance:
            opinion.add(
                3,
                say(
                    "the loss stands at ln 2: {level:.4g} after {last_step:,} steps",
                    level=chance.evidence["level"],
                    last_step=outline.last_step,
                ),
            )
        if margins and abs(margins.last) <= self.margin:
            found = say(
                "the margin between chosen and rejected is {last:.2g} after {rows} rows", last=margins.last, rows=margins.rows
            )
            ranked = say(", and {last:.0%} of the pairs are ranked right", last=right.last) if right else ""
            opinion.add(1 if outline.rows <= FEW else 2, found + ranked)
        if rate and band and rate < band.low:
            opinion.add(1, say("the learning rate is {rate}; {band_words}", rate=short(rate), band_words=band.words))
        opinion.explanation = (
            say(" {rows} rows are too few to say that it stays.", rows=outline.rows) if outline.rows <= FEW else ""
        )
        return opinion

    def check(self, chart: Chart) -> str:
        return say(_CHECKS.get(self._kind(chart) or "", self.decide_by))

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        kind, rate, band = self._kind(chart), rate_of(chart), band_of(chart.run)
        if kind == "spread":
            return self._more_spread(chart)
        if kind == "kto":
            batch = chart.run.get("per_device_train_batch_size")
            more = max(4, 2 * batch) if isinstance(batch, int) else 4
            why = say("mismatched pairs are made within the batch of a device; accumulation does not help")
            larger = Remedy(
                say("Train {more} examples per device", more=more), why, {"per_device_train_batch_size": more}, "low", (KTO,)
            )
            return (
                Remedy(say("Upgrade TRL"), say("pull request 1380 mended how it makes these pairs"), {}, "low", (KTO,)),
                larger,
            )
        if kind == "groups":
            do, why = say("Upgrade unsloth, or make steps of one group"), say("with one group per step the NaN was gone")
            return (Remedy(do, why, {"gradient_accumulation_steps": 1}),)
        remedies = []
        if kind == "reference":
            why = say("TRL then takes the model as it is before training, with the adapter switched off where there is one")
            remedies.append(Remedy(say("Leave the reference model away"), why, {"ref_model": None}, "low", (REFERENCE,)))
            why = say("an adapter of the SFT run must be in both, or its effect counts as a preference")
            remedies.append(
                Remedy(say("Merge an SFT adapter first: model = model.merge_and_unload()"), why, {}, "low", (REFERENCE,))
            )
        if kind == "standing":
            do, why = (
                say("If no parameter is trainable, load the adapter for training"),
                say("a frozen one leaves the loss at ln 2 for ever"),
            )
            remedies.append(Remedy(do, why, {"is_trainable": True}, "none", (STANDING,)))
        wrong = bool(rate and band and (rate > band.high or (kind == "standing" and rate < band.usual and band.known)))
        if rate and band and wrong:
            new = lower(rate, band) if rate > band.high else band.usual
            do = say(
                "{choice} the learning rate {rate}", choice=say("Lower") if new < rate else say("Raise"), rate=change(rate, new)
            )
            remedies.append(Remedy(do, band.words, {"learning_rate": new}, "none", band.sources))
        return tuple(remedies)

    @staticmethod
    def _more_spread(chart: Chart) -> tuple[Remedy, ...]:
        ends, remedies, many = chart.outline.ends, [], chart.run.get("num_generations") or 8
        clipped, length = ends.get("completions/clipped_ratio"), ends.get("completions/mean_length")
        if clipped and clipped.last > 0.5:
            longer = 64 * round(2 * length.last / 64) if length and length.last > 64 else 1024
            why = say(
                "{last:.0%} of the answers are cut off before they end, and an answer without an end earns nothing",
                last=clipped.last,
            )
            remedies.append(Remedy(say("Let the answers end"), why, {"max_completion_length": longer}, "medium", SPREAD[:1]))
        why = say("so that some answers to a prompt earn more than others")
        more = Remedy(
            say("Sample more answers, and more varied ones"),
            why,
            {"num_generations": 2 * many, "temperature": 1.0},
            "medium",
            SPREAD,
        )
        why = say(
            "a prompt whose answers all earn the same teaches nothing; partial credit makes a difference where 0 and 1 do not"
        )
        finer = Remedy(say("Leave out prompts that are always or never solved, and reward finer"), why, {}, "medium", SPREAD[:1])
        return (*remedies, more, finer)
