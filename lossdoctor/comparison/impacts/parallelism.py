"""How the work is shared out among devices, and what is stored or computed again."""

from __future__ import annotations

from lossdoctor import hardware
from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, shown
from lossdoctor.language import say
from lossdoctor.plan import Plan
from lossdoctor.tasks import adapter

RACE = ("https://github.com/deepspeedai/DeepSpeed/issues/7188", "https://github.com/deepspeedai/DeepSpeed/issues/5347")


def devices(name: str, one: Plan, other: Plan) -> Rating:
    """What matters of it is in the effective batch."""
    words = say(
        "{name}: how many examples a step takes follows from it, and otherwise only the speed", name=shown(name, one, other)
    )
    return Rating("low", words, (sources.ACCUMULATION,))


def hardware_of(name: str, one: Plan, other: Plan) -> Rating:
    """Speed, unless the precision does not suit it."""
    poor = [plan for plan in (one, other) if plan.precision == "bf16" and hardware.bf16_capable(plan.run) is False]
    if poor:
        words = say(
            "{name}: one side computes bf16 on a GPU that has none in hardware, about four times slower",
            name=shown(name, one, other),
        )
        return Rating("medium", words, (sources.EMULATED,))
    return Rating(
        "low", say("{name}: another device is faster or slower and rounds in another order", name=shown(name, one, other))
    )


def deepspeed(name: str, one: Plan, other: Plan) -> Rating:
    """The same training, shared out in another way, apart from its own precision and its known faults."""
    words = say(
        "{one} against {other}: ZeRO shares out optimizer states, gradients and weights and is to compute the same",
        one=_deepspeed(one),
        other=_deepspeed(other),
    )
    stages = {hardware.zero_stage(one.run), hardware.zero_stage(other.run)}
    if stages & {1, 2} and not stages <= {1, 2}:
        words += say(
            "; stages 1 and 2 have had a race of communication with overlap_comm, which stage 3 and plain training have not"
        )
        return Rating("medium", words, RACE)
    return Rating("low", words)


def _deepspeed(plan: Plan) -> str:
    stage = hardware.zero_stage(plan.run)
    if not hardware.uses_deepspeed(plan.run):
        return say("no DeepSpeed")
    return "DeepSpeed" if stage is None else f"ZeRO-{stage}"


def overlap(name: str, one: Plan, other: Plan) -> Rating:
    """Off, it ended six confirmed cases of gradients that were garbage."""
    words = say(
        "{name}: with it ZeRO-1/2 may free gradients while they are still being summed; switching it off "
        "ended six confirmed cases of losses that fell to 0 or blew up",
        name=shown(name, one, other),
    )
    stages = {hardware.zero_stage(plan.run) for plan in (one, other)}
    return (
        Rating("low", say("ZeRO-3 does not have the race for which it matters"), RACE)
        if stages == {3}
        else Rating("high", words, RACE)
    )


def contiguous(name: str, one: Plan, other: Plan) -> Rating:
    """Part of the same race."""
    return Rating(
        "low",
        say("{name}: gradients are copied into one buffer, which changes memory and not numbers", name=shown(name, one, other)),
        RACE,
    )


def averaged(name: str, one: Plan, other: Plan) -> Rating:
    """Over tokens or over devices."""
    if hardware.gpus(one.run) == 1 and hardware.gpus(other.run) == 1:
        return Rating("none", say("there is one process on both sides, so there is nothing to average over"))
    words = say(
        "the loss is a mean over all tokens of a step, or a mean of the means of the devices: these "
        "differ where devices have different numbers of them"
    )
    return Rating("medium", words, (sources.ACCUMULATION,))


def recomputed(name: str, one: Plan, other: Plan) -> Rating:
    """The same numbers for less memory, unless no gradient reaches the adapter."""
    words = say("activations are computed again instead of stored: the same numbers, slower, with less memory")
    if adapter(one.run) or adapter(other.run):
        words += say("; with an adapter and reentrant checkpointing no gradient arrives unless the inputs are made to need one")
    return Rating("low", words, (sources.CHECKPOINTING,))


RATERS: dict[str, Rater] = {
    "world_size": devices,
    "multi_gpu": devices,
    "distributed_type": deepspeed,
    "device": hardware_of,
    "gpu": hardware_of,
    "compute_capability": hardware_of,
    "bf16_in_hardware": hardware_of,
    "deepspeed": deepspeed,
    "zero_stage": deepspeed,
    "overlap_comm": overlap,
    "contiguous_gradients": contiguous,
    "average_tokens_across_devices": averaged,
    "gradient_checkpointing": recomputed,
    "gradient_checkpointing_kwargs": recomputed,
    "inputs_require_grads": recomputed,
}
