"""The kind of training, and the settings of preference tuning and reinforcement learning."""

from __future__ import annotations

from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, factor, graded, numbers, shown
from lossdoctor.plan import Plan
from lossdoctor.tasks import task_of_run

REFERENCE = "https://github.com/huggingface/trl/issues/1236"
SPREAD = "https://github.com/huggingface/trl/issues/3857"


def trainer(name: str, one: Plan, other: Plan) -> Rating:
    """Another kind of training has another loss; another name for the same kind has not."""
    kinds = task_of_run(one.run), task_of_run(other.run)
    if kinds[0] != kinds[1]:
        return Rating("high", f"{kinds[0]} and {kinds[1]}: their losses measure different things", (sources.GUIDE,))
    return Rating("low", f"{shown(name, one, other)}: both are {kinds[0]}; what another trainer leaves open may differ")


def loss_type(name: str, one: Plan, other: Plan) -> Rating:
    """Another loss."""
    return Rating("high", f"{shown(name, one, other)}: different losses cannot be held against each other", (REFERENCE,))


def beta(name: str, one: Plan, other: Plan) -> Rating:
    """How strongly the model is held to its reference."""
    values = numbers(name, one, other)
    words = f"{shown(name, one, other)}: how strongly the model is held to its reference; rewards and loss are scaled by it"
    return Rating(graded(factor(*values) if values else 2, 1.01, 1.5, 5), words, (REFERENCE,))


def generations(name: str, one: Plan, other: Plan) -> Rating:
    """The spread of rewards in a group is what is learned from."""
    values = numbers(name, one, other)
    words = f"{shown(name, one, other)}: the spread of rewards within a group is what is learned from, and small groups more "
    words += "often have none"
    return Rating(graded(factor(*values) if values else 2, 1.01, 2, 4), words, (SPREAD,))


def temperature(name: str, one: Plan, other: Plan) -> Rating:
    """The lower, the more alike the answers of a group."""
    words = (
        f"{shown(name, one, other)}: the lower, the more alike the answers of a group, and nothing is learned from equal rewards"
    )
    return Rating("medium", words, (SPREAD,))


def reference(name: str, one: Plan, other: Plan) -> Rating:
    """Rewards are measured from it."""
    words = (
        f"{shown(name, one, other)}: rewards are measured from the reference, which is to be the model that training begins with"
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
