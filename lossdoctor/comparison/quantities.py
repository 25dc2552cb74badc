"""The derived quantities that two plans are held against each other by, and which settings each of them explains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lossdoctor.comparison import course
from lossdoctor.comparison.defaults import is_configuration
from lossdoctor.comparison.sameness import same
from lossdoctor.families import billions
from lossdoctor.language import later, say
from lossdoctor.learning_rates import short
from lossdoctor.plan import Plan
from lossdoctor.planned_rates import PlannedRate, trainers_defaults
from lossdoctor.slips import three_digits
from lossdoctor.tasks import adapter

#: Two rates or sums that stand to each other like the peaks, or like the steps, say nothing new: up to this share.
AS_THE_PEAK = 0.05


@dataclass(frozen=True)
class Values:
    """What a quantity is on both sides; `shown` is how people are told, where that is not the value itself."""

    one: Any
    other: Any
    shown: tuple[Any, Any] | None = None

    @classmethod
    def of(cls, pair: Sequence[Any], shown: tuple[Any, Any] | None = None) -> Values:
        """The values of a pair, told as they are or as `shown`."""
        return cls(pair[0], pair[1], shown)

    @property
    def equal(self) -> bool:
        if isinstance(self.one, (int, float)) and isinstance(self.other, (int, float)):
            return course.alike(self.one, self.other, 1e-6)
        return bool(self.one == self.other)


@dataclass(frozen=True)
class Derived:
    """A derived quantity: the `settings` that it explains, further `parents` that it is worked out from, and its values.

    `also` are settings that it is worked out from and that do something of their own besides. That two changes cancel is
    news, so what is `told_when_equal` stands there although both sides have the same.
    """

    name: str
    settings: tuple[str, ...]
    values: Callable[[Plan, Plan], Values | None]
    also: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    told_when_equal: bool = False


def _quantity(name: str) -> Callable[[Plan, Plan], Values | None]:
    """A quantity of the plan that is a number."""

    def values(one: Plan, other: Plan) -> Values | None:
        first, second = getattr(one, name), getattr(other, name)
        if first is None or second is None:
            return None
        return Values.of([int(q.value) if q.value == int(q.value) else float(f"{q.value:.6g}") for q in (first, second)])

    return values


def _consequence(name: str) -> Callable[[Plan, Plan], Values | None]:
    """The same, where it differs: that it is equal says nothing new."""

    def values(one: Plan, other: Plan) -> Values | None:
        found = _quantity(name)(one, other)
        return None if found is None or found.equal else found

    return values


def _method(one: Plan, other: Plan) -> Values | None:
    kinds = [_kind(plan) for plan in (one, other)]
    named = all("finetuning_type" in plan.run.facts for plan in (one, other))
    return None if None in kinds or (kinds[0] == kinds[1] and not named) else Values.of(kinds)


def _kind(plan: Plan) -> str | None:
    trained = adapter(plan.run)
    if trained is not False:
        return say("an adapter") if trained else None
    return say("some of the layers") if "freeze" in plan.run.words("finetuning_type") else say("all weights")


def _total_steps(one: Plan, other: Plan) -> Values | None:
    counts = course.steps(one, other)
    if counts is None:
        return None
    if one.total_steps and other.total_steps:
        return Values(one.total_steps.whole, other.total_steps.whole)
    first, second = (
        say("{count:.4g} per {per_examples:,} examples", count=count, per_examples=course.PER_EXAMPLES) for count in counts
    )
    return Values.of([float(f"{count:.4g}") for count in counts], (first, second))


def _peak(one: Plan, other: Plan) -> Values | None:
    rates = [plan.get("learning_rate") for plan in (one, other)]
    facts = [plan.run.facts.get("learning_rate") for plan in (one, other)]
    if facts[0] and facts[1] and rates[0] != rates[1] and same("learning_rate", facts[0], facts[1]):
        return None  # the same rate, as far as the rows of a log show it
    return Values.of(rates) if all(isinstance(rate, (int, float)) for rate in rates) else None


def _schedule(one: Plan, other: Plan) -> Values | None:
    first, second = course.course(one), course.course(other)
    if first is None or second is None:
        return None
    names = tuple(_with(rates.name, plan.get("lr_scheduler_kwargs")) for rates, plan in ((first, one), (second, other)))
    return Values.of(names)


def _with(name: str, more: Any) -> str:
    if not isinstance(more, dict) or not more:
        return name
    return f"{name} ({', '.join(f'{key} {value}' for key, value in more.items())})"


def _curve(read: Callable[[PlannedRate], float]) -> Callable[[Plan, Plan], Values | None]:
    """A number of the learning-rate curve: worth telling where both peak and shape differ, else it says nothing new."""

    def values(one: Plan, other: Plan) -> Values | None:
        first, second = course.course(one), course.course(other)
        if first is None or second is None or course.alike(first.peak, second.peak) or course.same_shape(first, second):
            return None
        values = read(first), read(second)
        if course.alike(values[0] * second.peak, values[1] * first.peak, AS_THE_PEAK):
            return None
        return Values.of([three_digits(value) for value in values])

    return values


def _last(rates: PlannedRate) -> float:
    """The last rate; less than a hundredth of the peak is nothing."""
    return rates.last if rates.last >= 0.01 * rates.peak else 0.0


def _travel(one: Plan, other: Plan) -> Values | None:
    """Worth telling where two of peak, shape and number of steps differ."""
    first, second, counts, sums = course.course(one), course.course(other), course.steps(one, other), course.travels(one, other)
    if first is None or second is None or counts is None or sums is None:
        return None
    shapes = course.mean_share(first), course.mean_share(second)
    differ = [not course.alike(*pair, AS_THE_PEAK) for pair in ((first.peak, second.peak), shapes, counts)]
    if sum(differ) < 2:
        return None
    numbers = [three_digits(value) for value in sums]
    if one.total_steps and other.total_steps:
        return Values.of(numbers)
    first_words, second_words = (
        say("{number} per {per_examples:,} examples", number=short(number), per_examples=course.PER_EXAMPLES)
        for number in numbers
    )
    return Values.of(numbers, (first_words, second_words))


def _warm_up(one: Plan, other: Plan) -> Values | None:
    """In steps where both are known in steps, else as shares of all steps."""
    steps, shares = [_warm_steps(plan) for plan in (one, other)], [_warm_share(plan) for plan in (one, other)]
    if None not in steps:
        return Values.of(steps)
    if None in shares:
        return None
    first, second = (say("{share:.3g} % of the steps", share=100 * share) for share in shares if share is not None)
    return Values.of(shares, (first, second))


def _ignored(plan: Plan) -> bool:
    """Plain `constant` has no warm-up; what is not stated is none."""
    if plan.get("lr_scheduler_type") == "constant":
        return True
    stated = "warmup_steps" in plan.run.facts or "warmup_ratio" in plan.run.facts
    return not stated and is_configuration(plan.run) and trainers_defaults(plan.run)


def _warm_steps(plan: Plan) -> int | None:
    return 0 if _ignored(plan) else None if plan.warmup is None else plan.warmup.whole


def _warm_share(plan: Plan) -> float | None:
    if _ignored(plan):
        return 0.0
    steps, share = plan.get("warmup_steps"), plan.get("warmup_ratio")
    if isinstance(steps, (int, float)) and steps >= 1:
        return plan.warmup.value / plan.total_steps.value if plan.total_steps and plan.warmup else None
    return float(steps or share or 0.0) if steps is not None or share is not None else None


def _layers(one: Plan, other: Plan) -> Values | None:
    first, second = one.trained_layers, other.trained_layers
    return None if first is None or second is None else Values(first, second, (first.words, second.words))


def _trainable(one: Plan, other: Plan) -> Values | None:
    counts = [plan.get("trainable_parameters") for plan in (one, other)]
    if not all(isinstance(count, int) and count > 0 for count in counts):
        return None
    sizes = [billions(plan.run) for plan in (one, other)]
    if None in sizes:
        return Values.of(counts)
    first, second = (f"{count:,} ({100 * count / (size * 1e9):.2g} %)" for count, size in zip(counts, sizes, strict=True) if size)
    return Values.of(counts, (first, second))


def _precision(one: Plan, other: Plan) -> Values | None:
    return None if one.precision is None or other.precision is None else Values(one.precision, other.precision)


_BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps", "total_train_batch_size", "world_size", "multi_gpu")
_ADAPTER = ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_modules_to_save", "use_rslora", "use_dora")
#: What an adapter alone has: where only one side is one, the method explains it.
OF_ADAPTERS = (*_ADAPTER, "lora_layers")
ALL = (
    Derived(later("what is trained"), ("finetuning_type", "use_lora"), _method),
    Derived(later("effective batch"), _BATCH, _quantity("effective_batch"), shared=("world_size",)),
    Derived(later("steps per epoch"), (), _consequence("steps_per_epoch"), _BATCH, ("world_size", "dataset_size")),
    Derived(
        later("total optimizer steps"),
        ("max_steps",),
        _total_steps,
        ("num_train_epochs", *_BATCH),
        ("world_size", "dataset_size"),
    ),
    Derived(later("passes over the data"), ("num_train_epochs",), _quantity("epochs"), shared=("dataset_size",)),
    Derived(
        later("examples seen"),
        (),
        _consequence("examples_seen"),
        ("num_train_epochs", "max_steps", "dataset_size"),
        ("dataset_size",),
    ),
    Derived(
        later("tokens seen"), (), _consequence("tokens_seen"), ("num_train_epochs", "max_steps", "dataset_size", "max_length")
    ),
    Derived(later("adapter scale"), ("lora_alpha", "use_rslora"), _quantity("adapter_scale"), ("lora_r",)),
    Derived(
        later("trained layers"),
        ("trainable_layers", "freeze_trainable_layers", "lora_layers"),
        _layers,
        shared=("num_hidden_layers",),
    ),
    Derived(later("trainable parameters"), ("trainable_parameters",), _trainable),
    Derived(later("peak learning rate"), ("learning_rate",), _peak),
    Derived(later("learning-rate schedule"), ("lr_scheduler_type", "lr_scheduler_kwargs"), _schedule),
    Derived(later("warm-up"), ("warmup_steps", "warmup_ratio"), _warm_up),
    Derived(later("mean learning rate"), (), _curve(PlannedRate.mean), ("learning_rate", "lr_scheduler_type")),
    Derived(later("final learning rate"), (), _curve(_last), ("learning_rate", "lr_scheduler_type")),
    Derived(
        later("sum of learning rates"),
        (),
        _travel,
        ("learning_rate", "lr_scheduler_type", "num_train_epochs", "max_steps"),
        told_when_equal=True,
    ),
    Derived(later("precision"), ("fp16", "bf16", "torch_dtype"), _precision),
)
