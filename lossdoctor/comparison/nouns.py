"""The nouns of a comparison: sides, differences with their impact, and what the curves say."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from lossdoctor.model import Log, Report
from lossdoctor.plan import Plan

Impact = Literal["high", "medium", "low", "none"]
#: How two curves end: `same` is no difference beyond noise, `unknown` too few rows, or no level to compare.
Ending = Literal["better", "worse", "same", "unknown"]

#: An interval that reaches further to both sides shows nothing but a difference that anybody sees.
BLIND = 0.1

#: Greater is more, so that impacts can be compared and sorted.
WEIGHT: dict[Impact, int] = {"none": 0, "low": 1, "medium": 2, "high": 3}


@dataclass(frozen=True)
class Side:
    """One of the things compared: a run with its log and its report, or a configuration alone."""

    name: str
    plan: Plan
    log: Log | None = None
    report: Report | None = None


@dataclass(frozen=True)
class Difference:
    """One setting or derived quantity: what it is on each of two sides, what that does, and how much of it matters.

    `values` are as people write them, None where a side does not say. `change` tells direction and factor ("lowered 2 times:
    2e-5 is 0.00002, 1e-5 is 0.00001"), `slip` what is easily read the wrong way round. With impact "none" both sides come to
    the same, and `reason` says why. `settings` names the settings behind a derived quantity. One that is not `judged` is
    stated by one side alone, and its impact says nothing.
    """

    name: str
    values: tuple[Any, Any]
    impact: Impact
    reason: str
    change: str = ""
    slip: str = ""
    sources: tuple[str, ...] = ()
    derived: bool = False
    settings: tuple[str, ...] = ()
    judged: bool = True
    moved: bool = True  # `change` has a direction and a factor; else it has no more than the values


@dataclass(frozen=True)
class EndDifference:
    """How two curves end: `one` and `other` are levels, `share` the difference as a share of the first, between `low` and
    `high` (95 %). `effect` is the difference in standard deviations of the paired windows, `windows` their number. Each window
    is the mean of `rows` rows, and the first of them begins at step `since` of the first side. `ending` tells of the other one.
    Of an evaluation loss each window is one evaluation.
    """

    one: float
    other: float
    share: float
    low: float
    high: float
    effect: float
    windows: int
    rows: int
    ending: Ending
    since: int = 0

    @property
    def reach(self) -> float:
        """Half of the interval: a smaller difference does not show in these rows."""
        return (self.high - self.low) / 2

    @property
    def alike(self) -> bool:
        """Whether the two surely end about alike, rather than that a difference could not be seen."""
        return self.ending == "same" and self.low <= 0 <= self.high and self.reach <= BLIND


@dataclass(frozen=True)
class CurveDifference:
    """What two curves of one `series` say: `same_until` is the last step of an identical beginning (same seed and data order),
    `parted_at` the first step from which on they differ beyond noise, `end` how they end. None where that cannot be told.

    `axis` tells what was laid beside what: "step", "examples" where a step of one side takes more examples than one of the
    other, "epoch", or "row" where a log has no steps; all steps here are those of the first side. `together` is how far the
    rows of both go up and down together (rank correlation); `in_order` is True where the same examples surely came in the
    same order. `widest` is, of curves that end alike, the step where they are furthest apart on the way, and by which share.
    `identical` is True where all rows that both have are the same. `own_ends` is how each ends where it ends, if that is not
    at the same place; `best` is for evaluation losses.
    `told` has one sentence for each claim, with its figure.
    """

    series: str
    axis: str
    rows: int
    same_until: int | None = None
    parted_at: int | None = None
    end: EndDifference | None = None
    own_ends: EndDifference | None = None
    best: EndDifference | None = None
    together: float | None = None
    in_order: bool = False
    widest: tuple[int, float] | None = None
    identical: bool = False
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two sides against each other: the first is the one that the other is measured by."""

    one: Side
    other: Side
    differences: tuple[Difference, ...] = ()
    curves: tuple[CurveDifference, ...] = ()
    explained: tuple[str, ...] = ()  # what explains best how the curves differ, the likeliest first


@dataclass(frozen=True, repr=False)
class Comparison:
    """The whole outcome: every side, each side after the first against it, and what shows only in several tries together.

    `plans` are those of the sides, in which what only some of them state of machine, data and model holds for the others too.
    """

    sides: tuple[Side, ...]
    pairs: tuple[Pair, ...]
    plans: tuple[Plan, ...]
    tries: tuple[str, ...] = ()
    not_judged: tuple[tuple[str, str], ...] = field(default=())

    def save(self, file: str | PathLike[str]) -> None:
        """Writes the comparison to a file; its ending says how: .html, .md (its chart beside it), .json, .svg, or text.

        Raises:
            LossDoctorError: the file cannot be written.
        """
        from lossdoctor.reports.comparison import save

        save(self, Path(file))

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(side.name for side in self.sides)}>"

    def __str__(self) -> str:
        """The comparison as text, as the command line prints it."""
        from lossdoctor.reports.comparison import as_text

        return as_text(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """How notebooks show it: the verdict and the curves laid over each other; the whole comparison folds out."""
        from lossdoctor.reports.comparison.notebook import bundle

        return bundle(self)
