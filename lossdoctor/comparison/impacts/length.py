"""How long a run is: steps, passes over the data, examples and tokens."""

from __future__ import annotations

from lossdoctor.budgets import EPOCHS, FEW_STEPS
from lossdoctor.comparison import course
from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, factor, graded, numbers, percent, shown
from lossdoctor.language import say
from lossdoctor.plan import Plan


def total_steps(name: str, one: Plan, other: Plan) -> Rating:
    """By their factor; what they add up to is the matter of the sum of learning rates."""
    counts = course.steps(one, other) or numbers(name, one, other)
    if counts is None or min(counts) <= 0:
        return Rating("medium", say("{name}: how many steps that makes is not known on both sides", name=shown(name, one, other)))
    times = factor(*counts)
    change = f"×{counts[1] / counts[0]:.2g}"
    if one.total_steps and other.total_steps:
        words = say(
            "{first_counts:,.0f} and {second_counts:,.0f} optimizer steps ({change})",
            first_counts=counts[0],
            second_counts=counts[1],
            change=change,
        )
    else:
        each = [
            say(
                "{epochs_value:g} epochs / {effective_batch_whole:,} examples per step",
                epochs_value=plan.epochs.value,
                effective_batch_whole=plan.effective_batch.whole,
            )
            for plan in (one, other)
            if plan.epochs and plan.effective_batch
        ]
        words = say("{each}: {change} for the same data, however much that is", each=say(" and ").join(each), change=change)
    if times < 1.01:
        return Rating("none", say("{words}, which is the same", words=words))
    words += say("; how far that takes the weights depends on the rate as well")
    impact = graded(times, 1.01, 1.5, 10)
    if one.total_steps and other.total_steps and min(counts) < FEW_STEPS <= max(counts):
        words += say(". Fewer than {few_steps} steps are little for any rate", few_steps=FEW_STEPS)
        impact = "high" if times >= 4 else impact
    return Rating(impact, words, (sources.GUIDE,))


def passes(name: str, one: Plan, other: Plan) -> Rating:
    """How often each example is seen: from the second or third time on it is learned by heart rather than learned from."""
    if not one.epochs or not other.epochs:
        return Rating("medium", say("{name} passes over the data", name=shown(name, one, other)))
    first, second = one.epochs.value, other.epochs.value
    times, most = factor(first, second), max(first, second)
    words = say("each example is seen {first:.3g} and {second:.3g} times", first=first, second=second)
    rows = one.get("dataset_size"), other.get("dataset_size")
    if rows[0] == rows[1] and isinstance(rows[0], int):
        words += say(
            ", so {first_rows:,} examples are shown {first_rows2:,.0f} and {first_rows3:,.0f} times in all",
            first_rows=rows[0],
            first_rows2=rows[0] * first,
            first_rows3=rows[0] * second,
        )
    if most <= EPOCHS:
        return Rating(
            graded(times, 1.05, 1.9, 5),
            say("{words}; 1 to {epochs} times are the documented practice", words=words, epochs=EPOCHS),
            (sources.GUIDE,),
        )
    words += say(
        "; 1 to {epochs} times are the documented practice. At usual rates the evaluation gets worse "
        "from the second or third time on, a low rate delays that, and only with few long examples did "
        "many passes help a task: more passes are not more learning",
        epochs=EPOCHS,
    )
    return Rating(graded(times, 1.05, 1.2, 2), words, (sources.GUIDE, sources.JUMPS, sources.LONG_EPOCHS))


def per_epoch(name: str, one: Plan, other: Plan) -> Rating:
    """A consequence of the batch and the data."""
    counts = [plan.steps_per_epoch.how if plan.steps_per_epoch else "" for plan in (one, other)]
    return Rating(
        "low",
        say(
            "{first_counts} and {second_counts}; this follows from the effective batch and the number of examples",
            first_counts=counts[0],
            second_counts=counts[1],
        ),
    )


def examples(name: str, one: Plan, other: Plan) -> Rating:
    """A consequence as well."""
    counts = [plan.examples_seen.how if plan.examples_seen else "" for plan in (one, other)]
    words = say("{first_counts} and {second_counts}", first_counts=counts[0], second_counts=counts[1])
    if one.get("dataset_size") and one.get("dataset_size") == other.get("dataset_size"):
        return Rating(
            "low", say("{words}; these are the same examples again, so this follows from the passes over the data", words=words)
        )
    return Rating("low", say("{words}; how many of them are different ones decides, not how many there are", words=words))


def tokens(name: str, one: Plan, other: Plan) -> Rating:
    """An upper bound only."""
    return Rating("low", say("at most so many: examples shorter than the limit teach no more tokens than they have"))


def data_size(name: str, one: Plan, other: Plan) -> Rating:
    """More data is the first remedy against learning by heart."""
    values = numbers(name, one, other)
    if values is None or min(values) <= 0:
        return Rating("medium", say("{name} examples", name=shown(name, one, other)))
    words = say(
        "{first_values:,.0f} and {second_values:,.0f} examples: more different ones are the first remedy "
        "against learning by heart, and with the same epochs they make as many times more steps",
        first_values=values[0],
        second_values=values[1],
    )
    return Rating(graded(factor(*values), 1.05, 1.5, 4), words, (sources.JUMPS,))


def share_of_tokens(name: str, one: Plan, other: Plan) -> Rating:
    """Only these tokens teach, and the loss is a mean over them."""
    values = numbers(name, one, other)
    if values is None:
        return Rating("medium", shown(name, one, other))
    words = say(
        "{first_values} and {second_values} of the tokens are learned from; losses are means over different tokens",
        first_values=percent(values[0]),
        second_values=percent(values[1]),
    )
    impact = "high" if min(values) == 0 else graded(factor(*values), 1.05, 1.25, 5)
    return Rating(impact, say("{words} and cannot be held against each other", words=words), (sources.MASKED,))


RATERS: dict[str, Rater] = {
    "total optimizer steps": total_steps,
    "max_steps": total_steps,
    "passes over the data": passes,
    "num_train_epochs": passes,
    "steps per epoch": per_epoch,
    "examples seen": examples,
    "tokens seen": tokens,
    "dataset_size": data_size,
    "supervised_share": share_of_tokens,
}
