"""How many examples an optimizer step takes, and how they are cut into batches."""

from __future__ import annotations

from math import sqrt

from lossdoctor import slips
from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, factor, graded, numbers, shown
from lossdoctor.language import say
from lossdoctor.plan import Plan, Quantity
from lossdoctor.tasks import adapter


def effective(name: str, one: Plan, other: Plan) -> Rating:
    """By its factor: the noise of a gradient falls with the root of it, and so does the number of steps for the same data."""
    first, second = one.effective_batch, other.effective_batch
    if first is None or second is None:
        return Rating(
            "medium", say("{name}: how many examples a step takes is not known on both sides", name=shown(name, one, other))
        )
    if first.value == second.value:
        if first.how == second.how and first.stated:
            return Rating("none", say("both state {first_whole:,} examples per step", first_whole=first.whole))
        return Rating(
            "none",
            say(
                "{first} and {second} both take {first_whole:,} examples per step",
                first=_product(first),
                second=_product(second),
                first_whole=first.whole,
            ),
        )
    times = factor(first.value, second.value)
    words = say(
        "{first} are {first_whole:,} and {second} are {second_whole:,} examples per step; the larger "
        "batch has {times:.2g} times less noise in its gradients",
        first=_product(first),
        first_whole=first.whole,
        second=_product(second),
        second_whole=second.whole,
        times=sqrt(times),
    )
    if not one.get("max_steps") and not other.get("max_steps"):
        words += say(" and makes {times} fewer steps of the same data", times=slips.in_times(times))
    if adapter(one.run) or adapter(other.run):
        words += say(". LoRA loses more by large batches than full fine-tuning, and a higher rank does not repair that")
    return Rating(graded(times, 1.01, 1.5, 4), words, (sources.RANK, sources.VARIANTS, sources.SMALL_BATCHES))


def _product(batch: Quantity) -> str:
    """`32 × 1 × 4` of `32 per device × 1 accumulated × 4 processes`."""
    return " × ".join(map(str, batch.factors)) if batch.factors else batch.how


def part(name: str, one: Plan, other: Plan) -> Rating:
    """A part of the effective batch alone."""
    values = numbers(name, one, other)
    times = factor(*values) if values else 4.0
    words = say("{name}; what the other parts of the effective batch are is not stated", name=shown(name, one, other))
    return Rating(graded(times, 1.01, 1.5, 4), words, (sources.VARIANTS,))


def dropped(name: str, one: Plan, other: Plan) -> Rating:
    """One step of an epoch at most."""
    return Rating("low", say("dropping the last, smaller batch leaves out less than one step of each epoch"))


RATERS: dict[str, Rater] = {
    "effective batch": effective,
    "per_device_train_batch_size": part,
    "gradient_accumulation_steps": part,
    "total_train_batch_size": part,
    "dataloader_drop_last": dropped,
}
