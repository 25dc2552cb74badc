"""What holds the weights back: decay, smoothed labels, noise on the embeddings, clipping."""

from __future__ import annotations

from math import exp

from lossdoctor.comparison import course
from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, graded, numbers, percent, shown
from lossdoctor.language import later, say
from lossdoctor.learning_rates import short
from lossdoctor.plan import Plan
from lossdoctor.tasks import adapter

#: Steps for which the decay is told where their number is not known: more than most fine-tuning has.
MANY_STEPS = 10_000


def decay(name: str, one: Plan, other: Plan) -> Rating:
    """By what it takes away in all: the sum over all steps of rate × decay."""
    values = numbers(name, one, other)
    rates = [course.course(plan) for plan in (one, other)]
    if values is None or rates[0] is None or rates[1] is None:
        return Rating(
            "low", f"{shown(name, one, other)}: {_beside_lora(one, other) or say('what it takes away is rate × decay × steps')}"
        )
    shrunk, told = [], []
    for plan, rate, value in zip((one, other), rates, values, strict=True):
        if rate is None or not value:
            shrunk.append(0.0)
            continue
        count = plan.total_steps.value if plan.total_steps else MANY_STEPS
        shrunk.append(1 - exp(-min(700.0, max(0.0, rate.mean() * value * count))))
        template = later("{count:,.0f} steps at a mean rate of {mean} {taken}")
        if not plan.total_steps:
            template = later("even {count:,.0f} steps at a mean rate of {mean} {taken}")
        taken = say("take {shrunk} off a weight with {value:g}", shrunk=percent(shrunk[-1]), value=value)
        told.append(
            say(
                template,
                count=count,
                mean=short(rate.mean()),
                taken=taken,
            )
        )
    words = say("rate × decay × steps: {told}", told=", ".join(told)) if told else say("rate × decay × steps")
    if beside := _beside_lora(one, other):
        words += f"; {beside}"
    apart = abs(shrunk[0] - shrunk[1])
    return Rating(graded(apart, 0, 0.05, 0.2), words, (sources.LESS,))


def _beside_lora(one: Plan, other: Plan) -> str:
    return say("LoRA itself regularises more than weight decay does") if adapter(one.run) and adapter(other.run) else ""


def smoothing(name: str, one: Plan, other: Plan) -> Rating:
    """It raises the lowest loss there can be."""
    values = numbers(name, one, other)
    words = say(
        "{name}: smoothed labels raise the lowest loss that there can be, so the losses of the two cannot be "
        "held against each other; evaluation with the same labels can",
        name=shown(name, one, other),
    )
    far = values is not None and abs(values[0] - values[1]) >= 0.05
    return Rating("medium" if far else "low", words)


def noise(name: str, one: Plan, other: Plan) -> Rating:
    """Only the training loss sees it."""
    words = say(
        "{name}: noise on the embeddings while training raises the training loss, not that of the evaluation",
        name=shown(name, one, other),
    )
    return Rating("medium", words)


def clipping(name: str, one: Plan, other: Plan) -> Rating:
    """Adam's steps do not change with a constant factor on every gradient; clipping off at all is another matter."""
    values = numbers(name, one, other)
    words = say(
        "{name}: Adam divides by the size of its gradients, so a limit that clips every step changes "
        "little: own runs of 300 steps ended at 2.644 with a limit of 0.01 and of 1, and at 2.657 "
        "without one",
        name=shown(name, one, other),
    )
    off = values is not None and (min(values) <= 0) and max(values) > 0
    sgd = any("sgd" in str(plan.get("optim") or "").lower() for plan in (one, other))
    if sgd:
        return Rating(
            "medium", say("{name}: with SGD the length of a step is that of the clipped gradient", name=shown(name, one, other))
        )
    if off:
        return Rating(
            "medium",
            say("{words}; with 0 nothing is clipped, and a single long gradient is taken as it is", words=words),
            (sources.SECOND_MOMENT,),
        )
    return Rating("low", words, (sources.QLORA,))


RATERS: dict[str, Rater] = {
    "weight_decay": decay,
    "label_smoothing_factor": smoothing,
    "neftune_noise_alpha": noise,
    "max_grad_norm": clipping,
}
