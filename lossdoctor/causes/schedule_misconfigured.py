from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from lossdoctor import hardware
from lossdoctor.base import Cause, Opinion
from lossdoctor.budgets import over, total_steps, warm_up
from lossdoctor.language import say
from lossdoctor.learning_rates import band_of, short
from lossdoctor.model import Chart, Remedy, Symptom
from lossdoctor.remedies import scheduler_by_trainer
from lossdoctor.signs import Signs

Kind = Literal["never", "ran out", "warm-up", "no decay", "died early", "stopped", "deepspeed"]
SCALER = "https://github.com/huggingface/transformers/pull/10362"


class _Fault(NamedTuple):
    """What is wrong with the schedule: from which step on, and the symptoms that show it."""

    kind: Kind
    step: int
    because: tuple[Symptom, ...]


SCHEDULES = "https://huggingface.co/docs/transformers/main_classes/optimizer_schedules"


@dataclass(eq=False, repr=False)
class ScheduleMisconfigured(Cause):
    """The learning-rate schedule does not fit the length of the run.

    ## How we tell
    A rate of 0 from the first row on; a rate that reaches 0 while the run goes on; one that still rises, or has hardly
    fallen, when the run is over; one that is next to nothing for the last third; a DeepSpeed scheduler beside the Trainer's.

    ## What else it could be
    A loss scaler that skips every step holds the rate at 0, or where it is: that needs fp16, and the loss is then broken
    or flat. A floor of the schedule, as in `cosine_with_min_lr`, is meant. A resume that began the schedule anew rises.

    ## Remedies and their sources
    Warm-up of 5 to 10 % of the steps (https://docs.unsloth.ai/get-started/beginner-start-here/lora-hyperparameters-guide); it
    makes a run less sensitive to the rate (https://ar5iv.labs.arxiv.org/html/2309.14322). DeepSpeed shows a rate of 0 while its
    loss scaler searches (https://github.com/huggingface/transformers/pull/10362). The rest is arithmetic: the schedule must be
    told as many steps as the run has.
    """

    title = "a learning-rate schedule that does not fit the run"
    confirmed = 1
    decide_by = "plot [scheduler.get_last_lr()[0]] over as many steps as the run has, without training"
    #: Shares of the peak below which a rate changes nothing, of a curve that stands still and of any, and the share of the run
    #: for which it may be there.
    faint: float = 0.02
    #: Share of the planned epochs before which a rate next to nothing cannot be the end of the schedule.
    half: float = 0.5
    dead: float = 0.001
    idle: float = 0.3
    #: Share of the peak that is left at the end of a schedule that did not arrive.
    left: float = 0.3
    #: A rate frozen below this share of the peak is a floor.
    floor: float = 0.15

    def weigh(self, chart: Chart) -> Opinion | None:
        fault = self._fault(chart)
        if fault is None:
            return None
        opinion, outline, run = Opinion(fault.because), chart.outline, chart.run
        total, peak, step = total_steps(chart) or 0, outline.peak_rate or 0.0, fault.step
        share = (step - 1) / max(1, outline.last_step or 1)
        if fault.kind == "never":
            opinion.add(
                5,
                say(
                    "the learning rate is 0 in every row up to step {last_step:,}: no step can change a weight",
                    last_step=outline.last_step,
                ),
            )
            if hardware.precision(run) == "fp16" or hardware.uses_deepspeed(run):
                opinion.add(-2, say("a loss scaler that skips every step shows the same"))
            why = say("The peak is 0, or a warm-up is so long that the rate has not left 0")
        elif fault.kind == "ran out":
            opinion.add(
                6,
                say(
                    "the rate reaches 0 after {share:.0%} of the steps ({step:,}), and the run goes on to {last_step:,}",
                    share=share,
                    step=step - 1,
                    last_step=outline.last_step,
                ),
            )
            why = say(
                "The schedule was made for fewer steps than the run has. What comes after its end costs time and changes nothing"
            )
        elif fault.kind == "warm-up":
            opinion.add(
                5,
                say(
                    "the rate still rises in the last row, at step {last_step:,} of {total:,}",
                    last_step=outline.last_step,
                    total=total,
                ),
            )
            if step > 0:
                opinion.add(1, say("the warm-up takes {step:,} steps", step=step))
            why = say(
                "The run ends before its warm-up does: the rate{chart} that was asked for was never reached",
                chart=self._asked(chart),
            )
        elif fault.kind == "no decay":
            last = (outline.there("rate") or [0.0])[-1]
            opinion.add(
                4,
                say(
                    "the rate ends at {last}, {last2:.0%} of its peak, with a {lr_scheduler_type} schedule",
                    last=short(last),
                    last2=last / peak,
                    lr_scheduler_type=run.get("lr_scheduler_type"),
                ),
            )
            why = say("The schedule was made for more steps than the run has, so the long small steps at its end were never made")
        elif fault.kind == "died early":
            opinion.add(
                3,
                say(
                    "from step {step:,} on, {share:.0%} of the way, the rate is next to nothing beside its peak of {peak}",
                    step=step,
                    share=share,
                    peak=short(peak),
                ),
            )
            why = say("From there on nothing moves the weights: a loss that stands still has not learned all there is")
        elif fault.kind == "stopped":
            opinion.add(
                2,
                say(
                    "the rate stays at {step} from step {step2:,} on, in mid-schedule",
                    step=short(outline.rate_at(step) or 0.0),
                    step2=step,
                ),
            )
            why = say("Either the schedule is meant to rest there, or it is no longer called")
        else:
            opinion.add(
                4,
                say(
                    "DeepSpeed has a scheduler of its own, and the rate peaks at {peak} instead of{chart}",
                    peak=short(peak),
                    chart=self._asked(chart),
                ),
            )
            why = say("The scheduler of the DeepSpeed configuration wins over lr_scheduler_type and warmup_steps")
        opinion.explanation = f"{why}."
        return opinion

    @staticmethod
    def _asked(chart: Chart) -> str:
        asked = chart.run.get("learning_rate")
        return f" {short(asked)}" if isinstance(asked, float) and asked > 0 else ""

    def _fault(self, chart: Chart) -> _Fault | None:
        outline, run, zero = chart.outline, chart.run, chart.seen("learning-rate-zero")
        if zero and zero.open:
            return _Fault("never" if zero.evidence.get("from_first_row") else "ran out", zero.onset, (zero,))
        table = outline.table
        rows = [(s, r) for s, r in zip(table.get("step", ()), table.get("rate", ()), strict=True) if r == r]
        if len(rows) < 5 or Signs(chart).broken or chart.seen("resume-jump"):
            return None
        rates, peak, total = [rate for _, rate in rows], outline.peak_rate or 0.0, run.get("max_steps")
        finished = isinstance(total, int) and total > 0 and over(chart)
        flat = tuple(s for s in chart.all("loss-still-falling", "loss-plateau", "loss-converged") if s.open)
        if finished and all(b > a for a, b in pairwise(rates)):
            warm = run.get("warmup_steps")
            return _Fault("warm-up", int(warm) if isinstance(warm, (int, float)) and warm > 1 else 0, flat)
        planned, asked = run.get("deepspeed"), run.get("learning_rate")
        if isinstance(planned, dict) and planned.get("scheduler") and isinstance(asked, float) and finished:
            if asked > 0 and not 0.9 < peak / asked < 1.1:
                return _Fault("deepspeed", outline.first_step or 1, flat)
        name = run.get("lr_scheduler_type")
        if finished and name in ("linear", "cosine") and self.left * peak < rates[-1] < rates[len(rates) // 2]:
            return _Fault("no decay", outline.last_step or 1, flat)
        if name in ("linear", "cosine") and 0 < self._done(chart) < self.half and rates[-1] < self.faint * peak:
            return _Fault("died early", max(int(step) for step, rate in rows if rate >= self.faint * peak) + 1, flat)
        quiet = [step for step, rate in rows if rate >= (self.faint if flat else self.dead) * peak]
        if quiet and outline.last_step and outline.last_step - quiet[-1] > self.idle * outline.last_step:
            return _Fault("died early", int(quiet[-1]) + 1, flat)
        frozen = chart.seen("learning-rate-frozen")
        if frozen and frozen.open and frozen.severity == "info" and frozen.evidence["value"] > self.floor * peak:
            return _Fault("stopped", frozen.onset, (frozen,))
        return None

    @staticmethod
    def _done(chart: Chart) -> float:
        """Share of the planned epochs that the log covers; 0.0 where no plan is known."""
        planned = chart.run.get("num_train_epochs")
        if chart.run.get("max_steps"):
            return 0.0  # the steps decide, and the epochs beside them are a default
        return (chart.outline.epochs or 0.0) / planned if isinstance(planned, (int, float)) and planned > 0 else 0.0

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        fault, total, band = self._fault(chart), total_steps(chart) or 1, band_of(chart.run)
        if fault is None:
            return ()
        gentle = warm_up(total)
        steps = round(max(total, chart.outline.last_step or 1) / min(1.0, self._done(chart) or 1.0))
        if fault.kind == "never":
            if self._asked(chart):
                why = say("print scheduler.get_last_lr() after each of the first steps: it must leave 0")
                return (
                    gentle,
                    Remedy(say("Let the Trainer build the schedule"), why, {"lr_scheduler_type": "linear"}, "none", (SCHEDULES,)),
                )
            rate, why = band.usual if band else 2e-5, say("a rate of 0 is no rate: see what the command line makes of it")
            sources = band.sources if band else (SCHEDULES,)
            set_rate = Remedy(
                say("Set the learning rate to {rate}", rate=short(rate)), why, {"learning_rate": rate}, "none", sources
            )
            return (set_rate, gentle)
        if fault.kind == "warm-up":
            return (gentle,)
        if fault.kind == "deepspeed":
            return (scheduler_by_trainer(),)
        if fault.kind == "stopped":
            why = say(
                "a schedule of one's own must be stepped once per optimizer step; the Trainer does so with the one it is given"
            )
            return (
                Remedy(say("Let the Trainer build the schedule"), why, {"lr_scheduler_type": "cosine"}, "none", (SCHEDULES,)),
            )
        lost = "" if fault.kind == "no decay" else say("; the steps after {step:,} did next to nothing", step=fault.step - 1)
        if chart.run.get("max_steps") == steps or 0 < self._done(chart) < self.half:  # so the Trainer's own schedule would fit
            do = say("Build the scheduler for {steps:,} steps, or leave it to the Trainer", steps=steps)
            why = say(
                "one that is made by hand needs the steps of the whole run, after accumulation and over all epochs{lost}",
                lost=lost,
            )
            return (Remedy(do, why, {"num_training_steps": steps}, "none", (SCHEDULES,)),)
        why = say("it sets the length of the run and of the schedule in one{lost}", lost=lost)
        return (
            Remedy(
                say("Set max_steps to the {steps:,} steps of the run", steps=steps),
                why,
                {"max_steps": steps},
                "none",
                (SCHEDULES,),
            ),
        )
