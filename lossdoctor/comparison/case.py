"""All that an explanation of two curves may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lossdoctor import language
from lossdoctor.comparison.alignment import Beside, beside
from lossdoctor.comparison.axes import Axis, axis_of
from lossdoctor.comparison.nouns import WEIGHT, CurveDifference, Difference, Side
from lossdoctor.comparison.series import series
from lossdoctor.language import say


@dataclass(frozen=True)
class Reason:
    """One explanation: `weight` ranks it, `words` say it with its figure, `settings` are those it makes use of."""

    weight: float
    words: str
    settings: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Case:
    """Two sides, what their curves say, and what differs between them with some effect."""

    one: Side
    other: Side
    curves: Sequence[CurveDifference]
    differences: Sequence[Difference]

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.one, self.other

    @cached_property
    def training(self) -> CurveDifference | None:
        """What the training losses say."""
        return next((curve for curve in self.curves if curve.series == "loss"), None)

    @cached_property
    def evaluations(self) -> list[CurveDifference]:
        """What the evaluation losses say."""
        return [curve for curve in self.curves if curve.series != "loss"]

    @cached_property
    def effective(self) -> list[Difference]:
        """What differs with an effect, the largest first."""
        return sorted((d for d in self.differences if d.impact != "none"), key=lambda d: -WEIGHT[d.impact])

    @cached_property
    def axis(self) -> Axis:
        """What the training losses are laid beside each other by."""
        rows = [series(side, "loss") for side in self.sides]
        return axis_of(self.one, self.other, rows[0], rows[1]) if rows[0] and rows[1] else Axis("step")

    @cached_property
    def laid(self) -> Beside | None:
        """The training losses beside each other."""
        rows = [series(side, "loss") for side in self.sides]
        return beside(rows[0], rows[1], self.axis) if rows[0] and rows[1] else None

    @cached_property
    def parted(self) -> tuple[float, float] | None:
        """The step of each side at which the training losses part for good."""
        if self.training is None or self.training.parted_at is None:
            return None
        step = float(self.training.parted_at)
        if self.laid is None or not self.laid.rows:
            return step, step
        row = min(int(self.laid.steps.searchsorted(step)), self.laid.rows - 1)
        return step, float(self.laid.there[row])

    def touching(self, *names: str) -> list[Difference]:
        """The effective differences of these settings or quantities, or that are worked out from them."""
        return [d for d in self.effective if d.name in names or any(setting in names for setting in d.settings)]


def listed(differences: Sequence[Difference]) -> str:
    """`max_length (256, 320) and dataset (a, b)`."""
    words = [f"{say(d.name)} ({_value(d.values[0])}, {_value(d.values[1])})" for d in differences]
    return language.listed(words)


def settings_of(differences: Sequence[Difference]) -> frozenset[str]:
    """All names that these differences go by."""
    return frozenset(name for d in differences for name in (d.name, *d.settings))


def _value(value: object) -> str:
    from lossdoctor.slips import short

    text = say("not stated") if value is None else short(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
