from __future__ import annotations

from dataclasses import dataclass

from lossdoctor import hardware
from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.learning_rates import short
from lossdoctor.model import Finding, Remedy, Severity
from lossdoctor.plan import Plan
from lossdoctor.remedies import fp32_weights
from lossdoctor.tasks import adapter


@dataclass(eq=False, repr=False)
class SixteenBitWeights(Check):
    """The weights that are trained are stored in 16 bits.

    ## What it looks at
    `torch_dtype` beside fp16 and bf16, for runs that train all weights; inside a Trainer, the type that the trained weights
    really have. DeepSpeed and FSDP keep an fp32 copy of their own.

    ## Why it matters
    A loss scaler refuses fp16 weights ("Attempting to unscale FP16 gradients"); without one, small gradients are lost and others
    overflow. In bf16 an update below the last digit of a weight changes nothing. Public threads ended with fp32 weights under
    mixed precision; pure half-precision weights gave NaN in Gemma (https://github.com/google/gemma_pytorch/issues/24).

    ## What it misses
    Weights that a script casts after loading.
    """

    title = "trained weights of 16 bits"
    place = 1
    #: bf16 keeps 8 bits: half a step of its last digit at a weight of 0.02, which is what an update of AdamW must exceed.
    last_digit: float = 4e-5

    def look(self, plan: Plan) -> Finding | None:
        run, dtype, fp16 = plan.run, plan.run.words("torch_dtype"), plan.get("fp16")
        seen = "torch_dtype" in run.facts and run.facts["torch_dtype"].source == "live"  # there it is that of the trained weights
        lora = adapter(run)
        if hardware.uses_deepspeed(run) or "fsdp" in run.words("distributed_type") or (lora and not seen):
            return None  # PEFT keeps the weights of an adapter in fp32
        sure: Severity = "critical" if seen or lora is False else "warning"
        told = (
            say("torch_dtype: {dtype}, from {source}", dtype=dtype, source=run.facts["torch_dtype"].source)
            if dtype
            else say("fp16: {fp16}", fp16=fp16)
        )
        if fp16 is True and dtype in (*hardware.HALF, *hardware.BRAIN):
            words = say(
                "the weights are {dtype} and fp16 is on: the loss scaler refuses gradients of 16-bit weights", dtype=dtype
            )
            return self.finding(sure, words, told, remedies=(fp32_weights(),))
        if dtype in hardware.HALF or str(fp16).lower() in hardware.PURE:
            words = say(
                "the trained weights are {dtype}, without a scale: small gradients are lost, large ones NaN",
                dtype=dtype or say("fp16"),
            )
            return self.finding("warning", words, told, remedies=(fp32_weights(),))
        rate = plan.get("learning_rate")
        if dtype in hardware.BRAIN and plan.get("world_size") == 1 and isinstance(rate, float) and 0 < rate < self.last_digit:
            words = say(
                "the trained weights are {dtype}: an update of about {rate} is below the last digit of a weight of 0.02",
                dtype=dtype,
                rate=short(rate),
            )
            return self.finding("info", words, told, remedies=(self._wide(),))
        return None

    @staticmethod
    def _wide() -> Remedy:
        remedy = fp32_weights()
        return Remedy(
            remedy.do, say("bf16 weights lose most updates of such a rate"), remedy.settings, remedy.cost, remedy.sources
        )
