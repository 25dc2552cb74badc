"""Two plans made comparable: what one side leaves open is its tool's default, or as on the other side where it is one machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lossdoctor import hardware, slips
from lossdoctor.comparison.defaults import DEFAULT, default
from lossdoctor.comparison.sameness import same
from lossdoctor.language import later, say
from lossdoctor.model import Fact, Run
from lossdoctor.plan import Plan, plan_of

#: Where a value is from that only the other side states.
OTHER = "the other side"
#: Facts of machine, data and model, which two configurations often share and only one states.
_SHARED = {"world_size": later("processes"), "dataset_size": later("examples"), "num_hidden_layers": later("layers")}
#: What has to be the same, as far as it is stated, for a fact to be shared.
_UNLESS = {
    "world_size": ("gpu", "multi_gpu"),
    "dataset_size": ("dataset",),
    "num_hidden_layers": ("model_name_or_path", "model_type"),
}


@dataclass(frozen=True)
class Paired:
    """Both plans, each with what was filled in: those facts have the source DEFAULT or OTHER."""

    one: Plan
    other: Plan

    def filled(self, names: tuple[str, ...], shared: tuple[str, ...] = ()) -> Iterator[str]:
        """What was filled in of these facts, in words; the defaults only where nothing among `names` is stated."""
        for plan in (self.one, self.other):
            facts = [(name, plan.run.facts[name]) for name in names if name in plan.run.facts]
            if facts and all(fact.source == DEFAULT for _, fact in facts):
                words = say(" and ").join(f"{name} {_told(fact.value)}" for name, fact in facts)
                yield say("{words}, the default where one side does not say", words=words)
            for name in shared:
                fact = plan.run.facts.get(name)
                if fact is not None and fact.source == OTHER:
                    yield say(
                        "{fact_value:,} {shared} are taken for both sides, and stated by one",
                        fact_value=fact.value,
                        shared=say(_SHARED[name]),
                    )


def _told(value: object) -> str:
    return slips.short(value)


def paired(one: Plan, other: Plan) -> Paired:
    """The plans with everything filled in that is certain, or the same for both as far as anybody says."""
    first, second = _filled(one.run, other.run), _filled(other.run, one.run)
    return Paired(_planned(one, first), _planned(other, second))


def shared(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """The plans of several sides, each with what it shares with the first of the others that states it."""
    found = []
    for plan in plans:
        run = plan.run
        for other in plans:
            if new := _shared(run, other.run):
                run = replace(run, facts={**run.facts, **new})
        found.append(_planned(plan, run))
    return tuple(found)


def taken(plan: Plan) -> Iterator[str]:
    """What a plan has from another side, in words."""
    for name, kind in _SHARED.items():
        fact = plan.run.facts.get(name)
        if fact is not None and fact.source == OTHER:
            yield say("{fact_value:,} {kind} as on the other side", fact_value=fact.value, kind=say(kind))


def _planned(plan: Plan, run: Run) -> Plan:
    return plan if run is plan.run else plan_of(run)


def _filled(run: Run, other: Run) -> Run:
    """With the default of what only the other side states, and with what both share."""
    new: dict[str, Fact] = {}
    for name in other.facts.keys() - run.facts.keys():
        if name in _SHARED:
            continue
        if (value := default(name, run)) is not None:
            new[name] = Fact(value, DEFAULT)
    new |= _shared(run, other)
    return replace(run, facts={**run.facts, **new}) if new else run


def _shared(run: Run, other: Run) -> dict[str, Fact]:
    """What the other side states of machine, data and model, and this one leaves open."""
    new: dict[str, Fact] = {}
    for name in _SHARED:
        value = hardware.gpus(other) if name == "world_size" else other.get(name)
        known = hardware.gpus(run) if name == "world_size" else run.get(name)
        if value is not None and known is None and all(_alike(about, run, other) for about in _UNLESS[name]):
            new[name] = Fact(value, OTHER)
    return new


def _alike(name: str, run: Run, other: Run) -> bool:
    one, two = run.facts.get(name), other.facts.get(name)
    return one is None or two is None or same(name, one, two)
