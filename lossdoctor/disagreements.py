"""Sources that disagree and settings that changed, in words: one line each, with what is used and how much it is more or less."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from lossdoctor.agreement import agree, number, silent
from lossdoctor.language import plural, say
from lossdoctor.model import Conflict, Fact, Run
from lossdoctor.slips import NO_SIZE, both_ways, change_in_words, in_times, misleads, short

#: More of a value does not fit into a line.
LONGEST = 60


def history_of(name: str, configurations: Sequence[Mapping[str, Fact]]) -> Iterator[str]:
    """What each change of a setting amounts to, over configurations in the order they were written."""
    stated = [facts[name] for facts in configurations if name in facts and not silent(facts[name].value)]
    for before, after in pairwise(stated):
        if agree(name, before.value, after.value):
            continue
        words = change_in_words(name, before.value, after.value)
        if misleads(before.value, after.value):
            words += say(" (the exponent decides, not the digit before the e)")
        yield say(
            "{before_value} ({source}), then {after_value} ({source2}): {words}",
            before_value=short(before.value),
            source=before.source,
            after_value=short(after.value),
            source2=after.source,
            words=words,
        )


def told(run: Run) -> list[str]:
    """One line for every fact of which sources disagree, and for every change of the rate over the configurations."""
    history = [
        say("learning_rate over the configurations: {change}", change=change)
        for change in history_of("learning_rate", run.configurations)
    ]
    lines: list[str] = []
    for conflict in run.conflicts:
        changes = history if conflict.name == "learning_rate" else []
        lines += [_conflict(conflict, with_change=not changes), *changes]
    return lines if set(history) <= set(lines) else [*history, *lines]


def _conflict(conflict: Conflict, with_change: bool) -> str:
    used, *others = conflict.facts
    sources: dict[str, list[str]] = {}
    for fact in others:
        sources.setdefault(_clipped(fact.value), []).append(fact.source)
    said = say(" and ").join(f"{value} ({', '.join(dict.fromkeys(names))})" for value, names in sources.items())
    line = plural(
        "{name}: {used} ({source}) is used; {said} says otherwise",
        "{name}: {used} ({source}) is used; {said} say otherwise",
        len(others),
        name=conflict.name,
        used=_clipped(used.value),
        source=used.source,
        said=said,
    )
    return line + (_compared(conflict.name, others[0].value, used.value) if with_change and len(sources) == 1 else "")


def _compared(name: str, other: Any, used: Any) -> str:
    """How much more or less the value in use is, where that can be said."""
    one, two = number(other), number(used)
    if one is None or two is None or name in NO_SIZE or one <= 0 or two <= 0:
        return ""
    factor = in_times(max(one / two, two / one))
    words = (
        say(": {two} is {factor} as much", two=short(two), factor=factor)
        if two > one
        else say(": {one} is {factor} as much", one=short(one), factor=factor)
    )
    return f"{words} ({both_ways(one, two)})" if misleads(one, two) else words


def _clipped(value: Any) -> str:
    words = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else short(value)
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 2]} …"
