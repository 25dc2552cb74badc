"""The contracts: a detector turns rows into symptoms, a cause turns symptoms and facts into a diagnosis.

Both are dataclasses whose fields are their thresholds, so that a threshold is constructor argument, page of the manual and
configuration key in one. Running state belongs into `__post_init__`. They are compared by identity and never printed, and
fifty classes without `__eq__` and `__repr__` load 6 ms faster.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from lossdoctor.language import counted as counted
from lossdoctor.language import later, say
from lossdoctor.model import Chart, Confidence, Finding, Kind, Record, Remedy, Severity, Symptom
from lossdoctor.slips import numbered
from lossdoctor.vitals import Vitals

if TYPE_CHECKING:
    from lossdoctor.measured import Measured
    from lossdoctor.plan import Plan, Quantity

#: Why a symptom cannot be judged, where several detectors have the same reason.
LOSS_TELLS_NOTHING = later("in reinforcement learning the loss does not measure how good the model is")
NO_GRADIENT_NORM = later("no gradient norm was logged (transformers logs it since 4.38)")

#: What a configuration does not say, where several checks have the same reason.
NO_ROWS = later("how many examples there are is not known (--dataset-rows)")

#: What a sentence is filled in with besides numbers, where there is nothing.
NO_WORDS: Mapping[str, str] = {}

#: Evidence points from which a cause is called likely; high also needs that nothing speaks against it.
HIGH, MEDIUM = 6, 3


def worked_out(quantity: Quantity, unit: str) -> tuple[str, ...]:
    """A derived number as evidence: how it came about, and what was taken as usual because nobody stated it."""
    value = numbered(quantity.value, unit)
    whole = say("{value}, as stated", value=value) if quantity.stated else f"{value} = {quantity.how}"
    return (whole, *((say("taken as usual: {assumed}", assumed=", ".join(quantity.assumed)),) if quantity.assumed else ()))


def slug_of(name: str) -> str:
    """`LossSpike` → `loss-spike`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


class Page:
    """Whatever has a name and a page of the manual: the class name is the slug, the docstring is the page."""

    slug: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.slug = slug_of(cls.__name__)


class Detector(Page):
    """Watches the rows of one run for one symptom."""

    series: ClassVar[str] = "loss"
    #: The records that `update` is given.
    kinds: ClassVar[tuple[Kind, ...]] = ("train",)
    #: Symptoms of one incident are one: while one of them stands, the others of the same name and series are not told.
    incident: ClassVar[str] = ""
    #: The sentence a user reads; fields are `series`, `onset`, `last` and every number of the evidence.
    says: ClassVar[str]

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        """Takes the next row; returns the symptom when it opened, got worse or closed in this row."""
        return None

    @property
    def settled(self) -> bool:
        """Whether rows that are `vitals.sound` can tell this detector nothing until one comes that is not."""
        return False

    def so_far(self, vitals: Vitals) -> Iterable[Symptom]:
        """What is worth a word while the run goes on, of what only the whole curve shows: notes need not be among it."""
        return self.finish(vitals)

    def finish(self, vitals: Vitals) -> Iterable[Symptom]:
        """The last state of every symptom that needs the end of the log, or a fresh `last`."""
        return ()

    def blind(self, vitals: Vitals) -> str | None:
        """Why this log does not let the symptom be judged; None where it does."""
        return None

    def symptom(
        self,
        severity: Severity,
        onset: int,
        last: int,
        *,
        says: str | None = None,
        said: str | None = None,
        series: str | None = None,
        words: Mapping[str, str] = NO_WORDS,
        **evidence: float,
    ) -> Symptom:
        """A state of this detector's symptom; its sentence is filled in with the numbers and `words`, or `said` already."""
        series = series or self.series
        told = said or say(says or self.says, series=series, onset=onset, last=last, **evidence, **words)
        told = re.sub(r"(?<![\d.,])1 (row|step|time)s\b", r"1 \1", told)
        return Symptom(self.slug, series, severity, onset, last, True, told, evidence)


@dataclass
class Opinion:
    """What a cause makes of a chart: points for and against, each with its words."""

    because: tuple[Symptom, ...]
    points: int = 0
    supports: list[str] = field(default_factory=list)
    contradicts: list[str] = field(default_factory=list)
    explanation: str = ""

    def add(self, points: int, words: str) -> None:
        """Evidence for (positive points) or against (negative, or 0 where it only rules out that one could be sure)."""
        self.points += points
        (self.supports if points > 0 else self.contradicts).append(words)

    @property
    def confidence(self) -> Confidence:
        """Three words, not a made-up percentage: high only where nothing speaks against it."""
        if self.points >= HIGH and not self.contradicts:
            return "high"
        return "medium" if self.points >= MEDIUM else "low"


class Cause(Page, ABC):
    """Weighs one explanation of what was seen."""

    title: ClassVar[str]
    #: The cheapest check that decides for or against this cause.
    decide_by: ClassVar[str] = ""
    #: How often it was the confirmed cause in 129 public threads about Trainer-based fine-tuning; decides between equals.
    confirmed: ClassVar[int] = 0
    #: Alarming to look at, yet expected.
    normal: ClassVar[bool] = False
    #: Explains why the log looks as it does rather than why the run failed: ranked after the causes proper.
    mechanism: ClassVar[bool] = False

    @abstractmethod
    def weigh(self, chart: Chart) -> Opinion | None:
        """None where the chart excludes this cause, or nothing speaks for it."""

    def named(self, chart: Chart) -> str:
        """What this cause is called in this run; `title` unless it has several degrees."""
        return say(self.title)

    def check(self, chart: Chart) -> str:
        """The cheapest deciding check for this run; `decide_by` unless the GPU or the facts ask for another one."""
        return say(self.decide_by)

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        """What to change, for this run, cheapest and best supported first."""
        return ()


class Examination(Page, ABC):
    """Looks, before the first step, for one thing that is going to go wrong."""

    title: ClassVar[str]

    def finding(self, severity: Severity, message: str, *because: str, remedies: tuple[Remedy, ...] = ()) -> Finding:
        """A finding of this check."""
        return Finding(self.slug, severity, message, because, remedies)


class Check(Examination):
    """Looks at a configuration."""

    #: Checks whose findings say the same again where this one has found something.
    includes: ClassVar[tuple[str, ...]] = ()
    #: Which of equally severe findings is told first: the one whose check comes earlier.
    place: ClassVar[int] = 5

    @abstractmethod
    def look(self, plan: Plan) -> Finding | None:
        """The finding; None where all is well, or where the facts do not say."""

    def blind(self, plan: Plan) -> str | None:
        """Which fact would let this be judged, if it is missing; None where it was judged, or does not apply."""
        return None


class DataCheck(Examination):
    """Looks at what was measured of the data and the model."""

    @abstractmethod
    def look(self, measured: Measured) -> Finding | None:
        """The finding; None where all is well, or where nothing that it needs was measured."""

    def blind(self, measured: Measured) -> str | None:
        """Why this cannot be judged; None where it was judged, or does not apply."""
        return None


class Streak:
    """Rows running in which something holds."""

    __slots__ = ("first", "last", "rows")

    def __init__(self) -> None:
        self.rows = self.first = self.last = 0

    def add(self, first: int, last: int) -> int:
        """One more row, which covers the steps `first` … `last`."""
        if not self.rows:
            self.first = first
        self.rows += 1
        self.last = last
        return self.rows

    def stop(self) -> None:
        self.rows = 0
