from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Cause, Opinion
from lossdoctor.language import say
from lossdoctor.model import Chart, Remedy
from lossdoctor.signs import Signs

LAUNCH = "https://github.com/hiyouga/LlamaFactory/issues/4031"


@dataclass(eq=False, repr=False)
class DataParallelLoss(Cause):
    """One process drives several GPUs (torch DataParallel), and loss and gradient are no longer what they say.

    ## How we tell
    The facts name several GPUs and a single process. The training loss is then the evaluation loss divided by their number, or
    the gradient is NaN at once in fp16. `Was asked to gather along dimension 0, but all input tensors were scalars` in the
    console is the proof.

    ## What else it could be
    A training loss below that of evaluation is overfitting if it becomes so in the course of the run. NaN has many causes that
    need one GPU only.

    ## Remedies and their sources
    One process per GPU, or a single visible GPU. Public threads only infer it, for NaN in the first step of a run started with
    plain `python` (https://github.com/hiyouga/LlamaFactory/issues/4031); nobody confirmed it there.
    """

    title = "one process drives several GPUs (DataParallel)"
    confirmed = 0
    decide_by = "start the same command with CUDA_VISIBLE_DEVICES=0: does the number, or the NaN, change?"
    #: How close evaluation loss / training loss must be to the number of GPUs.
    near: float = 0.12
    #: A gradient norm that only a loss scale explains.
    scaled_norm: float = 1000.0
    #: A best evaluation loss that is lower than the last one by more than this says overfitting.
    risen: float = 0.05

    def weigh(self, chart: Chart) -> Opinion | None:
        run, cards = chart.run, hardware.cards(chart.run)
        several = run.get("multi_gpu") is True or (cards or 0) > 1
        processes, kind = run.get("world_size"), str(run.get("distributed_type") or "").upper()
        if kind not in ("", "NO"):
            return None
        processes = 1 if kind == "NO" else processes
        if not several or (isinstance(processes, int) and processes > 1) or hardware.uses_deepspeed(run):
            return None
        signs, gap = Signs(chart), self._divided(chart, cards)
        early = signs.broken and signs.gradient in ("not finite", "absent") and min(s.onset for s in signs.witnesses) <= 2
        norm = chart.outline.typical_norm or 0.0
        scaled = processes == 1 and signs.precision == "fp16" and norm > self.scaled_norm
        if not gap and not early and not scaled:
            return None
        opinion = Opinion(signs.witnesses if early else tuple(s for s in [chart.seen("train-eval-scale-gap")] if s))
        if gap and cards:
            opinion.add(
                3,
                say("the evaluation loss is {gap:.3g} times the training loss, and there are {cards} GPUs", gap=gap, cards=cards),
            )
        if processes == 1:
            opinion.add(
                3 if gap else 1 if scaled else 2, say("{cards} GPUs are visible to one process", cards=cards or say("several"))
            )
        elif early:
            opinion.add(
                1,
                say(
                    "{cards} GPUs, and nothing says that they were started with torchrun or accelerate",
                    cards=cards or say("several"),
                ),
            )
        if scaled:
            opinion.add(3, say("the gradient norm is {norm:,.0f}: it is clipped before the loss scale is taken out", norm=norm))
        elif early and processes == 1 and signs.precision == "fp16":
            opinion.add(1, say("fp16 gradients of the replicas are clipped before they are unscaled"))
        opinion.explanation = (
            say(
                "Started with plain python, the Trainer copies the model to every visible GPU. Each copy divides "
                "its loss by the tokens of the whole batch and the mean is taken over the copies, so the loss is "
                "divided once more by their number."
            )
            if gap or scaled
            else say(
                "Started with plain python, the Trainer copies the model to every visible GPU in each step. "
                "Quantised weights, adapters and loss scalers are not made for that."
            )
        )
        return opinion

    def _divided(self, chart: Chart, cards: int | None) -> float | None:
        """Evaluation loss over training loss, where it is the number of GPUs at both ends of the run."""
        outline = chart.outline
        if not cards or not outline.level or not outline.last_eval or not outline.best_eval or outline.evals < 2:
            return None
        ratio = outline.last_eval / outline.level
        if abs(ratio / cards - 1) > self.near or outline.last_eval > (1 + self.risen) * outline.best_eval:
            return None
        return ratio

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        cards = hardware.cards(chart.run) or 2
        return (
            Remedy(
                say("Start one process per GPU: torchrun --nproc_per_node={cards} train.py", cards=cards),
                say("each process then has its own copy, and gradients are averaged as they should be"),
                {},
                "none",
                (LAUNCH,),
            ),
            Remedy(
                say("let the run see one GPU only: CUDA_VISIBLE_DEVICES=0 python train.py"),
                say("slower, and the quickest way to find out"),
                {},
                "low",
                (LAUNCH,),
                alternative=True,
            ),
        )
