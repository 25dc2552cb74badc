"""Sides of a comparison made of a few numbers: what the tests of curves, tries and explanations compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossdoctor.comparison.curves import compare_curves
from lossdoctor.comparison.explained import explain
from lossdoctor.comparison.nouns import CurveDifference, Difference, Pair, Side
from lossdoctor.engine import examine
from lossdoctor.model import Fact, Log, Record, Run
from lossdoctor.plan import plan_of


def side(
    name: str,
    losses: Sequence[float],
    *,
    every: int = 1,
    rates: Sequence[float] | None = None,
    norms: Sequence[float] | None = None,
    epochs: float | None = None,
    evaluations: Mapping[int, float] | None = None,
    run: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Side:
    """A side whose log has these training losses, one every so many steps, and evaluations by their step."""
    records = []
    for row, loss in enumerate(losses):
        step = (row + 1) * every
        epoch = epochs * (row + 1) / len(losses) if epochs else None
        values = {"loss": float(loss)}
        if rates is not None:
            values["learning_rate"] = float(rates[row])
        if norms is not None:
            values["grad_norm"] = float(norms[row])
        records.append(Record(step, epoch, "train", values))
        if evaluations and step in evaluations:
            records.append(Record(step, epoch, "eval", {"eval_loss": float(evaluations[step])}))
    known = Run(facts={key: Fact(value, "test") for key, value in facts.items()}, **(run or {}))
    log = Log(known, tuple(records))
    return Side(name, plan_of(known), log, examine(log.records, known))


def falling(rows: int, *, start: float = 3.0, end: float = 1.0) -> Any:
    """The loss of a healthy run without noise."""
    return end + (start - end) * np.exp(-5 * np.arange(1, rows + 1) / rows)


def noise(rows: int, seed: int, size: float = 0.04) -> Any:
    """Factors around 1, the same for the same seed: what batches of one order do to a loss."""
    return np.exp(size * np.random.default_rng(seed).standard_normal(rows))


def training(one: Side, other: Side) -> CurveDifference:
    """What the training losses of two sides say."""
    return next(curve for curve in compare_curves(one, other) if curve.series == "loss")


def evaluation(one: Side, other: Side) -> CurveDifference:
    """What the evaluation losses of two sides say."""
    return next(curve for curve in compare_curves(one, other) if curve.series == "eval_loss")


def pair(one: Side, other: Side, *differences: Difference) -> Pair:
    """Both sides with all that is said of them."""
    curves = compare_curves(one, other)
    return Pair(one, other, differences, curves, explain(one, other, curves, differences))
