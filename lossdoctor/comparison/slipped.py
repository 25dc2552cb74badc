"""What in a difference is easily read or written the wrong way round: one sentence, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import floor, isclose, log10
from typing import Any

from lossdoctor import layers, slips
from lossdoctor.agreement import number
from lossdoctor.comparison.defaults import DEFAULT, is_configuration
from lossdoctor.language import say
from lossdoctor.plan import Plan

#: Shares of one: a value above is a percentage, or a count.
SHARES = ("warmup_ratio", "lora_dropout", "label_smoothing_factor", "adam_beta1", "adam_beta2", "supervised_share")
#: Numbers that are small, of which 1e5 is written for 1e-5.
SMALL = ("learning_rate", "weight_decay", "adam_epsilon", "label_smoothing_factor", "lora_dropout", "warmup_ratio")
#: Numbers below this are written in powers of ten, by which they are misread.
IN_POWERS = 1e-3
#: Usual weight decay ends here, and usual rates far below.
_MOST = {"weight_decay": 1.0, "learning_rate": 1.0, "adam_epsilon": 1e-2}


def slip(settings: tuple[str, ...], one: Plan, other: Plan) -> str:
    """The first slip among these settings; nothing where there is none."""
    return next((words for find in _SLIPS for words in find(settings, one, other)), "")


def _numbers(name: str, one: Plan, other: Plan) -> tuple[float | None, float | None]:
    return number(one.get(name)), number(other.get(name))


def _exponent(settings: tuple[str, ...], one: Plan, other: Plan) -> Iterator[str]:
    """2e5 for 2e-5, 1e2 for 1e-2."""
    for name in SMALL:
        if name not in settings:
            continue
        first, second = _numbers(name, one, other)
        if first is None or second is None or min(first, second) <= 0:
            continue
        small, large = sorted((first, second))
        if large >= _MOST.get(name, 1.0) and large / small >= 100 and _mirrored(small, large):
            told = say(
                "{large} is {large2:,.10g} and {small} is what the other side has",
                large=_power(large),
                large2=large,
                small=slips.plain(small),
            )
            yield say("{told}: the minus of the exponent may be missing", told=told)


def _mirrored(small: float, large: float) -> bool:
    """Whether both have the same digits and exponents of opposite sign."""
    exponents = floor(log10(small) + 1e-9), floor(log10(large) + 1e-9)
    digits = small / 10.0 ** exponents[0], large / 10.0 ** exponents[1]
    return exponents[0] == -exponents[1] != 0 and isclose(*digits, rel_tol=1e-6)


def _power(value: float) -> str:
    exponent = floor(log10(value) + 1e-9)
    return f"{value / 10.0**exponent:.6g}e{exponent}"


def _percentage(settings: tuple[str, ...], one: Plan, other: Plan) -> Iterator[str]:
    """5 for 5 %, which is 0.05."""
    for name in SHARES:
        if name not in settings:
            continue
        for value in _numbers(name, one, other):
            if value is None or value < 1 or (name.startswith("adam") and value <= 1):
                continue
            meant = say("; {value:g} % is {value2:g}", value=value, value2=value / 100) if value <= 100 else ""
            yield say(
                "{name} is a share of one, so {value:g} stands for {value2:g} %{meant}",
                name=name,
                value=value,
                value2=100 * value,
                meant=meant,
            )


def _warm_up(settings: tuple[str, ...], one: Plan, other: Plan) -> Iterator[str]:
    if "warmup_steps" not in settings:
        return
    for plan in (one, other):
        steps, share = number(plan.get("warmup_steps")), number(plan.get("warmup_ratio"))
        if steps is not None and 0 < steps < 1:
            yield say(
                "warmup_steps of {steps:g} is a share of all steps in transformers 5, and less than one step before that",
                steps=steps,
            )
        elif steps and share:
            yield say(
                "warmup_steps {steps:g} and warmup_ratio {share:g} are both stated on one side, and the steps win",
                steps=steps,
                share=share,
            )
        elif share and share < 1 and plan.get("lr_scheduler_type") == "constant":
            yield say(
                "the warmup_ratio of {share:g} does nothing with a plain constant schedule; constant_with_warmup has one",
                share=share,
            )


def _swapped(settings: tuple[str, ...], one: Plan, other: Plan) -> Iterator[str]:
    if "lora_alpha" not in settings:
        return
    rank, alpha = _numbers("lora_r", one, other), _numbers("lora_alpha", one, other)
    if rank[0] and alpha[0] and rank[0] != alpha[0] and rank[0] == alpha[1] and alpha[0] == rank[1]:
        words = say(
            "rank {first_rank:g} with alpha {first_alpha:g} on one side is rank {second_rank:g} with alpha "
            "{second_alpha:g} on the other",
            first_rank=rank[0],
            first_alpha=alpha[0],
            second_rank=rank[1],
            second_alpha=alpha[1],
        )
        yield say("{words}: the two may have changed places", words=words)


def _both_lengths(settings: tuple[str, ...], one: Plan, other: Plan) -> Iterator[str]:
    """A number of steps wins over epochs, which then say nothing."""
    if "max_steps" not in settings:
        return
    for plan in (one, other):
        steps, epochs = plan.get("max_steps"), plan.get("num_train_epochs")
        if steps and epochs and is_configuration(plan.run) and plan.run.facts["num_train_epochs"].source != DEFAULT:
            told = say("max_steps {steps:,} and num_train_epochs {epochs}", steps=steps, epochs=slips.short(epochs))
            yield say("{told} are both stated on one side, and max_steps wins", told=told)


def _per_device(settings: tuple[str, ...], one: Plan, other: Plan) -> Iterator[str]:
    """One side's batch per device is the other side's batch of all devices together."""
    if "per_device_train_batch_size" not in settings:
        return
    for plan, against in ((one, other), (other, one)):
        each, whole = number(plan.get("per_device_train_batch_size")), against.effective_batch
        mine = plan.effective_batch
        if each and whole and mine and each > 1 and each == whole.value and mine.value > whole.value:
            words = say(
                "{each:.0f} is the batch per device on one side, where a step takes {mine_whole:,}, and the "
                "whole batch of a step on the other",
                each=each,
                mine_whole=mine.whole,
            )
            yield words


def _negative_layer(settings: tuple[str, ...], one: Plan, other: Plan) -> Iterator[str]:
    """-4 is one layer, -4: are four."""
    for name in ("trainable_layers", "lora_layers"):
        if name not in settings:
            continue
        for plan in (one, other):
            value = plan.get(name)
            chosen = layers.chosen(value)
            if chosen and len(chosen.indexes) == 1 and -64 < chosen.indexes[0] < -1:
                count = -chosen.indexes[0]
                yield say(
                    "{name} {value} is one layer, number {count} from the end; the last {count} layers are written -{count}:",
                    name=name,
                    value=value,
                    count=count,
                )


def _reading(settings: tuple[str, ...], one: Plan, other: Plan) -> Iterator[str]:
    """The exponent decides, and not the digit before it."""
    for name in settings:
        first, second = one.get(name), other.get(name)
        if name not in slips.NO_SIZE and slips.misleads(first, second) and min(float(first), float(second)) < IN_POWERS:
            yield _reads_wrong(first, second)


def _reads_wrong(before: Any, after: Any) -> str:
    small, large = sorted((float(before), float(after)))
    words = say("{large} is more than {small}", large=slips.plain(large), small=slips.plain(small))
    return say("{words}: the exponent decides, not the digit before the e", words=words)


_SLIPS: tuple[Callable[[tuple[str, ...], Plan, Plan], Iterator[str]], ...] = (
    *(_percentage, _exponent, _warm_up, _swapped, _both_lengths, _per_device, _negative_layer, _reading),
)
