from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from lossdoctor.base import HIGH, Cause, Opinion
from lossdoctor.budgets import SMALL_BATCHES, effective_batch, total_steps
from lossdoctor.language import counted, say
from lossdoctor.model import Chart, Remedy
from lossdoctor.signs import Signs
from lossdoctor.stats import MAD_TO_SD, median
from lossdoctor.tasks import SUPERVISED


@dataclass(eq=False, repr=False)
class SmallBatchNoise(Cause):
    """Each row is the loss of a few examples, and examples differ.

    ## How we tell
    The rows scatter by more than a quarter of the level without a trend upwards, and few examples stand behind a row: a small
    effective batch, one or few steps per row. The loss of a diffusion model depends on the noise level drawn for each
    sample and scatters by nature.

    ## What else it could be
    A constant period is batches grouped by length. Up and down from row to row in a run with large batches is a learning rate at
    its limit.

    ## Remedies and their sources
    More steps per row, or an evaluation set: both read the run and change nothing in it. A larger batch is no cure for a run that
    learns: batches down to one example train stably, and accumulation on one device is advised against
    (https://arxiv.org/html/2507.07101v2).
    """

    title = "few examples per row: noise, not trouble"
    confirmed = 0
    decide_by = "average ten rows each: if the means fall or rest smoothly, it is noise"
    #: Effective batches up to here are small; from the second number on the batch explains no scatter.
    small: int = 16
    large: int = 64
    #: A log of too few rows for the detector, of a loss that scatters by nature: least rows and scatter.
    rows: int = 5
    scatter: float = 0.25
    #: The scatter that a readable curve has, and the rows it needs.
    readable: float = 0.1
    rows_left: int = 50

    def weigh(self, chart: Chart) -> Opinion | None:
        if Signs(chart).broken or chart.run.get("task", SUPERVISED) != SUPERVISED:
            return None
        scatter = self._scatter(chart)
        if scatter is None or chart.run.get("group_by_length"):
            return None
        noise, batch, window = chart.seen("loss-noise"), effective_batch(chart.run), chart.outline.window
        opinion = Opinion((noise,) if noise else ())
        diffusion = Signs(chart).text_model is False
        opinion.add(2, say("the rows scatter by {scatter:.0%} of the level", scatter=scatter))
        if diffusion:
            opinion.add(2, say("the loss of a diffusion model depends on the noise level that each sample is given by chance"))
        if batch is not None and batch <= self.small:
            examples = counted(batch, "example")
            opinion.add(3, say("an optimizer step sees {examples}, and a row {batch:,}", examples=examples, batch=batch * window))
        elif batch is not None and batch >= self.large and not diffusion:
            opinion.add(-2, say("an optimizer step sees {batch} examples, which should average that out", batch=batch))
        if chart.seen("loss-divergence") or any(
            s.open and s.severity != "info" for s in chart.all("loss-oscillation", "loss-spike")
        ):
            opinion.add(-2, say("there is more than noise: the loss climbs or swings as well"))
        if noise is None:
            opinion.points = min(opinion.points, HIGH - 1)
        opinion.explanation = say(
            "Single examples differ in difficulty by far more than training changes in a few steps. The "
            "optimizer averages over many steps; the eye does not."
        )
        return opinion

    def _scatter(self, chart: Chart) -> float | None:
        """What the detector measured, or, in short logs of a diffusion model, the scatter of the rows."""
        noise = chart.seen("loss-noise")
        if noise is not None:
            return noise.evidence["noise"]
        losses = chart.outline.there("loss")
        if Signs(chart).text_model is not False or not self.rows <= len(losses) < 20 or chart.symptoms:
            return None
        level = median(losses)
        scatter = MAD_TO_SD * median(abs(loss - level) for loss in losses) / level if level > 0 else 0.0
        return scatter if scatter > self.scatter else None

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        window, steps = chart.outline.window, total_steps(chart) or 0
        wanted = window * ceil(((self._scatter(chart) or 0.0) / self.readable) ** 2)
        every = max(window, min(wanted, steps // self.rows_left))
        remedies = []
        if every > window:
            left = (self._scatter(chart) or 0.0) / (every / window) ** 0.5
            why = say(
                "a row is then the mean of {every} steps instead of {window}, and scatters by about {left:.0%}",
                every=every,
                window=window,
                left=left,
            )
            remedies.append(
                Remedy(say("Log every {every} steps", every=every), why, {"logging_steps": every}, "none", (SMALL_BATCHES,))
            )
        else:
            why = say("a running mean over twenty rows shows what the run does; nothing in the run needs to change")
            remedies.append(Remedy(say("Smooth the chart"), why, {}, "none", (SMALL_BATCHES,)))
        if not chart.outline.evals and Signs(chart).text_model is not False:
            at = max(every, steps // 10)
            why = say("the same examples each time, so it does not scatter: judge the run by it")
            remedies.append(
                Remedy(
                    say("Evaluate on held-out examples"),
                    why,
                    {"eval_strategy": "steps", "eval_steps": at},
                    "low",
                    (SMALL_BATCHES,),
                )
            )
        return tuple(remedies)
