"""The sides of a comparison: of facts alone, or of a run with its log and its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lossdoctor.comparison.nouns import Side
from lossdoctor.comparison.sameness import LOGGED_RATE
from lossdoctor.language import say
from lossdoctor.model import Fact, Log, Report, Run
from lossdoctor.plan import plan_of

#: The kind of a run of which there is nothing but its configuration.
CONFIGURATION = "configuration"


def of_facts(name: str, facts: Mapping[str, Fact], notes: tuple[str, ...] = ()) -> Side:
    """A side that is a configuration alone."""
    return Side(name, plan_of(Run(path=name, kind=CONFIGURATION, facts=dict(facts), notes=notes)))


def of_report(log: Log, report: Report, name: str = "") -> Side:
    """A side that is a run: its facts are those of the report, which knows the files beside the log and what the user says.

    A learning rate that no file states is the highest one of a log that has the run from its start.
    """
    run = report.run
    if "learning_rate" not in run.facts and _from_the_start(log):
        highest = max((rate for record in log.records if (rate := record.values.get("learning_rate", 0.0)) > 0), default=None)
        run = run.knowing({"learning_rate": Fact(highest, LOGGED_RATE)}) if highest is not None else run
    return Side(name or report.run.title or say("this run"), plan_of(run), log, report)


def _from_the_start(log: Log) -> bool:
    """Whether the log begins with the run, rather than where another one was resumed."""
    steps = [record.step for record in log.records if record.kind == "train"][:3]
    return len(steps) < 2 or log.run.numbered or steps[0] <= 2 * max(1, steps[-1] - steps[-2])


def told_apart(sides: tuple[Side, ...]) -> tuple[Side, ...]:
    """The sides with names that differ: those of one name are numbered."""
    names = [side.name for side in sides]
    counted = [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name for place, name in enumerate(names)
    ]
    return tuple(replace(side, name=name) for side, name in zip(sides, counted, strict=True))
