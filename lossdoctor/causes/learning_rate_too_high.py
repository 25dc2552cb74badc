from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import HIGH, MEDIUM, Cause, Opinion
from lossdoctor.budgets import counted_rate, counted_words, gentler_start, rate_or_scale
from lossdoctor.chance import language_model
from lossdoctor.language import say
from lossdoctor.learning_rates import Band, band_of, for_width, instead_of_sgd, lowered, short
from lossdoctor.model import Chart, Remedy, Symptom
from lossdoctor.remedies import first_bad_step, start_again
from lossdoctor.signs import Signs, few_answers
from lossdoctor.tasks import PREFERENCE, SUPERVISED

#: The highest of the rates that BERT was fine-tuned with.
CLASSIFIER = 5e-5
#: How a rate that is too high shows: the climbs first, then what surrounds them.
CLIMBS = ("loss-divergence", "loss-spike")


@dataclass(eq=False, repr=False)
class LearningRateTooHigh(Cause):
    """The optimizer steps are so long that they leave the valley that the model was in.

    ## How we tell
    The numbers stay finite; the loss climbs, or jumps and stays, most often while the rate is near its peak, and the gradient
    norm grows before it. It ends on a plateau, or at the loss of guessing. The rate is held against those that are usual
    for the way of training: LoRA takes about ten times as much as fine-tuning all weights.

    No climb is needed where the live callback has seen that one step can change the weights by as much as they are: such a run
    may fall smoothly while its rate decays, and still end far above what a lower rate reaches. The scale of an adapter
    (lora_alpha / r) counts as rate where it is unusual.

    ## What else it could be
    A loss that is NaN afterwards is another family (fp16 overflow, attention kernel). A jump at a restart is a resume that lost
    its state. A single spike that heals is a batch, and a constant period is the order of the data.

    ## Remedies and their sources
    A third to a tenth of the rate: 2e-4 to 2e-5, 3e-4 to 1.2e-4 and 5e-5 to 2e-5 ended such runs in public threads. The best rate
    is the highest that is stable (https://arxiv.org/abs/2405.09673). Warm-up makes a run less sensitive to the rate
    (https://ar5iv.labs.arxiv.org/html/2309.14322). What was lost does not come back by itself: go on from a checkpoint before
    the climb. AdamW's second moment lagging behind a change causes spikes (https://arxiv.org/abs/2304.13013), so a smaller
    adam_beta2 is the next thing to try.
    """

    title = "the learning rate is too high"
    confirmed = 6
    decide_by = "run the steps around the climb again, from a checkpoint before it, at a third of the learning rate"
    #: Share of the peak from which a rate counts as near it.
    near_peak: float = 0.5
    #: Share of the peak below which, after the peak, a rate counts as decayed.
    decayed: float = 0.2
    #: Times the usual highest rate from which a rate speaks for itself.
    far_above: float = 10.0
    #: Times the usual highest rate from which on a loss that does not behave is laid to it.
    above: float = 3.0
    #: Times the first loss from which on it has exploded rather than overflowed.
    explosion: float = 10.0
    #: Share of preference pairs that are ranked right, below which the opposite is learned.
    wrong_way: float = 0.35
    #: Times the size of the weights that a step may change, from which on it is sure.
    surely_overwritten: float = 3.0
    #: Share of rows above the loss before the first step that a run at a usual rate does not have.
    above_opening: float = 0.15
    #: Share of the peak at which the last row of an excerpt is still up.
    still_up: float = 0.7
    #: No fine-tune of a language model ends there by itself.
    high_level: float = 5.0
    #: A loss that moved less than this share over two epochs did not learn.
    moved: float = 0.05

    def weigh(self, chart: Chart) -> Opinion | None:
        signs, rate, band = Signs(chart), counted_rate(chart), band_of(chart.run)
        climbs = [s for s in chart.all(*CLIMBS) if self._counts(s, chart)]
        broken = min((s.onset for s in signs.witnesses), default=None) if signs.broken else None
        if broken is not None:
            climbs = [s for s in climbs if s.onset < broken]
            if not climbs and not self._exploded(chart):
                return None
        opinion = Opinion(tuple(climbs) or signs.witnesses)
        if not climbs and broken is not None:
            opinion.add(6, say("the loss grew {grown:,.3g}-fold through finite numbers before it was lost", grown=signs.grown))
        elif climbs and self._exploded(chart):
            opinion.add(3, say("the loss grew {grown:,.3g}-fold", grown=signs.grown))
        for climb in sorted(climbs, key=lambda s: (not s.open, s.onset))[:1]:
            self._weigh_climb(opinion, climb, chart)
        self._weigh_company(opinion, chart, bool(climbs))
        self._weigh_reach(opinion, chart)
        if not opinion.points:
            self._weigh_stillness(opinion, chart, rate, band)
        if not opinion.points:
            self._weigh_constant_answer(opinion, chart, rate, band)
        if not opinion.points:
            return None
        self._weigh_rate(opinion, chart, rate, band)
        if broken is not None:
            opinion.add(-1, say("the loss is NaN or 0 afterwards, which a climb alone seldom leads to"))
        if chart.seen("resume-jump") or chart.run.resumed_at or chart.run.get("resume_from_checkpoint"):
            opinion.add(-3, say("the run was resumed, and a resume that lost something looks the same"))
        right = chart.outline.ends.get("rewards/accuracies")
        if right and right.last < self.wrong_way:
            opinion.add(
                -3,
                say("only {last:.0%} of the pairs are ranked right: it learns the opposite, at whatever rate", last=right.last),
            )
        if not chart.seen("update-too-large") and not any(s.open for s in (*climbs, *chart.all("loss-at-chance"))):
            opinion.points = min(opinion.points, HIGH - 1 if not climbs else MEDIUM - 1)  # it may have healed by itself
        opinion.explanation = self._explain(chart, climbs)
        return opinion

    def _exploded(self, chart: Chart) -> bool:
        """Whether the loss grew row by row to many times its start before its numbers were lost."""
        signs = Signs(chart)  # 16-bit weights and a loss scaler end the same way
        return signs.precision in ("fp32", "bf16") and signs.grown > self.explosion

    def _counts(self, symptom: Symptom, chart: Chart) -> bool:
        """Climbs that did not heal by themselves at once; several spikes count as one."""
        if symptom.evidence.get("excerpt"):  # a few pasted rows: the last must still be up
            return (chart.outline.last_loss or 0.0) > self.still_up * symptom.evidence["peak"]
        if symptom.severity == "info":
            return False
        return symptom.open or symptom.slug == "loss-divergence" or symptom.evidence.get("spikes", 0) > 2

    def _weigh_climb(self, opinion: Opinion, climb: Symptom, chart: Chart) -> None:
        if climb.evidence.get("spikes"):
            self._weigh_spikes(opinion, climb, chart)
        elif climb.open:
            points = 3 if climb.severity == "critical" else 2
            opinion.add(points, say("the loss climbed and stayed up, with finite numbers"))
        else:
            opinion.add(1, say("the loss climbed for many rows, with finite numbers"))
        at, peak = chart.outline.rate_at(climb.onset), chart.outline.peak_rate
        if at is not None and peak:
            if at >= self.near_peak * peak:
                opinion.add(
                    1,
                    say(
                        "it began at step {onset:,}, at a rate of {at}, {at2:.0%} of its peak",
                        onset=climb.onset,
                        at=short(at),
                        at2=at / peak,
                    ),
                )
            elif at < self.decayed * peak and chart.outline.rate_at(0) != at:
                opinion.add(-2, say("the rate had decayed to {at} when it began", at=short(at)))

    def _weigh_spikes(self, opinion: Opinion, climb: Symptom, chart: Chart) -> None:
        """Several spikes: those of a rate at its limit end when the rate has decayed."""
        times, late, peak = climb.evidence["spikes"], chart.outline.rate_at(climb.last), chart.outline.peak_rate
        opinion.add(
            2, say("the loss jumped up {times:.0f} times, as at a rate that is at the edge of what is stable", times=times)
        )
        if late and peak and late < self.decayed * peak:
            opinion.add(-1, say("it still did at {late}, where the rate had decayed", late=short(late)))

    def _weigh_company(self, opinion: Opinion, chart: Chart, climbed: bool) -> None:
        explosion, chance, reward = (chart.seen(s) for s in ("gradient-explosion", "loss-at-chance", "reward-collapse"))
        if reward:
            opinion.because = (*opinion.because, reward)
            opinion.add(3, say("the reward that had been reached was lost again"))
        if explosion and climbed:
            opinion.because = (*opinion.because, explosion)
            opinion.add(1, say("the gradient norm grew with it"))
        if chance and chance.severity == "critical":
            opinion.because = (*opinion.because, chance)
            opinion.add(3, say("the loss came to rest at that of guessing: all that the model knew is gone"))
        for swing in chart.all("loss-oscillation"):
            if swing.severity == "warning" and swing.evidence.get("period_rows", 9) <= 3:
                opinion.because = (*opinion.because, swing)
                opinion.add(3, say("the loss goes up and down from row to row: the steps jump across the valley"))

    def _weigh_reach(self, opinion: Opinion, chart: Chart) -> None:
        """A step that can change the weights by as much as they are, and what the run has to show for it."""
        reach, outline, opening = chart.seen("update-too-large"), chart.outline, chart.run.get("opening_loss")
        if reach is None:
            return
        opinion.because = (*opinion.because, reach)
        times = reach.evidence["times"]
        points = 6 if times >= self.surely_overwritten else 4 if times >= 1 else 2
        opinion.add(
            points,
            say("one step can change the weights by {times:.3g} times their size, and overwrite what was learned", times=times),
        )
        losses = outline.there("loss")
        above = sum(loss > opening for loss in losses) / len(losses) if opening and losses else 0.0
        if above > self.above_opening:
            opinion.add(
                1,
                say(
                    "{above:.0%} of the rows are above the loss before the first step, {opening:.4g}",
                    above=above,
                    opening=opening,
                ),
            )

    def _weigh_stillness(self, opinion: Opinion, chart: Chart, rate: float | None, band: Band | None) -> None:
        """A rate far above what is usual explains a loss that does not move, and rewards that run away."""
        if not rate or not band or rate < self.above * band.high:
            return
        outline = chart.outline
        stuck = chart.seen("loss-at-chance") or chart.seen("loss-plateau")
        if stuck:
            opinion.because = (stuck,)
            opinion.add(2, say("a model thrown out of its valley by the first steps stands still afterwards"))
        first = chart.run.get("opening_loss") or outline.first_loss  # the first row may hold what the first steps destroyed
        if not stuck and (outline.epochs or 0) >= 2 and first and outline.level and outline.rows > 2:
            fallen = (first - outline.level) / first
            learned = outline.first_eval and outline.best_eval is not None and outline.best_eval < 0.95 * outline.first_eval
            if fallen < self.moved and not learned:
                opinion.add(
                    1,
                    say(
                        "in {epochs:.3g} epochs the loss has fallen by {fallen:.1%}",
                        epochs=outline.epochs,
                        fallen=max(0.0, fallen),
                    ),
                )
        if language_model(chart.run) and outline.rows > 3 and (outline.level or 0.0) > self.high_level:
            opinion.add(
                1, say("the loss stays at {level:.2g}; fine-tunes of a language model end far below", level=outline.level)
            )
        rejected = outline.ends.get("rewards/rejected")
        if chart.run.get("task") == PREFERENCE and rejected and rejected.last < -5:
            opinion.add(
                1,
                say(
                    "the reward of rejected answers is at {last:.3g} by epoch {epochs:.2g}",
                    last=rejected.last,
                    epochs=outline.epochs or 0,
                ),
            )

    @staticmethod
    def _weigh_constant_answer(opinion: Opinion, chart: Chart, rate: float | None, band: Band | None) -> None:
        """A classifier that gives every input the same answer: a few long first steps are enough for that."""
        chance = chart.seen("loss-at-chance")
        if chance is None or not few_answers(chart) or chart.run.get("task") != SUPERVISED:
            return
        opinion.because = (chance,)
        opinion.add(2, say("the classifier gives every input the same answer, as after first steps that were too long"))
        if rate and band and rate >= (0.5 * band.high if band.known else 2 * CLASSIFIER):
            opinion.add(
                1,
                say(
                    "the learning rate is {rate}; classifiers are fine-tuned at 1e-5 to {classifier}",
                    rate=short(rate),
                    classifier=short(CLASSIFIER),
                ),
            )

    def _weigh_rate(self, opinion: Opinion, chart: Chart, rate: float | None, band: Band | None) -> None:
        if not rate or not band:
            return
        times, words = rate / band.high, counted_words(chart, rate, band)
        if times >= self.far_above:
            opinion.add(4, say("{words}; that is {times:,.0f} times the highest of them", words=words, times=times))
        elif times > 1.01:
            opinion.add(3 if band.known else 1, words)
        elif rate < band.low:
            opinion.add(-2, words)

    @staticmethod
    def _explain(chart: Chart, climbs: list[Symptom]) -> str:
        if chart.seen("reward-collapse"):
            return say("Each update moves the policy further from where its answers were sampled than the reward can vouch for.")
        lost = any(s.severity == "critical" and s.open for s in climbs) or chart.seen("loss-at-chance")
        words = say("Each step goes further than the loss is smooth, so it lands higher than it began")
        if lost:
            return say(
                "{words}. What the model knew is lost; going on with these weights, even at a lower rate, seldom helps.",
                words=words,
            )
        return say("{words}, and the next ones must bring it down again.", words=words)

    def check(self, chart: Chart) -> str:
        if any(chart.seen(slug) for slug in CLIMBS):
            return say(self.decide_by)
        if chart.seen("reward-collapse"):
            return say("go on from before the fall at a third of the learning rate: the reward must hold")
        return say("run 100 steps from the base model at a tenth of the learning rate: the loss must begin to fall")

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        chance, onset = chart.seen("loss-at-chance"), first_bad_step(chart)
        if other := instead_of_sgd(chart):
            return (other, *start_again(chart, anew=True))
        lower = lowered(chart, onset, for_width(chart.run) * CLASSIFIER / 2 if chance and few_answers(chart) else None)
        return (*rate_or_scale(chart, lower), *gentler_start(chart, onset), *start_again(chart, anew=True))
