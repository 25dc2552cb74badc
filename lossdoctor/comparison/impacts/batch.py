"""How many examples an optimizer step takes, and how they are cut into batches."""

from __future__ import annotations

from math import sqrt

from lossdoctor import slips
from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, factor, graded, numbers, shown
from lossdoctor.plan import Plan
from lossdoctor.tasks import adapter


def effective(name: str, one: Plan, other: Plan) -> Rating:
    """By its factor: the noise of a gradient falls with the root of it, and so does the number of steps for the same data."""
    first, second = one.effective_batch, other.effective_batch
    if first is None or second is None:
        return Rating("medium", f"{shown(name, one, other)}: how many examples a step takes is not known on both sides")
    if first.value == second.value:
        if first.how == second.how and first.how.endswith("stated"):
            return Rating("none", f"both state {first.whole:,} examples per step")
        return Rating("none", f"{_product(first.how)} and {_product(second.how)} both take {first.whole:,} examples per step")
    times = factor(first.value, second.value)
    words = f"{_product(first.how)} are {first.whole:,} and {_product(second.how)} are {second.whole:,} examples per step; "
    words += f"the larger batch has {sqrt(times):.2g} times less noise in its gradients"
    if not one.get("max_steps") and not other.get("max_steps"):
        words += f" and makes {slips.in_times(times)} fewer steps of the same data"
    if adapter(one.run) or adapter(other.run):
        words += ". LoRA loses more by large batches than full fine-tuning, and a higher rank does not repair that"
    return Rating(graded(times, 1.01, 1.5, 4), words, (sources.RANK, sources.VARIANTS, sources.SMALL_BATCHES))


def _product(how: str) -> str:
    """`32 × 1 × 4` of `32 per device × 1 accumulated × 4 processes`."""
    parts = [part.split()[0] for part in how.split(" × ")]
    return " × ".join(parts) if len(parts) > 1 else how


def part(name: str, one: Plan, other: Plan) -> Rating:
    """A part of the effective batch alone."""
    values = numbers(name, one, other)
    times = factor(*values) if values else 4.0
    words = f"{shown(name, one, other)}; what the other parts of the effective batch are is not stated"
    return Rating(graded(times, 1.01, 1.5, 4), words, (sources.VARIANTS,))


def dropped(name: str, one: Plan, other: Plan) -> Rating:
    """One step of an epoch at most."""
    return Rating("low", "dropping the last, smaller batch leaves out less than one step of each epoch")


RATERS: dict[str, Rater] = {
    "effective batch": effective,
    "per_device_train_batch_size": part,
    "gradient_accumulation_steps": part,
    "total_train_batch_size": part,
    "dataloader_drop_last": dropped,
}
