from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion
from lossdoctor.budgets import effective_batch
from lossdoctor.language import say
from lossdoctor.model import Chart, Remedy, Symptom
from lossdoctor.signs import Signs
from lossdoctor.stats import median

STABLE_ADAMW = "https://deepai.org/publication/stable-and-low-precision-training-for-large-scale-vision-language-models"
PALM = "https://doraemonzzz.gitbook.io/transformer_evolution_paper/llm/000"
CLIPPING = "https://github.com/artidoro/qlora/blob/main/scripts/finetune_guanaco_7b.sh"


@dataclass(eq=False, repr=False)
class BadBatch(Cause):
    """Single batches throw the loss up, and it comes back.

    ## How we tell
    The loss jumps for a few rows and is back on its curve. The data is to blame where the jumps come at the same place of every
    epoch. Otherwise the batch is one of two suspects: the other is AdamW, whose second moment lags behind a change.

    ## What else it could be
    A learning rate at its limit, where spikes come again and again near the peak of the schedule. A jump that stays is
    another matter, and so is a single row of NaN or 0.

    ## Remedies and their sources
    A spike that heals needs nothing. PaLM skipped 200 to 500 batches around each spike, but the same batches from another
    checkpoint did not spike again (https://doraemonzzz.gitbook.io/transformer_evolution_paper/llm/000), so the data alone is
    seldom the cause. Spikes follow a second moment that is out of date, so a smaller adam_beta2 is the cheap lever
    (https://deepai.org/publication/stable-and-low-precision-training-for-large-scale-vision-language-models); QLoRA clips at 0.3
    (https://github.com/artidoro/qlora/blob/main/scripts/finetune_guanaco_7b.sh).
    """

    title = "single batches that throw the loss up"
    confirmed = 0
    decide_by = "train on the batches around the spike again, from another checkpoint: if they do not spike, it is not the data"
    #: A row counts as a spike from this share of the highest one on.
    tall: float = 0.4
    #: How close the places within the epoch must be, as a share of it (and at least one row and a half).
    same_place: float = 0.01
    #: A gradient norm that many times the usual one has jumped.
    norm_jump: float = 3.0

    def weigh(self, chart: Chart) -> Opinion | None:
        spikes = [s for s in chart.all("loss-spike") if self._counts(s)]
        if not spikes or Signs(chart).broken or chart.seen("loss-divergence") or chart.seen("resume-jump"):
            return None
        opinion, worst = Opinion(tuple(spikes)), max(spikes, key=lambda s: s.evidence["peak"])
        if worst.evidence.get("excerpt"):
            pair = worst.evidence.get("logged") == 2
            opinion.add(1, say("the second of two rows is far above the first") if pair else say("a row is far above the others"))
            opinion.explanation = say(
                "One extreme batch can throw the loss up; in a sound run it comes down again within a few rows."
            )
            return opinion
        times = max([len(spikes), *(int(s.evidence.get("spikes", 1)) for s in spikes)])
        opinion.add(
            2,
            say("the loss jumped to {peak:.3g} and came back", peak=worst.evidence["peak"])
            + (say(", {times} times", times=times) if times > 1 else ""),
        )
        place = self._place(chart)
        if place:
            steps, offset = place
            listed = ", ".join(f"{step:,}" for step in steps[:5])
            opinion.add(
                4 if len(steps) > 2 else 2,
                say(
                    "steps {listed} lie at the same place of their epochs, {offset:.0%} of the way", listed=listed, offset=offset
                ),
            )
        norm, usual = self._norm(chart, worst), chart.outline.typical_norm
        if norm and usual and norm > self.norm_jump * usual:
            opinion.add(
                1, say("the gradient norm jumped with it, to {norm:.3g} from the usual {usual:.2g}", norm=norm, usual=usual)
            )
        opinion.explanation = (
            say("The data comes in the same order in every epoch, and the same batch throws the loss up each time.")
            if place
            else say(
                "A batch far from all others does that. So does an ordinary one that meets an AdamW whose second "
                "moment has become too small: in published runs the same batches did not spike a second time."
            )
        )
        return opinion

    @staticmethod
    def _counts(spike: Symptom) -> bool:
        if spike.evidence.get("excerpt"):
            return True
        return (
            spike.severity == "warning" and (not spike.open or "spikes" in spike.evidence) and not spike.evidence.get("lasting")
        )

    @staticmethod
    def _norm(chart: Chart, spike: Symptom) -> float | None:
        """The highest gradient norm while the loss was up; None where none was logged."""
        table = chart.outline.table
        rows = zip(table.get("step", ()), table.get("norm", ()), strict=True)
        return max((norm for step, norm in rows if spike.onset <= step <= spike.last and norm == norm), default=None)

    def _place(self, chart: Chart) -> tuple[list[int], float] | None:
        """The steps of spikes that lie at one place of different epochs, and that place as a share of an epoch."""
        outline, epoch = chart.outline, chart.outline.steps_per_epoch
        if epoch is None or (outline.epochs or 0) < 1.2:
            return None
        near = max(1.5 * outline.window, self.same_place * epoch)
        spikes = self._spikes(chart)
        best: list[int] = []
        for first in spikes:
            group = [s for s in spikes if abs((s - first + epoch / 2) % epoch - epoch / 2) <= near]
            if len({round((s - first) / epoch) for s in group}) > len(best):
                best = group
        if len(best) < 2 or len(best) < 0.7 * len(spikes) or near > epoch / 8:
            return None
        return best, best[0] % epoch / epoch

    def _spikes(self, chart: Chart) -> list[int]:
        """The steps whose rows stand out as the highest does; neighbours count as one."""
        losses, steps = chart.outline.table.get("loss", ()), chart.outline.table.get("step", ())
        heights = [0.0] * len(losses)
        for place in range(3, len(losses) - 1):
            heights[place] = losses[place] - median([*losses[max(0, place - 5) : place], *losses[place + 1 : place + 6]])
        high = self.tall * max(heights, default=0.0)
        found = [p for p, height in enumerate(heights) if height > high > 0]
        return [int(steps[p]) for p in found if p - 1 not in found]

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        spikes = list(chart.all("loss-spike"))
        again = len(spikes) > 2 or any("spikes" in s.evidence for s in spikes)
        place, batch = self._place(chart), effective_batch(chart.run)
        if not again and not place:
            why = say("it healed by itself; one spike costs a few steps and nothing else")
            return (Remedy(say("Change nothing"), why, {}, "none", (PALM,)),)
        remedies = []
        if place:
            epoch = chart.outline.steps_per_epoch or 1.0
            step = round(place[1] * epoch)
            first = max(0, step - chart.outline.window) * (batch or 0)
            rows = (
                say(", examples {first:,} to {step:,} in the order of training", first=first, step=step * batch) if batch else ""
            )
            why = say("decode them: empty, endless, in another language or of another format? Drop or shorten those")
            remedies.append(
                Remedy(
                    say("Look at the batches around step {step:,} of the epoch{rows}", step=step, rows=rows),
                    why,
                    {},
                    "low",
                    (PALM,),
                )
            )
        else:
            why = say("whether the same examples are in them decides between the data and the optimizer")
            remedies.append(
                Remedy(say("Log which examples are in each batch, and every step"), why, {"logging_steps": 1}, "none", (PALM,))
            )
            second = chart.run.get("adam_beta2")
            if not (isinstance(second, float) and second <= 0.98):
                why = say("its default of 0.999 remembers a thousand steps; 0.95 follows the gradient within twenty")
                remedies.append(Remedy(say("Let AdamW forget faster"), why, {"adam_beta2": 0.95}, "none", (STABLE_ADAMW,)))
        quantised = bool(chart.run.get("quantization"))
        clip, limit = chart.run.get("max_grad_norm"), 0.3 if quantised else 1.0
        if isinstance(clip, (int, float)) and not 0 < clip <= limit:
            why = say("what QLoRA's scripts use") if quantised else say("one extreme gradient then counts no more than any other")
            remedies.append(
                Remedy(
                    say("Clip the gradient norm at {limit:g}", limit=limit), why, {"max_grad_norm": limit}, "none", (CLIPPING,)
                )
            )
        return tuple(remedies)
