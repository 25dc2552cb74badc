"""The learning rates of two sides over their steps: as logged, else as planned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossdoctor.comparison.nouns import Side
from lossdoctor.comparison.series import Array
from lossdoctor.model import Record

#: Rates differ from this share on, and points at which that is looked at.
DIFFER, POINTS = 0.05, 400


@dataclass(frozen=True)
class Rates:
    """The rate at each of some steps."""

    steps: Array
    rates: Array
    logged: bool

    def at(self, step: float) -> float:
        """The rate of that step."""
        return float(np.interp(step, self.steps, self.rates))

    def travel(self, step: float) -> float:
        """The sum of the rates of all steps up to that one: AdamW moves no weight much further than that."""
        inside = self.steps < step
        steps = np.concatenate([[0.0], self.steps[inside], [step]])
        rates = np.concatenate([self.rates[:1], self.rates[inside], [self.at(step)]])
        return float(np.sum(np.diff(steps) * (rates[1:] + rates[:-1]) / 2))


def rates_of(side: Side) -> Rates | None:
    """The rates of a side; None where neither its log nor its plan knows them."""
    rows = [(r.step, r.values["learning_rate"]) for r in _training(side) if "learning_rate" in r.values]
    known = np.array([row for row in rows if np.isfinite(row[1])], dtype=np.float64)
    if len(known) > 1 and not (side.log and side.log.run.numbered):
        steps, places = np.unique(known[:, 0], return_index=True)
        return Rates(steps, known[places, 1], True)
    plan = side.plan.rates
    if plan is None or plan.total < 1:
        return None
    steps = np.unique(np.linspace(1, plan.total, min(POINTS, plan.total)).round())
    return Rates(steps, np.array([plan.at(step - 1) for step in steps]), False)


def _training(side: Side) -> list[Record]:
    return [record for record in side.log.records if record.kind == "train"] if side.log else []


def first_apart(one: Rates, other: Rates, last: float, times: float = 1.0) -> float | None:
    """The first step of the first side up to `last` where the rates differ; `times` so many steps of the other go with one."""
    begin = max(one.steps[0], other.steps[0] / times)
    for step in np.linspace(begin, last, POINTS):
        first, second = one.at(step), other.at(step * times)
        if abs(first - second) > DIFFER * max(first, second):
            return float(step)
    return None
