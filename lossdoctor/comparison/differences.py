"""What differs between two plans: derived quantities first, then the settings that they do not explain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from lossdoctor import slips
from lossdoctor.agreement import number, silent
from lossdoctor.comparison import quantities
from lossdoctor.comparison.impacts import bookkeeping, rating
from lossdoctor.comparison.impacts.rating import said
from lossdoctor.comparison.nouns import WEIGHT, Difference
from lossdoctor.comparison.pairing import Paired, paired
from lossdoctor.comparison.quantities import Derived, Values
from lossdoctor.comparison.sameness import LABELS, same
from lossdoctor.comparison.slipped import slip
from lossdoctor.language import say
from lossdoctor.model import Fact
from lossdoctor.plan import Plan
from lossdoctor.tasks import adapter


def differences(one: Plan, other: Plan) -> tuple[Difference, ...]:
    """Every difference with its impact, the largest first: of derived quantities, then of the settings that are left.

    Settings that differ and come to the same are told as a derived quantity of impact "none". What only one side states is
    held against the default of the other side's tool, and is not judged where no default is certain.
    """
    pair = paired(one, other)
    derived, explained = _derived(pair)
    left = [found for name in _names(pair) if name not in explained and (found := _setting(name, pair))]
    return tuple(_each_slip_once([*_sorted(derived), *_sorted(left)]))


def _each_slip_once(found: list[Difference]) -> Iterator[Difference]:
    """A slip behind several quantities is told with the first of them."""
    told: set[str] = set()
    for difference in found:
        yield replace(difference, slip="") if difference.slip in told else difference
        told.add(difference.slip)


def _sorted(found: list[Difference]) -> list[Difference]:
    return sorted(found, key=lambda difference: (-WEIGHT[difference.impact], not difference.judged))


def _names(pair: Paired) -> list[str]:
    """Every fact of either side, in the order of their names, so that the sides can be exchanged."""
    return sorted(pair.one.run.facts.keys() | pair.other.run.facts.keys())


def _derived(pair: Paired) -> tuple[list[Difference], set[str]]:
    """The differences of derived quantities, and the settings that these explain."""
    found: list[Difference] = []
    explained: set[str] = set()
    for quantity in quantities.ALL:
        values = quantity.values(pair.one, pair.other)
        if values is None:
            continue
        explained |= set(quantity.settings)
        if difference := _of_quantity(quantity, values, pair):
            found.append(difference)
    if adapter(pair.one.run) is not None and adapter(pair.one.run) != adapter(pair.other.run) is not None:
        explained |= set(quantities.OF_ADAPTERS)
    return found, explained


def _of_quantity(quantity: Derived, values: Values, pair: Paired) -> Difference | None:
    """None where neither the quantity differs nor the settings behind it."""
    settings = tuple(name for name in (*quantity.settings, *quantity.also) if _differs(name, pair))
    if values.equal and not quantity.told_when_equal and not set(settings) & set(quantity.settings):
        return None
    judged = rating(quantity.name, pair.one, pair.other)
    if quantity.name == "warm-up" and not settings:
        return None  # the same share of another number of steps
    notes = [*pair.filled(quantity.settings, quantity.shared), *_assumed(quantity.name, pair)]
    return Difference(
        quantity.name,
        values.shown or (values.one, values.other),
        judged.impact,
        _sentences(judged.reason, notes),
        _change(quantity.name, values),
        slip((*quantity.settings, *(name for name in quantity.also if name in settings)), pair.one, pair.other),
        judged.sources,
        derived=True,
        settings=settings,
        moved=slips.moved(quantity.name, values.one, values.other),
    )


def _assumed(name: str, pair: Paired) -> Iterator[str]:
    """What nobody stated and both plans rest on."""
    fields = {"effective batch": "effective_batch", "total optimizer steps": "total_steps", "adapter scale": "adapter_scale"}
    for plan in (pair.one, pair.other):
        quantity = getattr(plan, fields[name], None) if name in fields else None
        yield from quantity.assumed if quantity else ()


def _sentences(reason: str, notes: Iterable[str]) -> str:
    told = list(dict.fromkeys(notes))
    return reason + (say(" (assumed: {told})", told="; ".join(told)) if told else "")


def _change(name: str, values: Values) -> str:
    if values.shown and not isinstance(values.one, (int, float)):
        return (
            ""
            if values.equal
            else say("changed from {first_shown} to {second_shown}", first_shown=values.shown[0], second_shown=values.shown[1])
        )
    return _changed(name, values.one, values.other, brief=bool(values.shown))  # these numbers are not what people are shown


def _changed(name: str, before: Any, after: Any, brief: bool = False) -> str:
    """Direction and factor of numbers, both values of anything else."""
    if number(before) is not None and number(after) is not None:
        return slips.change_in_words(name, before, after, brief)
    return (
        say("unchanged at {after}", after=said(after))
        if before == after
        else say("changed from {before} to {after}", before=said(before), after=said(after))
    )


def _setting(name: str, pair: Paired) -> Difference | None:
    first, second = pair.one.run.facts.get(name), pair.other.run.facts.get(name)
    if _told_elsewhere(name, pair):
        return None
    if first is None or second is None:
        return _one_sided(name, first, second)
    if not _differs(name, pair):
        return None
    judged = rating(name, pair.one, pair.other)
    return Difference(
        name,
        (first.value, second.value),
        judged.impact,
        _sentences(judged.reason, pair.filled((name,))),
        _changed(name, first.value, second.value),
        slip((name,), pair.one, pair.other),
        judged.sources,
        judged=judged.judged,
        moved=slips.moved(name, first.value, second.value),
    )


def _told_elsewhere(name: str, pair: Paired) -> bool:
    """Whether a setting goes with another one that is told: the scale of fp16, and steps that are those of the run anyway."""
    if name in ("loss_scale", "initial_scale_power"):
        return pair.one.precision != pair.other.precision
    return name == "scheduler_steps" and all(plan.get(name) in (None, plan.get("max_steps")) for plan in (pair.one, pair.other))


def _differs(name: str, pair: Paired) -> bool:
    first, second = pair.one.run.facts.get(name), pair.other.run.facts.get(name)
    if first is None or second is None:
        return any(fact is not None and not silent(fact.value) for fact in (first, second))
    return not same(name, first, second)


def _one_sided(name: str, first: Fact | None, second: Fact | None) -> Difference | None:
    """What only one side states, where the other side's tool has no default that is certain."""
    stated: Any = first.value if first else second.value if second else None
    if silent(stated) or name in LABELS or stated is False:
        return None
    values = (first.value if first else None, second.value if second else None)
    if name in bookkeeping():
        return Difference(name, values, "none", say("only stated by one side, and no setting that changes the training"))
    words = say(
        "only stated by one side ({stated}); what the other one has is not known, so this is not judged", stated=said(stated)
    )
    return Difference(name, values, "low", words, judged=False)
