"""What two curves are laid beside each other by: steps, examples seen, epochs, or their rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossdoctor.comparison.nouns import Side
from lossdoctor.comparison.series import Array, Series
from lossdoctor.language import say

#: Epochs pass at different speeds from this share on.
SPEED = 0.02


@dataclass(frozen=True)
class Axis:
    """What rows are laid beside each other by: `name`, what one step of each side takes, and why it is not steps, in words."""

    name: str
    per_step: tuple[float, float] = (1.0, 1.0)
    why: str = ""

    def places(self, rows: Series, side: int) -> tuple[Array, Array]:
        """Where each row begins and ends on this axis."""
        if self.name == "epoch":
            return np.append(0.0, rows.epochs[:-1]), rows.epochs
        return rows.before * self.per_step[side], rows.steps * self.per_step[side]


def axis_of(one: Side, other: Side, first: Series, second: Series) -> Axis:
    """Examples where a step of both is known to take different numbers of them, else epochs where those pass differently."""
    batches = [side.plan.effective_batch for side in (one, other)]
    numbered = [side.log.run.numbered if side.log else False for side in (one, other)]
    timed = all(_timed(rows) for rows in (first, second))
    if any(numbered):
        if timed and not all(numbered):
            return Axis("epoch", why=say("the log of one has no steps, so rows are laid beside each other by epoch"))
        which = (
            say("these logs have")
            if all(numbered)
            else say("the log of {name} has", name=(one, other)[numbered.index(True)].name)
        )
        return Axis("row", why=say("{which} no steps, so rows are laid beside each other in their order", which=which))
    if batches[0] and batches[1]:
        sizes = (batches[0].value, batches[1].value)
        if sizes[0] != sizes[1]:
            words = say(
                "a step of {one_name} takes {first_sizes:,.0f} examples and one of {other_name} {second_sizes:,.0f}",
                one_name=one.name,
                first_sizes=sizes[0],
                other_name=other.name,
                second_sizes=sizes[1],
            )
            assumed = list(dict.fromkeys(word for batch in batches if batch for word in batch.assumed))
            taken = say(" (taking {assumed})", assumed=say(" and ").join(assumed)) if assumed else ""
            return Axis(
                "examples",
                sizes,
                say("{words}{taken}, so rows are laid beside each other by examples seen", words=words, taken=taken),
            )
        if not any(batch.assumed for batch in batches if batch):
            return Axis("step")
    if timed and not _same_speed(one, other, first, second):
        speeds = [rows.steps[-1] / rows.epochs[-1] for rows in (first, second)]
        words = say(
            "an epoch takes {first_speeds:,.0f} steps in {one_name} and {second_speeds:,.0f} in {other_name}",
            first_speeds=speeds[0],
            one_name=one.name,
            second_speeds=speeds[1],
            other_name=other.name,
        )
        return Axis("epoch", why=say("{words}, so rows are laid beside each other by epoch", words=words))
    return Axis("step")


def _timed(rows: Series) -> bool:
    """Whether every row has its epoch, and epochs are told finely enough to lay rows by them."""
    epochs = rows.epochs
    return bool(np.isfinite(epochs).all() and epochs[-1] > 0.1 and (np.diff(epochs) > 0).mean() > 0.9) if rows.rows > 1 else False


def _same_speed(one: Side, other: Side, first: Series, second: Series) -> bool:
    """Whether an epoch takes as many steps in both, or data of another size explains that it does not."""
    sizes = [side.plan.get("dataset_size") for side in (one, other)]
    if all(sizes) and sizes[0] != sizes[1]:
        return True
    speeds = [rows.epochs[-1] / rows.steps[-1] for rows in (first, second)]
    return bool(abs(speeds[0] / speeds[1] - 1) <= SPEED)
