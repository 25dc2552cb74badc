"""What a long run leaves behind for drawing: few rows, and none of those that a picture may not miss."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.kept import Kept
from lossdoctor.model import Record

VALUES = st.sampled_from([0.0, 1.0, 2.5, -3.0, 1e9, math.nan, math.inf])


def kept(losses: list[float], kind: str = "train") -> tuple[Record, ...]:
    """What is kept of rows with these losses, one a step from 1."""
    keeper = Kept()
    name = "loss" if kind == "train" else "eval_loss"
    for step, loss in enumerate(losses, 1):
        keeper.add(Record(step, None, kind, {name: loss}))  # type: ignore[arg-type]
    return keeper.records()


def test_a_short_run_is_kept_whole() -> None:
    """Up to 4,000 rows nothing is left out."""
    assert [r.step for r in kept([1.0] * 4000)] == list(range(1, 4001))


def test_no_single_spike_is_lost_in_a_long_run() -> None:
    """Of 300,000 rows the lowest, the highest and the one that was NaN are there, at their steps, among at most 4,096 rows."""
    losses = [2.0 + (step % 7) / 10 for step in range(300_000)]
    losses[123_456], losses[201_001], losses[77] = 99.0, -5.0, math.nan
    rows = {r.step: r.values["loss"] for r in kept(losses)}
    assert len(rows) <= 4096 and rows[123_457] == 99.0 and rows[201_002] == -5.0 and math.isnan(rows[78])
    steps = sorted(rows)
    assert max(b - a for a, b in pairwise(steps)) < 1200, "no stretch of the run is left out"


@given(st.lists(VALUES, max_size=40), st.integers(1, 400))
@settings(max_examples=50, deadline=None)
def test_extremes_and_order_survive_whatever_comes(pattern: list[float], times: int) -> None:
    """Rows stay in order; lowest and highest finite loss stay; evaluations are thinned alike."""
    losses = pattern * times
    for kind, name in (("train", "loss"), ("eval", "eval_loss")):
        rows = kept(losses, kind)
        assert len(rows) <= 4096 and [r.step for r in rows] == sorted(r.step for r in rows)
        finite, left = [v for v in losses if math.isfinite(v)], [r.values[name] for r in rows if math.isfinite(r.values[name])]
        assert (min(finite, default=0), max(finite, default=0)) == (min(left, default=0), max(left, default=0))
        assert any(map(math.isnan, losses)) <= any(not math.isfinite(r.values[name]) for r in rows)
