"""In which numbers a run computes, held against its GPU and the family of its model."""

from __future__ import annotations

from lossdoctor import hardware
from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, shown
from lossdoctor.families import family_of
from lossdoctor.language import say
from lossdoctor.plan import Plan


def computed(name: str, one: Plan, other: Plan) -> Rating:
    """fp16 has a range that some families leave; bf16 has not, and wants a GPU that knows it."""
    kinds = one.precision, other.precision
    if None in kinds:
        words = say("{name}: in which precision the run computes is not known on both sides", name=shown(name, one, other))
        return Rating("medium", words, (sources.RANGES,))
    if kinds[0] == kinds[1]:
        return _weights(one, other)
    words = say("{first_kinds} against {second_kinds}: ", first_kinds=kinds[0], second_kinds=kinds[1])
    if "fp16" in kinds:
        side = one if kinds[0] == "fp16" else other
        family = family_of(side.run)
        if family and family.fp16:
            words += say(
                "{family_name} in fp16: {fp16}{one}", family_name=family.name, fp16=say(family.fp16), one=_emulated(one, other)
            )
            return Rating("high", words, (family.source or sources.RANGES,))
        words += say(
            "fp16 ends at 65,504 and needs a loss scale, bf16 and fp32 reach as far as 3e38; a family that "
            "was trained in bf16 may overflow in fp16{one}",
            one=_emulated(one, other),
        )
        return Rating(
            "medium",
            words,
            (sources.RANGES, sources.SCALER),
        )
    words += say("bf16 has the range of fp32 and 8 bits of precision, which mixed precision bears")
    if emulated := _emulated(one, other):
        return Rating("medium", words + emulated, (sources.EMULATED, sources.RANGES))
    return Rating("low", words, (sources.RANGES,))


def _emulated(one: Plan, other: Plan) -> str:
    """Whether a side computes in bf16 on a GPU that has none."""
    if any(plan.precision == "bf16" and hardware.bf16_capable(plan.run) is False for plan in (one, other)):
        return say("; the GPU of the side in bf16 computes none in hardware, emulated it is about four times slower")
    return ""


def _weights(one: Plan, other: Plan) -> Rating:
    kinds = [str(plan.get("torch_dtype") or say("unstated")) for plan in (one, other)]
    mixed = [bool(plan.get("fp16") or plan.get("bf16")) for plan in (one, other)]
    words = say("both compute in {precision}", precision=one.precision)
    if mixed[0] != mixed[1]:
        words += say(
            ", one in mixed precision, the other with weights of 16 bits alone: small updates of such weights are rounded away, "
        )
        return Rating("medium", say("{words}so trained weights belong in fp32", words=words), (sources.HALF,))
    if kinds[0] != kinds[1]:
        return Rating(
            "low",
            say(
                "{words}; the weights are loaded as {first_kinds} and {second_kinds}",
                words=words,
                first_kinds=kinds[0],
                second_kinds=kinds[1],
            ),
            (sources.HALF,),
        )
    return Rating("none", words)


def dtypes(name: str, one: Plan, other: Plan) -> Rating:
    """Trained weights of 16 bits round small updates away."""
    words = say("{name}: trained weights of 16 bits round small updates away", name=shown(name, one, other))
    return Rating("medium", words, (sources.HALF,))


def matrix(name: str, one: Plan, other: Plan) -> Rating:
    """TF32 rounds the factors of matrix products."""
    return Rating(
        "low", say("TF32 rounds the factors of fp32 products to 10 bits, and nothing in bf16 or fp16"), (sources.RANGES,)
    )


def of_evaluation(name: str, one: Plan, other: Plan) -> Rating:
    """Only the evaluation is computed so."""
    return Rating("low", say("only the evaluation computes so: its loss may differ in the third digit, the training does not"))


def loss_scale(name: str, one: Plan, other: Plan) -> Rating:
    """Where the loss scale begins, or whether it stands still."""
    if "fp16" not in (one.precision, other.precision):
        return Rating("none", say("a loss scale is used in fp16 alone, and neither side computes in it"))
    if name == "loss_scale":
        words = say("a fixed loss scale does not follow overflows, a dynamic one skips the step and halves")
        return Rating("medium", f"{shown(name, one, other)}: {words}", (sources.SCALER,))
    return Rating(
        "low",
        say("{name}: from where it begins it halves until it fits, one skipped step each", name=shown(name, one, other)),
        (sources.SCALER,),
    )


def attention(name: str, one: Plan, other: Plan) -> Rating:
    """The same sums in another order, except for families that need one of them, and for packing."""
    family = family_of(one.run) or family_of(other.run)
    words = say("{name}: attention kernels compute the same up to rounding", name=shown(name, one, other))
    if one.get("packing") or other.get("packing") or one.get("padding_free") or other.get("padding_free"):
        words += say(", but only FlashAttention keeps packed examples apart")
        return Rating("high", words, ("https://huggingface.co/docs/trl/sft_trainer",))
    if family and family.attention:
        return Rating(
            "medium",
            say(
                "{words}; {family_name} is known to need {attention}",
                words=words,
                family_name=family.name,
                attention=say(family.attention),
            ),
            (family.source,) if family.source else (),
        )
    return Rating("low", words)


RATERS: dict[str, Rater] = {
    "precision": computed,
    "fp16": computed,
    "bf16": computed,
    "torch_dtype": computed,
    "trainable_dtypes": dtypes,
    "tf32": matrix,
    "fp16_full_eval": of_evaluation,
    "bf16_full_eval": of_evaluation,
    "loss_scale": loss_scale,
    "initial_scale_power": loss_scale,
    "attn_implementation": attention,
}
