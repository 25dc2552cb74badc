"""The model that training begins with."""

from __future__ import annotations

from math import log

from lossdoctor.comparison.impacts.rating import Rater, Rating, numbers, shown
from lossdoctor.language import say
from lossdoctor.plan import Plan


def model(name: str, one: Plan, other: Plan) -> Rating:
    """Another model has another first loss, and often another tokenizer."""
    names = [str(plan.get(name) or "").rstrip("/").rpartition("/")[2].lower() for plan in (one, other)]
    if names[0] and names[0] == names[1]:
        return Rating(
            "low", say("{name}: one name from two owners, most likely copies of one model", name=shown(name, one, other))
        )
    words = say(
        "{name}: another model begins at another loss, and with another tokenizer the loss is a mean over other tokens",
        name=shown(name, one, other),
    )
    return Rating("high", words)


def choices(name: str, one: Plan, other: Plan) -> Rating:
    """Chance is ln of it."""
    values = numbers(name, one, other)
    words = f"{shown(name, one, other)}"
    if values and min(values) > 0:
        words += say(
            ": the loss of blind guessing is {first_values:.3f} and {second_values:.3f}",
            first_values=log(values[0]),
            second_values=log(values[1]),
        )
        near = abs(log(values[0]) - log(values[1])) < 0.02
        return Rating("low" if near else "high", words)
    return Rating("high", words)


def layers(name: str, one: Plan, other: Plan) -> Rating:
    """Another number of layers is another model."""
    return Rating("high", say("{name} layers: these are different models", name=shown(name, one, other)))


def width(name: str, one: Plan, other: Plan) -> Rating:
    """Another width is another model."""
    return Rating("high", say("{name} wide: these are different models", name=shown(name, one, other)))


def problem(name: str, one: Plan, other: Plan) -> Rating:
    """It chooses the loss."""
    return Rating(
        "high",
        say("{name}: it chooses the loss, and different losses cannot be held against each other", name=shown(name, one, other)),
    )


RATERS: dict[str, Rater] = {
    "model_name_or_path": model,
    "model_type": model,
    "vocab_size": choices,
    "positions": choices,
    "num_labels": choices,
    "num_hidden_layers": layers,
    "hidden_size": width,
    "problem_type": problem,
}
