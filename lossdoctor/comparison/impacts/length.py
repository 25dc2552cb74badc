"""How long a run is: steps, passes over the data, examples and tokens."""

from __future__ import annotations

from lossdoctor.budgets import EPOCHS, FEW_STEPS
from lossdoctor.comparison import course
from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, factor, graded, numbers, percent, shown
from lossdoctor.plan import Plan


def total_steps(name: str, one: Plan, other: Plan) -> Rating:
    """By their factor; what they add up to is the matter of the sum of learning rates."""
    counts = course.steps(one, other) or numbers(name, one, other)
    if counts is None or min(counts) <= 0:
        return Rating("medium", f"{shown(name, one, other)}: how many steps that makes is not known on both sides")
    times = factor(*counts)
    change = f"×{counts[1] / counts[0]:.2g}"
    if one.total_steps and other.total_steps:
        words = f"{counts[0]:,.0f} and {counts[1]:,.0f} optimizer steps ({change})"
    else:
        each = [
            f"{plan.epochs.value:g} epochs / {plan.effective_batch.whole:,} examples per step"
            for plan in (one, other)
            if plan.epochs and plan.effective_batch
        ]
        words = f"{' and '.join(each)}: {change} for the same data, however much that is"
    if times < 1.01:
        return Rating("none", f"{words}, which is the same")
    words += "; how far that takes the weights depends on the rate as well"
    impact = graded(times, 1.01, 1.5, 10)
    if one.total_steps and other.total_steps and min(counts) < FEW_STEPS <= max(counts):
        words += f". Fewer than {FEW_STEPS} steps are little for any rate"
        impact = "high" if times >= 4 else impact
    return Rating(impact, words, (sources.GUIDE,))


def passes(name: str, one: Plan, other: Plan) -> Rating:
    """How often each example is seen: from the second or third time on it is learned by heart rather than learned from."""
    if not one.epochs or not other.epochs:
        return Rating("medium", f"{shown(name, one, other)} passes over the data")
    first, second = one.epochs.value, other.epochs.value
    times, most = factor(first, second), max(first, second)
    words = f"each example is seen {first:.3g} and {second:.3g} times"
    rows = one.get("dataset_size"), other.get("dataset_size")
    if rows[0] == rows[1] and isinstance(rows[0], int):
        words += f", so {rows[0]:,} examples are shown {rows[0] * first:,.0f} and {rows[0] * second:,.0f} times in all"
    if most <= EPOCHS:
        return Rating(graded(times, 1.05, 1.9, 5), f"{words}; 1 to {EPOCHS} times are the documented practice", (sources.GUIDE,))
    words += (
        f"; 1 to {EPOCHS} times are the documented practice. At usual rates the evaluation gets worse from the second or third "
    )
    words += "time on, a low rate delays that, and only with few long examples did many passes help a task: more passes are not "
    words += "more learning"
    return Rating(graded(times, 1.05, 1.2, 2), words, (sources.GUIDE, sources.JUMPS, sources.LONG_EPOCHS))


def per_epoch(name: str, one: Plan, other: Plan) -> Rating:
    """A consequence of the batch and the data."""
    counts = [plan.steps_per_epoch.how if plan.steps_per_epoch else "" for plan in (one, other)]
    return Rating("low", f"{counts[0]} and {counts[1]}; this follows from the effective batch and the number of examples")


def examples(name: str, one: Plan, other: Plan) -> Rating:
    """A consequence as well."""
    counts = [plan.examples_seen.how if plan.examples_seen else "" for plan in (one, other)]
    words = f"{counts[0]} and {counts[1]}"
    if one.get("dataset_size") and one.get("dataset_size") == other.get("dataset_size"):
        return Rating("low", f"{words}; these are the same examples again, so this follows from the passes over the data")
    return Rating("low", f"{words}; how many of them are different ones decides, not how many there are")


def tokens(name: str, one: Plan, other: Plan) -> Rating:
    """An upper bound only."""
    return Rating("low", "at most so many: examples shorter than the limit teach no more tokens than they have")


def data_size(name: str, one: Plan, other: Plan) -> Rating:
    """More data is the first remedy against learning by heart."""
    values = numbers(name, one, other)
    if values is None or min(values) <= 0:
        return Rating("medium", f"{shown(name, one, other)} examples")
    words = f"{values[0]:,.0f} and {values[1]:,.0f} examples: more different ones are the first remedy against learning by "
    words += "heart, and "
    words += "with the same epochs they make as many times more steps"
    return Rating(graded(factor(*values), 1.05, 1.5, 4), words, (sources.JUMPS,))


def share_of_tokens(name: str, one: Plan, other: Plan) -> Rating:
    """Only these tokens teach, and the loss is a mean over them."""
    values = numbers(name, one, other)
    if values is None:
        return Rating("medium", shown(name, one, other))
    words = (
        f"{percent(values[0])} and {percent(values[1])} of the tokens are learned from; losses are means over different tokens"
    )
    impact = "high" if min(values) == 0 else graded(factor(*values), 1.05, 1.25, 5)
    return Rating(impact, f"{words} and cannot be held against each other", (sources.MASKED,))


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
