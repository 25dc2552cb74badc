"""The kind of training, and the settings of preference tuning and reinforcement learning."""

from __future__ import annotations

from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, factor, graded, numbers, shown
from lossdoctor.language import say
from lossdoctor.plan import Plan
from lossdoctor.tasks import task_of_run

REFERENCE = "https://github.com/huggingface/trl/issues/1236"
SPREAD = "https://github.com/huggingface/trl/issues/3857"


def trainer(name: str, one: Plan, other: Plan) -> Rating:
    """Another kind of training has another loss; another name for the same kind has not."""
    kinds = task_of_run(one.run), task_of_run(other.run)
    if kinds[0] != kinds[1]:
        return Rating(
            "high",
            say(
                "{first_kinds} and {second_kinds}: their losses measure different things",
                first_kinds=say(kinds[0]),
                second_kinds=say(kinds[1]),
            ),
            (sources.GUIDE,),
        )
    return Rating(
        "low",
        say(
            "{name}: both are {first_kinds}; what another trainer leaves open may differ",
            name=shown(name, one, other),
            first_kinds=say(kinds[0]),
        ),
    )


def loss_type(name: str, one: Plan, other: Plan) -> Rating:
    """Another loss."""
    return Rating(
        "high", say("{name}: different losses cannot be held against each other", name=shown(name, one, other)), (REFERENCE,)
    )


def beta(name: str, one: Plan, other: Plan) -> Rating:
    """How strongly the model is held to its reference."""
    values = numbers(name, one, other)
    words = say(
        "{name}: how strongly the model is held to its reference; rewards and loss are scaled by it", name=shown(name, one, other)
    )
    return Rating(graded(factor(*values) if values else 2, 1.01, 1.5, 5), words, (REFERENCE,))


def generations(name: str, one: Plan, other: Plan) -> Rating:
    """The spread of rewards in a group is what is learned from."""
    values = numbers(name, one, other)
    words = say(
        "{name}: the spread of rewards within a group is what is learned from, and small groups more often have none",
        name=shown(name, one, other),
    )
    return Rating(graded(factor(*values) if values else 2, 1.01, 2, 4), words, (SPREAD,))


def temperature(name: str, one: Plan, other: Plan) -> Rating:
    """The lower, the more alike the answers of a group."""
    words = say(
        "{name}: the lower, the more alike the answers of a group, and nothing is learned from equal rewards",
        name=shown(name, one, other),
    )
    return Rating("medium", words, (SPREAD,))


def reference(name: str, one: Plan, other: Plan) -> Rating:
    """Rewards are measured from it."""
    words = say(
        "{name}: rewards are measured from the reference, which is to be the model that training begins with",
        name=shown(name, one, other),
    )
    return Rating("high", words, (REFERENCE,))


RATERS: dict[str, Rater] = {
    "trainer": trainer,
    "loss_type": loss_type,
    "beta": beta,
    "num_generations": generations,
    "temperature": temperature,
    "ref_model": reference,
}
