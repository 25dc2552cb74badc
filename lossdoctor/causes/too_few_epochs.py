from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from lossdoctor.base import HIGH, MEDIUM, Cause, Opinion
from lossdoctor.budgets import EPOCHS, FEW_STEPS, SMALL_BATCHES, effective_batch, epochs_for, examples, over, total_steps
from lossdoctor.language import say
from lossdoctor.learning_rates import GUIDE, LORA
from lossdoctor.model import Chart, Remedy
from lossdoctor.signs import Signs
from lossdoctor.tasks import SUPERVISED

#: Examples of a step below which accumulation is not what makes the steps few.
SMALL_BATCH = 8


@dataclass(eq=False, repr=False)
class TooFewEpochs(Cause):
    """The run ended before it had learned what it could.

    ## How we tell
    The run is over, and either it had only a few dozen optimizer steps and the loss has hardly moved, or the loss was still
    falling in its last part by a tenth or more of its level and the evaluation loss, if there is one, had not turned.

    ## What else it could be
    A rate so low that the loss creeps: more epochs then cost ten times what a higher rate costs. Memorised text also keeps the
    training loss falling, from the second epoch on.

    ## Remedies and their sources
    More optimizer steps: by more epochs, or by a smaller effective batch, which costs nothing in quality: small batches train
    stably (https://arxiv.org/html/2507.07101v2), and LoRA loses more from large ones than full fine-tuning does
    (https://thinkingmachines.ai/blog/lora/). The schedule must be stretched with them: going on at a rate that has decayed to
    0 changes nothing.
    """

    title = "too few optimizer steps"
    decide_by = "train once more with three times the steps and the schedule stretched over them: does the loss end lower?"
    #: Fewer steps than this are too few for anything.
    handful: int = 30
    #: Fall over the last 40 % of the rows that says the run had far to go.
    falling: float = 0.10
    #: Share of the examples in one step from which on the batch is what makes the steps few.
    part: float = 0.1

    def weigh(self, chart: Chart) -> Opinion | None:
        steps, falling, flat = total_steps(chart), chart.seen("loss-still-falling"), chart.seen("loss-plateau")
        if (
            chart.run.get("task") != SUPERVISED
            or not steps
            or Signs(chart).broken
            or chart.seen("eval-loss-rising")
            or chart.seen("gradient-zero")
        ):
            return None
        if not flat and (opinion := self._batch_takes_it_all(chart, steps)):
            return opinion
        if not over(chart):
            return None
        if chart.seen("loss-divergence") or chart.seen("loss-near-zero") or (chart.outline.epochs or 0) > 20:
            return None
        opinion = Opinion(tuple(s for s in (falling, flat) if s))
        if flat and steps <= FEW_STEPS:
            points = HIGH if steps <= self.handful else MEDIUM
            opinion.add(points, say("{steps} optimizer steps in all, and the loss has hardly moved in them", steps=steps))
        elif not flat and not falling and steps <= self.handful and self._still(chart):
            opinion.add(MEDIUM, say("{steps} optimizer steps in all: the warm-up of a usual run is hardly longer", steps=steps))
        elif (late := self._late(chart)) >= self.falling and self._fresh(chart):
            opinion.add(2, say("the loss fell by {late:.0%} over the last 40 % of the rows", late=late))
            if steps <= FEW_STEPS:
                opinion.add(2, say("{steps} optimizer steps in all", steps=steps))
            if chart.outline.epochs is not None and chart.outline.epochs < 1:
                opinion.add(1, say("the run saw {epochs:.0%} of the data once", epochs=chart.outline.epochs))
        if opinion.points < 2:
            return None
        opinion.explanation = (
            say(
                "AdamW needs some dozens of steps before its averages mean anything, and a warm-up takes part of "
                "them. {steps} steps are too few to tell whether this data and this rate work.",
                steps=steps,
            )
            if steps <= FEW_STEPS
            else say("The curve had not come to rest when the schedule ended. The weights are usable; more steps would help.")
        )
        return opinion

    def _batch_takes_it_all(self, chart: Chart, steps: int) -> Opinion | None:
        """A handful of steps, since accumulation makes each of them take a large part of the examples."""
        batch, rows, accumulation = effective_batch(chart.run), examples(chart), chart.run.get("gradient_accumulation_steps")
        if steps > self.handful or not batch or not rows or not isinstance(accumulation, int) or accumulation < 2:
            return None
        if batch < self.part * rows or batch <= SMALL_BATCH or steps * accumulation < FEW_STEPS:
            return None
        opinion = Opinion(tuple(s for s in (chart.seen("loss-still-falling"), chart.seen("loss-plateau")) if s))
        opinion.add(4, say("{steps} optimizer steps in all", steps=steps))
        opinion.add(
            3,
            say(
                "each of them takes {batch:,} of the {rows:,} examples, by {accumulation} accumulation steps",
                batch=batch,
                rows=rows,
                accumulation=accumulation,
            ),
        )
        opinion.explanation = say(
            "AdamW needs some dozens of steps before its averages mean anything, and a warm-up takes part of "
            "them. {steps} steps are too few to tell whether this data and this rate work.",
            steps=steps,
        )
        return opinion

    @staticmethod
    def _fresh(chart: Chart) -> bool:
        """Whether the fall can be learning: the data was not seen often, and the evaluation, if there is one, falls as well."""
        outline, known = chart.outline, chart.seen("epoch-staircase")
        falls = outline.last_eval is None or outline.best_eval is None or outline.last_eval <= 1.005 * outline.best_eval
        return known is None and (outline.epochs or 0.0) <= 2 and falls

    @staticmethod
    def _late(chart: Chart) -> float:
        """Share by which the loss fell over the last 40 % of the rows."""
        falling, losses = chart.seen("loss-still-falling"), chart.outline.there("loss")
        if falling:
            return falling.evidence["late"]
        if len(losses) < 6 or (total_steps(chart) or 0) > FEW_STEPS:
            return 0.0
        late = losses[int(0.6 * len(losses)) - 1 :]
        first, last = sum(late[:2]) / 2, sum(late[-2:]) / 2
        return 1 - last / first if first > 0 else 0.0

    def _still(self, chart: Chart) -> bool:
        """Whether the little that was logged lies within 5 % of where it began."""
        first, level = chart.outline.first_loss, chart.outline.level
        return bool(first and level and chart.outline.rows > 1 and abs(first - level) < 0.05 * abs(first))

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        steps = total_steps(chart) or 0
        wanted = max(3 * FEW_STEPS, 3 * steps) if steps <= FEW_STEPS else 2 * steps
        smaller = self._smaller_batch(chart, steps) if steps <= FEW_STEPS else ()
        epochs = epochs_for(chart, wanted)
        if epochs and epochs > (chart.outline.epochs or 0):
            epochs = max(1, min(epochs, EPOCHS))
            planned = round(epochs * steps / chart.outline.epochs) if chart.outline.epochs else wanted
            if planned > 1.2 * steps:
                why = say(
                    "about {planned:,} optimizer steps instead of {steps:,}; the schedule stretches with them",
                    planned=planned,
                    steps=steps,
                )
                return (
                    *smaller,
                    Remedy(
                        say("Train for {epochs} epochs", epochs=epochs), why, {"num_train_epochs": epochs}, "medium", (GUIDE,)
                    ),
                )
        if smaller:
            return smaller
        why = say(
            "instead of {steps:,}, with the schedule stretched over them; resuming at a decayed rate changes nothing", steps=steps
        )
        return (Remedy(say("Train for {wanted:,} steps", wanted=wanted), why, {"max_steps": wanted}, "medium", (SMALL_BATCHES,)),)

    @staticmethod
    def _smaller_batch(chart: Chart, steps: int) -> tuple[Remedy, ...]:
        """More optimizer steps from the same data, for nothing."""
        batch, accumulation = effective_batch(chart.run), chart.run.get("gradient_accumulation_steps")
        if not batch or batch <= SMALL_BATCH or not isinstance(accumulation, int) or accumulation < 2:
            return ()
        least = ceil(SMALL_BATCH * accumulation / batch)
        enough = accumulation * steps // FEW_STEPS  # makes that many steps of the same data
        fewer = max(1, least, min(accumulation // 4, enough))
        fewer = least if fewer <= 2 * least else fewer  # accumulating two is not worth what it costs in steps
        do = say("Lower gradient_accumulation_steps from {accumulation} to {fewer}", accumulation=accumulation, fewer=fewer)
        why = say(
            "{accumulation} times as many optimizer steps from the same data; the effective batch of {batch} "
            "becomes {batch2}, and small batches train as stably",
            accumulation=accumulation // fewer,
            batch=batch,
            batch2=batch * fewer // accumulation,
        )
        change: dict[str, object] = {"gradient_accumulation_steps": fewer}
        planned = steps * accumulation // fewer
        if chart.run.get("warmup_steps") == 0 and not chart.run.get("warmup_ratio") and planned >= FEW_STEPS:
            do = say("{do}, and warm up over a twentieth of the steps that this makes", do=do)
            change["warmup_steps"] = max(1, round(0.05 * planned))
        return (Remedy(do, why, change, "none", (SMALL_BATCHES, LORA[0])),)
