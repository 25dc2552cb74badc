from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import HIGH, Cause, Opinion
from lossdoctor.families import family_of
from lossdoctor.language import say
from lossdoctor.model import Chart, Remedy, Run, Symptom
from lossdoctor.remedies import start_again
from lossdoctor.signs import Signs

SOURCES = ("https://github.com/hiyouga/LlamaFactory/issues/8088", "https://github.com/hiyouga/LlamaFactory/issues/9631")


@dataclass(eq=False, repr=False)
class AttentionKernelNan(Cause):
    """The attention kernel returns NaN, most often in its backward pass or for padded rows.

    ## How we tell
    The first loss is finite and plausible, the gradient norm is NaN in the first or second step and the learning rate keeps
    moving: data and forward pass are sound, the backward pass is not. bf16, a very new GPU, torch 2.5 and models with unusual
    heads (Gemma) make it likelier.

    ## What else it could be
    The ZeRO-1/2 race of DeepSpeed shows the same and needs several GPUs. fp16 overflow freezes the learning rate.

    ## Remedies and their sources
    Another kernel is what ended the confirmed cases, and no kernel is right for every model: eager cured a Qwen2.5
    (https://github.com/hiyouga/LlamaFactory/issues/8088), FlashAttention 2 cured runs on H100
    (https://github.com/hiyouga/LlamaFactory/issues/9631), and eager itself overflows in some Qwen2 and Phi-2. So the remedy
    names the kernel that the family is known to need, or else one that was not in use. Weights that took a NaN step are lost
    (https://github.com/huggingface/trl/issues/6702): go back to a checkpoint from before.
    """

    title = "the attention kernel returns NaN"
    confirmed = 13
    decide_by = "run 5 steps with another attn_implementation (eager, sdpa, flash_attention_2), then with batch size 1"
    recent_gpu: float = 9.0
    #: Times its first row that a loss has grown to, row by row, from which on the weights grew before anything overflowed.
    explosion: float = 10.0

    def weigh(self, chart: Chart) -> Opinion | None:
        signs = Signs(chart)
        if signs.uniform and not signs.broken:
            return self._uniform(chart, signs.uniform)
        run, family, used = chart.run, family_of(chart.run), str(chart.run.get("attn_implementation") or "")
        wrong = bool(family and family.attention and used and used not in family.attention)
        if not (signs.broken or (signs.eval_not_finite and wrong)) or signs.gradient in ("zero", "constant"):
            return None
        opinion = Opinion(signs.witnesses)
        if signs.gradient == "not finite" and not signs.rate_frozen:
            moved = say(" and the learning rate went on: no step was skipped") if signs.rate_moving else ""
            opinion.add(1, say("the gradient norm is NaN{moved}", moved=moved))
        begun = not chart.outline.begins_late and not signs.from_first_row
        early = [s for s in signs.witnesses if begun and s.onset <= 2 and s.slug == "gradient-not-finite"]
        if early:
            opinion.add(1, say("it strikes at once, in step {onset}, at a loss that was still finite", onset=early[0].onset))
        if signs.precision == "bf16":
            opinion.add(2, say("bf16 is on, so fp16 overflow is excluded"))
        elif signs.precision == "fp16":
            opinion.add(-2, say("fp16 is on, and fp16 overflow is the more frequent cause"))
        loss = chart.seen("loss-not-finite")
        if loss and loss.evidence.get("finite_rows_after"):
            opinion.add(-1, say("the loss recovered: a NaN gradient that is applied leaves no weight to recover with"))
        capability = hardware.compute_capability(run)
        if capability and capability >= self.recent_gpu:
            opinion.add(1, say("{gpu} is recent: kernels for it are less tried", gpu=run.get("gpu")))
        if family and family.attention and (wrong or not used):
            but = say(", and {used} is used", used=used) if wrong else ""
            opinion.add(
                3 if wrong else 1,
                say(
                    "{family_name} is known to need {attention} attention{but}",
                    family_name=family.name,
                    attention=say(family.attention),
                    but=but,
                ),
            )
        what, name = signs.first_tensor
        seen = what == "output" and "att" in name.rpartition("layers.")[2].lower()
        if seen:
            opinion.add(4, say("the first tensor that is not finite is the output of {name}", name=name))
        elif what:
            opinion.add(
                -2,
                say("the forward pass is finite in every attention module")
                if what != "output"
                else say("it begins in {name}", name=name),
            )
        if signs.grown > self.explosion and signs.precision in ("fp32", "bf16"):
            words = say("the loss grew {grown:,.3g}-fold through finite numbers before it was lost", grown=signs.grown)
            opinion.add(-4, words)  # of weights that grew, some module is the first to overflow
        if str(run.get("torch_version") or "").startswith("2.5"):
            opinion.add(1, say("torch 2.5 has a broken cuDNN attention backward"))
        if signs.survived:
            opinion.add(-2, say("the loss stayed finite after the NaN norm: a step with it was not made, as under a loss scaler"))
        if signs.sound_after:
            opinion.add(-1, say("an evaluation after it is finite, so the weights are"))
        if signs.rate_frozen:
            opinion.add(-3, say("the learning rate is frozen: steps are skipped, which only a loss scaler does"))
        stage = hardware.zero_stage(run)
        if stage in (1, 2):
            opinion.add(-1, say("ZeRO-{stage} with overlapping communication shows the same", stage=stage))
        elif opinion.points and (hardware.gpus(run) == 1 or stage in (0, 3)):
            opinion.add(1, say("one GPU, or a ZeRO stage without the race: DeepSpeed is excluded"))
        if not early and not seen:  # without a sound first step nothing excludes data, weights and labels
            opinion.points = min(opinion.points, HIGH - 1)
        if opinion.points <= 0 and not (signs.gradient == "absent" and signs.precision is None and not opinion.contradicts):
            return None
        if not opinion.supports:
            opinion.add(1, say("nothing in the facts excludes it"))
        if chart.seen("opening-loss-above-chance"):
            early = []
        sound = say(
            "The loss of the first step is sound, so data, labels and forward pass are. The gradient is NaN, so the backward pass"
        )
        until = say("There was never a sound row") if signs.from_first_row else say("The loss was sound until then")
        turns = say("one optimizer step with a NaN gradient turns every weight into NaN.")
        if early:
            opinion.explanation = say(
                "{sound}, most often that of the attention kernel, is not; {turns}", sound=sound, turns=turns
            )
        else:
            opinion.explanation = say(
                "{until}. A batch with padding or an extreme score can make the attention kernel return NaN; {turns}",
                until=until,
                turns=turns,
            )
        return opinion

    def _uniform(self, chart: Chart, chance: Symptom) -> Opinion:
        """A kernel that mixes up its rows gives the same output for every input, without any NaN."""
        opinion = Opinion((chance,))
        opinion.add(2, say("the output of a pretrained model does not depend on its input, as when attention returns nonsense"))
        capability = hardware.compute_capability(chart.run)
        if capability and capability >= self.recent_gpu:
            opinion.add(1, say("{gpu} is recent: kernels for it are less tried", gpu=chart.run.get("gpu")))
        opinion.explanation = say(
            "Some kernels are wrong for a GPU or a model without saying so: all logits come out alike, and "
            "the loss is that of guessing. With another kernel the first loss of the same batch is that of "
            "the pretrained model."
        )
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        family, run, remedies = family_of(chart.run), chart.run, []
        if str(run.get("torch_version") or "").startswith("2.5"):
            why = say(
                "its cuDNN attention returns NaN in the backward pass; torch.backends.cuda.enable_cudnn_sdp(False) avoids it too"
            )
            remedies.append(Remedy(say("Install another torch than 2.5"), why, {}, "low", SOURCES[:1]))
        best = self._other_kernel(run, family.attention if family else "")
        needs = (
            say("{family_name} needs {attention}", family_name=family.name, attention=say(family.attention))
            if family and family.attention
            else ""
        )
        why = needs or say("no kernel is right for every model: eager cured Gemma and Qwen2.5, FlashAttention 2 cured others")
        remedies.append(
            Remedy(say("Switch the attention kernel to {best}", best=best), why, {"attn_implementation": best}, "low", SOURCES)
        )
        return (*remedies, *start_again(chart))

    @staticmethod
    def _other_kernel(run: Run, wanted: str) -> str:
        """The kernel to try: one that the family needs, that the GPU has, and that is not in use; sdpa is the default."""
        used, old = str(run.get("attn_implementation") or "sdpa"), hardware.bf16_capable(run) is False
        kernels = wanted.split(" or ") if wanted else ["eager", "sdpa", "flash_attention_2"]
        kernels = [kernel for kernel in kernels if not (old and "flash" in kernel)]
        return next((kernel for kernel in kernels if kernel != used), "eager" if used != "eager" else "sdpa")
