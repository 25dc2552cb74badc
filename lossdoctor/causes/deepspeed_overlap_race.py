from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Cause, Opinion
from lossdoctor.language import say
from lossdoctor.model import Chart, Remedy
from lossdoctor.remedies import no_overlap, start_again
from lossdoctor.signs import Signs

#: Versions that print a NaN gradient norm as 1.0.
CONSTANT_NORM_VERSIONS = ("0.12.4", "0.12.5", "0.12.6")


@dataclass(eq=False, repr=False)
class DeepspeedOverlapRace(Cause):
    """DeepSpeed ZeRO-1/2 frees gradient buffers while they are still being reduced (`overlap_comm`).

    ## How we tell
    DeepSpeed with ZeRO stage 1 or 2 and more than one GPU; the loss is 0.0 or the gradient norm NaN, at once or suddenly; a
    gradient norm that is exactly constant is a NaN norm as DeepSpeed prints it. ZeRO-0, ZeRO-3, one GPU and
    `overlap_comm: false` exclude it.

    ## What else it could be
    An attention kernel that returns NaN needs neither DeepSpeed nor several GPUs. fp16 overflow needs fp16.

    ## Remedies and their sources
    `overlap_comm: false` ended six confirmed cases (https://github.com/deepspeedai/DeepSpeed/issues/7188,
    https://github.com/deepspeedai/DeepSpeed/issues/5347) and costs little speed. ZeRO-3 instead does not have the race
    (https://github.com/hiyouga/LlamaFactory/issues/8137) and is slower. The weights after the first garbage are lost: go back to
    a checkpoint from before.
    """

    title = "a communication race in DeepSpeed ZeRO-1/2"
    confirmed = 11
    decide_by = "run 50 steps with overlap_comm: false (or ZeRO-3) and everything else unchanged"

    def weigh(self, chart: Chart) -> Opinion | None:
        signs = Signs(chart)
        run = chart.run
        stage = hardware.zero_stage(run)
        constant = signs.gradient == "constant"
        weak = chart.seen("gradient-not-finite") if hardware.uses_deepspeed(run) else None
        if not signs.broken and stage in (1, 2) and (doubled := self._doubled(chart)):
            return doubled
        if not (signs.broken or weak) or not (hardware.uses_deepspeed(run) or constant):
            return None
        if stage in (0, 3) or run.get("overlap_comm") is False or hardware.gpus(run) == 1 or signs.gradient == "zero":
            return None
        opinion = Opinion(signs.witnesses or ((weak,) if weak else ()))
        if stage in (1, 2):
            opinion.add(3, say("DeepSpeed ZeRO-{stage}, the stage that has the race", stage=stage))
        elif hardware.uses_deepspeed(run):
            opinion.add(2, say("DeepSpeed is in use (its stage is not known)"))
        if constant:
            opinion.add(2, say("the gradient norm is an exact constant: that is how DeepSpeed prints a NaN norm"))
        if run.get("overlap_comm") is True:
            opinion.add(2, say("overlap_comm is on"))
        if (hardware.gpus(run) or 0) > 1:
            opinion.add(1, say("several GPUs reduce their gradients together"))
        if signs.precision == "bf16":
            opinion.add(1, say("bf16 is on, so fp16 overflow is excluded"))
        elif signs.precision == "fp16":
            opinion.add(-1, say("fp16 is on, and fp16 overflow is the more frequent cause"))
        if signs.rate_frozen and stage is None:
            opinion.add(-1, say("the learning rate is frozen: steps are being skipped"))
        if any(v in str(run.get("deepspeed_version") or "") for v in CONSTANT_NORM_VERSIONS):
            opinion.add(
                1,
                say(
                    "DeepSpeed {deepspeed_version} is among the affected versions", deepspeed_version=run.get("deepspeed_version")
                ),
            )
        opinion.explanation = say(
            "With overlap_comm, ZeRO-1 and ZeRO-2 reduce gradients on a side stream and free the buffers "
            "before it is done. Which GPU, bucket size and model loses the race is chance, so the same "
            "configuration works elsewhere; what arrives is garbage or NaN, and the next step puts it into "
            "the weights."
        )
        return opinion

    @staticmethod
    def _doubled(chart: Chart) -> Opinion | None:
        """A first loss of exactly twice the second, without a step that could have halved it."""
        losses, run = chart.outline.there("loss"), chart.run
        begins = chart.outline.first_step == 1 and not chart.outline.begins_late and chart.outline.window == 1
        if len(losses) < 2 or not begins or run.get("overlap_comm") is False or not 1.98 < losses[0] / losses[1] < 2.02:
            return None
        opinion = Opinion(())
        opinion.add(
            3,
            say(
                "the first loss, {first_losses:.4g}, is twice the second: the two do not come from the same sums",
                first_losses=losses[0],
            ),
        )
        opinion.explanation = say("With overlap_comm, ZeRO-1 and ZeRO-2 may reduce buffers that are not filled yet, or twice.")
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        return (
            *no_overlap(),
            *self._version(chart),
            *start_again(chart),
        )

    @staticmethod
    def _version(chart: Chart) -> tuple[Remedy, ...]:
        """Where the version is among those that were worst: another one."""
        version = str(chart.run.get("deepspeed_version") or "")
        if not any(affected in version for affected in CONSTANT_NORM_VERSIONS):
            return ()
        why = say(
            "{version} also prints a NaN norm as a constant, which hides it; 0.12.3 did neither, and later versions show nan",
            version=version,
        )
        do = say("Or install a DeepSpeed before 0.12.4, or a current one")
        return (Remedy(do, why, {}, "low", ("https://github.com/deepspeedai/DeepSpeed/issues/5242",), alternative=True),)
