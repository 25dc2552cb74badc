from __future__ import annotations

import re
from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Cause, Opinion
from lossdoctor.language import later, say
from lossdoctor.learning_rates import WARM_UP, short
from lossdoctor.model import Chart, Remedy, Symptom
from lossdoctor.remedies import last_checkpoint_before
from lossdoctor.signs import Signs
from lossdoctor.stats import median
from lossdoctor.tasks import adapter

ADAPTER_NOT_LOADED = "https://github.com/tloen/alpaca-lora/issues/72"
FLAG_NOT_PASSED = "https://github.com/hiyouga/LlamaFactory/issues/512"
DATA_ORDER = "https://github.com/NVIDIA-NeMo/Megatron-Bridge/issues/4565"

WEIGHTS_ALONE = later("a checkpoint of weights alone can only be started anew, not resumed")


@dataclass(eq=False, repr=False)
class ResumeNotRestored(Cause):
    """The run was resumed, and part of its state was not: weights, optimizer, schedule or the place in the data.

    ## How we tell
    The loss breaks exactly where the steps, the epoch or the learning rate start anew. Back at the first loss: the adapter or
    the weights were not loaded. Somewhat higher: the optimizer or the schedule began again. Lower until the epoch ends: the data
    began again. In a log of a few rows a jump to several times the loss may be a resume; nothing there proves it. Inside a
    Trainer the checkpoint is looked at: it has the state of the optimizer, or it has not.

    ## What else it could be
    A learning rate that is too high, where nothing restarted. A schedule with warm restarts, where the rate rises by design.
    A step down at the end of an epoch, which is memorisation.

    ## Remedies and their sources
    Building the model from the base model and letting `resume_from_checkpoint` load the adapter cured the adapter that was not
    loaded (https://github.com/tloen/alpaca-lora/issues/72); passing the flag to `trainer.train` cured the lost optimizer
    (https://github.com/hiyouga/LlamaFactory/issues/512). Repeated data is reported, without a fix that was confirmed
    (https://github.com/NVIDIA-NeMo/Megatron-Bridge/issues/4565).
    """

    title = "the resume did not restore everything"
    confirmed = 6
    decide_by = "evaluate the resumed model before its first step: the loss must be that of the run when it was saved"
    #: A rate that many times the last one before has begun anew.
    rate_anew: float = 1.5
    #: In a log of up to so many rows that is known to be resumed, a loss that is higher by this share is looked at.
    few: int = 5
    higher: float = 0.1
    somewhat: float = 1.04
    #: How close to the first loss of the log a jump must lead at once, to say that it is back there.
    back: float = 0.15

    def weigh(self, chart: Chart) -> Opinion | None:
        jump = chart.seen("resume-jump")
        if chart.run.get("optimizer_restored") is False and not (jump and jump.evidence["after"] > jump.evidence["before"]):
            return self._without_state(jump)
        if jump is not None:
            return self._weigh_jump(chart, jump)
        if Signs(chart).broken:
            return None
        spike = chart.seen("loss-spike")
        resumed = chart.run.get("resume_from_checkpoint") or chart.run.resumed_at
        losses, opinion = chart.outline.there("loss"), Opinion((spike,) if spike else ())
        if spike and spike.evidence.get("excerpt"):
            before, peak = spike.evidence["before"], spike.evidence["peak"]
            opinion.add(
                1,
                say(
                    "the loss jumps from {before:.3g} to {peak:.3g} in one row, as when training starts anew",
                    before=before,
                    peak=peak,
                ),
            )
        elif named := self._at_named_checkpoint(chart):
            opinion.because = (named,)
            opinion.add(
                4, say("the loss jumps in the row after step {onset:,}, where the run was resumed", onset=named.onset - 1)
            )
        elif back := self._back_at_once(chart):
            opinion.because = (back,)
            opinion.add(
                1, say("the loss jumps to where it began, {first_loss:.3g}, in a single row", first_loss=chart.outline.first_loss)
            )
            every, saved = chart.run.get("save_steps"), back.onset - 1
            if isinstance(every, (int, float)) and every > 1 and saved % every == 0:
                opinion.add(
                    2,
                    say(
                        "it does so right after step {saved:,}, where a checkpoint was due (save_steps {every:.0f})",
                        saved=saved,
                        every=every,
                    ),
                )
            if anew := chart.outline.rate_begun_anew(back.onset, self.rate_anew):
                opinion.add(
                    2,
                    say(
                        "the learning rate went from {first_anew} to {second_anew}: the schedule began anew",
                        first_anew=short(anew[0]),
                        second_anew=short(anew[1]),
                    ),
                )
            if opinion.points < 2:
                return None  # a jump alone has likelier causes
        elif higher := self._higher_at_new_rate(chart):
            near = 2 * chart.outline.window
            opinion.because = tuple(s for s in chart.all("loss-spike", "loss-divergence") if abs(s.onset - higher[0]) <= near)
            opinion.add(3, higher[1])
        elif resumed and 1 < len(losses) <= self.few and losses[-1] > (1 + self.higher) * losses[0] > 0:
            opinion.add(1, say("the loss is {losses:.3g}, and was {first_losses:.3g}", losses=losses[-1], first_losses=losses[0]))
        if not opinion.points:
            return None
        if opinion.because and adapter(chart.run):
            opinion.add(1, say("an adapter is trained: it must be loaded into the model when the run goes on"))
        if resumed:
            opinion.add(
                1,
                say("the run was resumed")
                + (say(" at step {resumed_at:,}", resumed_at=chart.run.resumed_at[-1]) if chart.run.resumed_at else ""),
            )
        lost = say("weights were not loaded") if opinion.because else say("optimizer or schedule began again")
        opinion.explanation = say("A jump like this where a run was stopped and resumed says that {lost}.", lost=lost)
        return opinion

    @staticmethod
    def _without_state(jump: Symptom | None) -> Opinion:
        """A checkpoint that was seen to hold the weights alone."""
        opinion = Opinion((jump,) if jump else ())
        opinion.add(7, say("the checkpoint that the run was resumed from has no state of the optimizer"))
        opinion.explanation = say(
            "AdamW's averages and the schedule began anew at the resume, with the longest steps first: part of what was learned "
            "is undone."
        )
        return opinion

    def _at_named_checkpoint(self, chart: Chart) -> Symptom | None:
        """A climb that begins right after the checkpoint that the facts name, or where the steps of the log go back."""
        found = re.search(r"(\d+)/?$", str(chart.run.get("resume_from_checkpoint") or ""))
        places = [*([int(found[1]) + 1] if found and not chart.outline.numbered else []), *chart.run.resumed_at]
        near = max(2, chart.outline.window)
        climbs = chart.all("loss-spike", "loss-divergence")
        return next((s for s in climbs if any(abs(s.onset - place) <= near for place in places)), None)

    def _higher_at_new_rate(self, chart: Chart) -> tuple[int, str] | None:
        """The row at which a rate that was falling starts again and the loss is higher from then on, in words."""
        steps, losses, rates = (chart.outline.table.get(name, ()) for name in ("step", "loss", "rate"))
        for place in range(3, len(steps) - 4):
            old, new, after = rates[place - 1], rates[place], losses[place : place + 5]
            if not (new >= self.rate_anew * old > 0 and old < 0.98 * max(rates[:place])):
                continue
            was, now = median(losses[max(0, place - 5) : place]), median(after)
            if now > self.somewhat * was > 0 and min(after) > was:
                words = say(
                    "the learning rate goes from {old} to {new}, and the loss from {was:.3g} to {now:.3g}",
                    old=short(old),
                    new=short(new),
                    was=was,
                    now=now,
                )
                return int(steps[place]), words
        return None

    def _back_at_once(self, chart: Chart) -> Symptom | None:
        """A jump that lasts, and whose first row is already as high as the first of the log."""
        table, first = chart.outline.table, chart.outline.first_loss or 0.0
        for jump in chart.all("loss-spike", "loss-divergence"):
            rows = zip(table.get("step", ()), table.get("loss", ()), strict=True)
            at = next((loss for step, loss in rows if step >= jump.onset), 0.0)
            lasts = jump.slug == "loss-divergence" or jump.evidence.get("rows", 0) >= self.few
            if lasts and jump.severity != "info" and abs(at - first) < self.back * first:
                return jump
        return None

    def _weigh_jump(self, chart: Chart, jump: Symptom) -> Opinion:
        opinion = Opinion((jump,))
        before, after, start = (jump.evidence[name] for name in ("before", "after", "start"))
        anew = chart.outline.rate_begun_anew(jump.onset, self.rate_anew)
        if after < before:
            opinion.add(
                2,
                say(
                    "the loss drops from {before:.3g} to {after:.3g} at once: the model has just seen these examples",
                    before=before,
                    after=after,
                ),
            )
            if chart.run.get("ignore_data_skip"):
                opinion.add(4, say("ignore_data_skip is on, so the epoch begins anew where it was resumed"))
            opinion.explanation = say(
                "The order of the data was not restored, so the run goes through examples again that it had done "
                "in this epoch. The weights are sound; the loss is back on its curve when the epoch ends."
            )
            return opinion
        if jump.evidence.get("back_at_start"):
            opinion.add(
                5,
                say(
                    "the loss is {after:.3g}, as at the start ({start:.3g}), and was {before:.3g}: nothing is left",
                    after=after,
                    start=start,
                    before=before,
                ),
            )
            if adapter(chart.run):
                opinion.add(1, say("an adapter is trained: the base model alone gives this loss"))
            opinion.explanation = say(
                "The weights of the checkpoint are not in the model that goes on: the adapter was created anew, "
                "or loaded into another model than the one that is trained."
            )
        else:
            opinion.add(
                3,
                say(
                    "the loss is higher by {after:.0%} where the run goes on: {before:.3g}, {after2:.3g}",
                    after=after / before - 1,
                    before=before,
                    after2=after,
                ),
            )
            opinion.explanation = say(
                "The weights were loaded, since the loss is far below its start. The averages of the optimizer "
                "or the place in the schedule were not, so the first steps after the restart are too long."
            )
        if anew:
            opinion.add(
                2,
                say(
                    "the learning rate went from {first_anew} to {second_anew}: the schedule began anew",
                    first_anew=short(anew[0]),
                    second_anew=short(anew[1]),
                ),
            )
            if not chart.run.resumed_at and "restart" in str(chart.run.get("lr_scheduler_type") or "restart"):
                opinion.add(-1, say("no step goes back: a schedule with warm restarts would look the same"))
        elif chart.run.resumed_at:
            opinion.add(
                1, say("the steps go back to {resumed_at:,}: the run was resumed there", resumed_at=chart.run.resumed_at[-1])
            )
        if hardware.precision(chart.run) == "fp16":
            opinion.explanation += say(
                " Under fp16 the loss scale starts at 65,536 again and skips some steps unless it was saved."
            )
        return opinion

    def check(self, chart: Chart) -> str:
        jump = chart.seen("resume-jump")
        if jump is None:
            return say("was the run stopped and resumed there? If so, evaluate the loaded model before its first step")
        if jump.evidence["after"] < jump.evidence["before"]:
            return say("print the first batch after the resume: is it the first batch of the epoch?")
        found = last_checkpoint_before(chart.run, jump.onset)
        files = say(
            "{path} must hold optimizer.pt, scheduler.pt and rng_state.pth", path=found.path if found else say("the checkpoint")
        )
        return say(
            "evaluate the resumed model before its first step: about {before:.3g} if it was loaded; {files}",
            before=jump.evidence["before"],
            files=files,
        )

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        jump = chart.seen("resume-jump")
        if jump and jump.evidence["after"] < jump.evidence["before"]:
            why = say(
                "the Trainer then skips the batches of the epoch that were done; keep seed, batch size and GPUs as they were"
            )
            return (
                Remedy(say("Let the resume skip the data that was seen"), why, {"ignore_data_skip": False}, "low", (DATA_ORDER,)),
            )
        at = jump or self._at_named_checkpoint(chart) or self._back_at_once(chart) or chart.seen("loss-spike")
        lost = bool(jump.evidence.get("back_at_start")) if jump else at is not None
        found = last_checkpoint_before(chart.run, at.onset) if at else None
        path = found.path if found else True
        whole = say("with a fresh adapter") if adapter(chart.run) else say("as for the first start")
        how = f"trainer.train(resume_from_checkpoint={path!r})"
        wasted = say("; the steps from {onset:,} on are lost", onset=at.onset) if at else ""
        why = say(
            "the Trainer then loads weights, optimizer, schedule and place in the data; without the argument it begins anew"
        )
        if lost:
            do, sources = (
                say("Build the model from the base model, {whole}, and call {how}", whole=whole, how=how),
                (ADAPTER_NOT_LOADED, FLAG_NOT_PASSED),
            )
            return (Remedy(do, why + wasted, {"resume_from_checkpoint": path}, "low", sources),)
        warm = int(max(10, 0.02 * (chart.outline.last_step or 500), chart.run.get("warmup_steps") or 0))
        save = say("Save the state of the optimizer with each checkpoint")
        again = say("if that state is gone, warm up again over {warm} steps", warm=warm)
        empty = say("AdamW's averages are empty, and its first steps are its longest")
        resume = Remedy(say("Resume with {how}", how=how), why, {"resume_from_checkpoint": path}, "low", (FLAG_NOT_PASSED,))
        keep = Remedy(save, say(WEIGHTS_ALONE), {"save_only_model": False}, "none", (FLAG_NOT_PASSED,))
        alone = chart.run.get("save_only_model") is True  # then there is nothing that the same resume could bring back
        return (
            *((keep, resume) if alone else (resume, keep)),
            Remedy(again, empty, {"warmup_steps": warm}, "low", (WARM_UP,), alternative=True),
        )
