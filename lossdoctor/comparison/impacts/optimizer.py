"""The optimizer and its own numbers."""

from __future__ import annotations

from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, both, factor, graded, numbers, shown
from lossdoctor.language import say
from lossdoctor.learning_rates import OTHER_SCALE
from lossdoctor.plan import Plan

#: Names of AdamW as PyTorch has it.
THE_SAME = ("adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw", "adamw_torch_xla", "OptimizerNames.ADAMW_TORCH")


def family(name: str, one: Plan, other: Plan) -> Rating:
    """AdamW in whatever form takes the same rates; others do not."""
    kinds = [_family(str(plan.get(name) or "adamw")) for plan in (one, other)]
    if all(str(plan.get(name)) in THE_SAME for plan in (one, other)):
        return Rating("none", say("{name}: the same AdamW, computed by other kernels", name=shown(name, one, other)))
    if kinds[0] == kinds[1]:
        return Rating(
            "low",
            say(
                "{name}: both are {first_kinds}, stored or computed in another way; the same rates hold",
                name=shown(name, one, other),
                first_kinds=kinds[0],
            ),
        )
    words = say(
        "{name}: {first_kinds} and {second_kinds} take learning rates on different scales",
        name=shown(name, one, other),
        first_kinds=kinds[0],
        second_kinds=kinds[1],
    )
    return Rating("high", say("{words}, so the same number is not the same rate", words=words))


def _family(optimizer: str) -> str:
    word = optimizer.lower()
    return next((name for name in OTHER_SCALE if name in word), "AdamW" if "adam" in word else word)


def momentum(name: str, one: Plan, other: Plan) -> Rating:
    """How far back the mean of the gradients reaches."""
    return Rating("low", say("{name}: how many steps the mean gradient reaches back", name=shown(name, one, other)))


def second_moment(name: str, one: Plan, other: Plan) -> Rating:
    """Spikes come shortly after squared gradients were under-estimated; a lower one follows them faster."""
    values = numbers(name, one, other)
    if values is None or not all(0 <= value < 1 for value in values):
        return Rating("high", say("{name}: it has to be below 1", name=shown(name, one, other)))
    reach = [1 / (1 - value) for value in values]
    words = say(
        "the squared gradients are a mean over about {first_reach:,.0f} and {second_reach:,.0f} steps: spikes come 1 to 8 "
        "steps after they were under-estimated, and a short mean follows faster; small batches want a longer one",
        first_reach=reach[0],
        second_reach=reach[1],
    )
    return Rating(graded(factor(*reach), 1.01, 5, 200), words, (sources.SECOND_MOMENT, sources.SMALL_BATCHES))


def epsilon(name: str, one: Plan, other: Plan) -> Rating:
    """It keeps weights with tiny gradients from moving; 1e-8 is usual."""
    values = numbers(name, one, other)
    words = say(
        "{name}: what is added below the division; a large one holds back weights with small gradients, "
        "and 1e-5 → 1e-8 was one of the changes that reduced spikes in OLMo 2",
        name=both(one.get(name), other.get(name)),
    )
    return Rating(graded(factor(*values) if values else 2, 1.01, 99, 1e5), words, (sources.EPSILON, sources.WARM_UP))


RATERS: dict[str, Rater] = {
    "optim": family,
    "adam_beta1": momentum,
    "adam_beta2": second_moment,
    "adam_epsilon": epsilon,
}
