from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Cause, Opinion
from lossdoctor.families import family_of
from lossdoctor.language import later, say
from lossdoctor.model import Chart, Remedy, Run
from lossdoctor.remedies import quantised_compute, show_nan, start_again, wider_precision
from lossdoctor.signs import Signs

KERNEL = ("https://github.com/QwenLM/Qwen3/issues/670",)
SKIPPED = later(
    "Gradients grow beyond 65,504, the largest fp16 value, again and again, and the loss scaler "
    "throws each of these steps away. The run goes on with the others: it learns less than its step "
    "counter says, and it is close to standing still."
)


@dataclass(eq=False, repr=False)
class Fp16Overflow(Cause):
    """A number grew beyond 65,504, the largest that fp16 can hold.

    ## How we tell
    fp16 is on (or the GPU has nothing better), and the loss turned to NaN or 0.0. The proof is a learning rate frozen to the
    last digit in the same rows, or a loss scale that falls below 1: the scaler skips every step. An infinite gradient norm,
    a model family that was trained in bf16, and a NaN evaluation loss add to it. bf16 or fp32 exclude it.

    ## What else it could be
    An attention kernel that returns NaN, and the ZeRO-2 race of DeepSpeed: both strike in bf16 too, and leave the learning
    rate moving. 8-bit weights on a GPU before Turing look the same from the first row on.

    ## Remedies and their sources
    bf16 ended nine confirmed cases, fp32 those on GPUs without bf16 (compute capability below 8.0). The numbers are a matter of
    format (https://docs.pytorch.org/docs/stable/amp.html): T5 reached 66,246
    (https://github.com/huggingface/transformers/issues/9295), Gemma 3 and Qwen2 exceed it as well
    (https://unsloth.ai/blog/gemma3, https://github.com/QwenLM/Qwen3/issues/670). A lower learning rate is folk advice: the
    activations of a forward pass do not depend on it. Steps that the scaler skipped left the weights sound
    (https://docs.pytorch.org/docs/stable/_modules/torch/cuda/amp/grad_scaler.html).
    """

    title = "fp16 overflow"
    confirmed = 18
    decide_by = "run the same 50 steps with bf16=True (Ampere or newer) or with fp16=False: an fp16 overflow is then gone"

    #: Rows of 0.0 after which it is suspected although nothing is known of the precision.
    rows_to_suspect: int = 3

    def weigh(self, chart: Chart) -> Opinion | None:
        signs = Signs(chart)
        scale, skipped = chart.seen("loss-scale-collapse"), chart.seen("skipped-steps")
        collapsed = scale is not None and scale.open
        many = skipped is not None and skipped.severity == "warning"
        blind = signs.eval_not_finite and not signs.broken  # long sequences may overflow in the evaluation alone
        if not (signs.broken or many or (blind and signs.precision == "fp16")):
            return None
        if signs.gradient == "zero" and not (collapsed and self._underflows(chart)):
            return None
        if signs.precision in ("bf16", "fp32") and not collapsed:
            return None
        opinion = Opinion(signs.witnesses or ((skipped,) if skipped else ()))
        if signs.precision == "fp16":
            opinion.add(3, say("fp16 is on"))
        elif hardware.bf16_capable(chart.run) is False:
            opinion.add(2, say("{gpu} has no bf16 units, so the run was most likely fp16", gpu=chart.run.get("gpu")))
        if collapsed:
            opinion.add(4, say("the loss scale collapsed: every step overflowed"))
        if signs.rate_frozen:
            opinion.add(4, say("the learning rate froze in the same rows: the scaler skipped every step"))
        elif many and skipped:
            opinion.add(
                3,
                say(
                    "{skipped:.0f} steps were skipped, which only a loss scaler does", skipped=skipped.evidence.get("skipped", 0)
                ),
            )
        elif signs.rate_moving and not hardware.uses_deepspeed(chart.run) and "fused" not in str(chart.run.get("optim", "fused")):
            opinion.add(
                -2,
                say(
                    "the learning rate kept moving, which {optim} would not allow for skipped steps", optim=chart.run.get("optim")
                ),
            )
        if signs.precision is None and not opinion.points and not signs.rate_moving and self._lasting(signs):
            opinion.add(1, say("the precision is not known, and fp16 is the most frequent cause of this picture"))
        if signs.precision is None and not opinion.points and signs.from_first_row and signs.eval_not_finite:
            opinion.add(
                1, say("the precision is not known, and fp16 is the most frequent cause of zeros beside a NaN evaluation")
            )
        if signs.survived and signs.precision is None:
            opinion.add(2, say("the loss stays sound beside NaN norms, as when a loss scaler skips these steps"))
        if signs.infinite_gradient:
            opinion.add(1, say("the gradient norm is infinite rather than NaN"))
        if signs.first_tensor[0] == "output":
            opinion.add(
                2,
                say(
                    "the first number to be lost is in the output of {second_first_tensor}",
                    second_first_tensor=signs.first_tensor[1],
                ),
            )
        elif signs.first_tensor[0] == "input":
            opinion.add(-3, say("the batch itself holds a number that is not finite"))
        if (family := family_of(chart.run)) and family.fp16:
            opinion.add(1, f"{family.name}: {say(family.fp16)}")
        if signs.eval_not_finite and opinion.points:
            opinion.add(1, say("the evaluation loss is NaN as well: the forward pass itself overflows"))
        if not opinion.points:
            return None
        if blind:
            opinion.add(-1, say("the training rows are finite"))
        opinion.explanation = self._explain(signs) if signs.broken or blind else say(SKIPPED)
        return opinion

    @staticmethod
    def _underflows(chart: Chart) -> bool:
        """Whether the gradient was sound at first: at a loss scale that has collapsed it is too small for fp16."""
        zero = chart.seen("gradient-zero")
        return zero is not None and not zero.evidence.get("from_first_row")

    def check(self, chart: Chart) -> str:
        if hardware.bf16_capable(chart.run) is False:
            return say("run the same 50 steps with fp16=False: an fp16 overflow is then gone")
        return say(self.decide_by)

    def _lasting(self, signs: Signs) -> bool:
        """Whether a sound loss turned into zeros for good."""
        zeros = signs.collapse.evidence["zero_rows"] if signs.collapse and not signs.from_first_row else 0.0
        return zeros >= self.rows_to_suspect

    def _explain(self, signs: Signs) -> str:
        parts = [
            say(
                "A number inside the model grew beyond 65,504, the largest fp16 value, and became infinite; from "
                "there the loss is NaN. The Trainer does not log NaN: it writes 0.0 instead. So 0.0 here means "
                "'broken', not 'learned perfectly', and it is not overfitting."
            )
        ]
        if signs.rate_frozen:
            parts.append(
                say(
                    "The learning rate froze because the loss scaler throws away every step with an infinite "
                    "gradient, and a step that is thrown away does not advance the schedule: the weights have "
                    "practically stood still since."
                )
            )
        if signs.collapse and not signs.from_first_row:
            parts.append(
                say(
                    "It strikes at a random step because it takes one batch whose activations are large enough: with "
                    "other seeds or data order it comes earlier, later or never."
                )
            )
        return " ".join(parts)

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        run = chart.run
        return (wider_precision(run), *self._kernel(run), *quantised_compute(run), *start_again(chart), show_nan())

    @staticmethod
    def _kernel(run: Run) -> tuple[Remedy, ...]:
        """For families whose scores overflow in the plain kernel alone: another kernel, if fp16 has to stay."""
        family, used = family_of(run), str(run.get("attn_implementation") or "")
        if family is None or "sdpa" not in family.attention or (used and used in family.attention):
            return ()
        why = say(
            "it is the eager kernel of {family_name} that overflows: fused kernels keep the scores in fp32",
            family_name=family.name,
        )
        do = say("if fp16 has to stay, load the model with the fused attention kernel")
        return (Remedy(do, why, {"attn_implementation": "sdpa"}, "low", KERNEL, alternative=True),)
