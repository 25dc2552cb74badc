"""The simulator keeps its word: without that, every figure of the accuracy benchmark would be worth nothing."""

from __future__ import annotations

import math
import sys
from itertools import pairwise

import numpy as np
import pytest
from conftest import ROOT

from lossdoctor.facts.canonical import NAMES
from lossdoctor.registry import all_detectors

sys.path.insert(0, str(ROOT / "benchmarks"))

from accuracy import jobs, judge
from known_rules import END_RULES, ONLINE_RULES
from simulator import CARD_ROWS, FAULTS, HEALTHY, REMARKS, averaged, simulate

KINDS = (*HEALTHY, *FAULTS)
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_a_seed_is_a_curve(kind: str) -> None:
    """The same seed gives the same curve to the last digit, another seed another one."""
    assert repr(simulate(kind, 30, 3)) == repr(simulate(kind, 30, 3))
    assert simulate(kind, 30, 3).losses != simulate(kind, 30, 4).losses


@each_kind
@pytest.mark.parametrize("rows", [10, 30, 100])
def test_a_curve_has_the_rows_it_should_have(kind: str, rows: int) -> None:
    """As many training rows as were asked for, one every `logging_steps`, and evaluations at rows of training."""
    for seed in range(8):
        curve = simulate(kind, rows, seed)
        if kind == "model_card":
            assert curve.rows == min(rows, CARD_ROWS[1])
        else:
            assert curve.rows == rows
        steps = [r.step for r in curve.records if r.kind == "train"]
        assert steps == [curve.logging_steps * k for k in range(1, curve.rows + 1)]
        assert {r.step for r in curve.records if r.kind == "eval"} <= set(steps)
        assert all(a.step <= b.step and (a.epoch or 0) <= (b.epoch or 0) for a, b in pairwise(curve.records))


@each_kind
@pytest.mark.parametrize("rows", [10, 100])
def test_a_fault_begins_within_the_log(kind: str, rows: int) -> None:
    """Faults have an onset that a row covers, except the one that is a judgement on the whole; healthy runs have none."""
    for seed in range(8):
        curve = simulate(kind, rows, seed)
        if kind in HEALTHY or kind == "still_falling":
            assert curve.onset is None
            continue
        assert curve.onset is not None
        assert 0 <= curve.row_of(curve.onset) < rows
        assert curve.end is None or curve.onset <= curve.end <= curve.records[-1].step


@each_kind
def test_losses_are_losses(kind: str) -> None:
    """Finite and above 0, except where NaN is masked."""
    losses = simulate(kind, 100, 1).losses
    assert all(map(math.isfinite, losses))
    assert all(loss > 0 for loss in losses) or kind == "nan_masked"


def test_masked_nan_is_written_as_the_trainer_writes_it() -> None:
    """From the row after the first NaN on the loss is exactly 0.0, and the gradient norm is NaN from its own row on."""
    for seed in range(8):
        curve = simulate("nan_masked", 30, seed)
        assert curve.onset is not None
        rows = [r.values for r in curve.records if r.kind == "train"]
        first = curve.row_of(curve.onset)
        assert all(row["loss"] == 0.0 for row in rows[first + 1 :])
        assert all(math.isnan(row["grad_norm"]) for row in rows[first:] if "grad_norm" in row)
        assert all(row["loss"] > 0 for row in rows[:first])


def test_averaging_conserves_the_mean() -> None:
    """The rows have the mean of their steps, whatever the window."""
    steps = np.random.default_rng(0).lognormal(size=600)
    for every in (1, 5, 10, 50):
        rows = averaged(steps, every)
        assert len(rows) == 600 // every
        assert rows.mean() == pytest.approx(steps.mean())


@each_kind
def test_facts_are_facts(kind: str) -> None:
    """Every fact has a canonical name and a value of its kind."""
    for seed in range(4):
        for name, fact in simulate(kind, 10, seed).run.facts.items():
            assert isinstance(fact.value, NAMES[name]), name


@pytest.mark.parametrize("slug", sorted(frozenset().union(*FAULTS.values())))
def test_what_is_expected_can_be_said(slug: str) -> None:
    """Every expected symptom is that of a detector."""
    if slug not in all_detectors():
        pytest.skip(f"there is no detector {slug} yet")
    assert all_detectors()[slug].slug == slug


def test_remarks_are_faults() -> None:
    """Only kinds with an expected symptom can deserve a remark."""
    assert set(FAULTS) > REMARKS


@pytest.mark.parametrize("name", ONLINE_RULES)
def test_online_rules_leave_a_steady_fall_alone(name: str) -> None:
    """No known rule raises an alarm on a smooth fall with a little noise."""
    noise = np.random.default_rng(1).standard_normal(400)
    falling = (2 + np.exp(-np.arange(400) / 50)) * (1 + 0.001 * np.clip(noise, -1.2, 1.2))
    assert ONLINE_RULES[name](falling.tolist()) == []


@pytest.mark.parametrize("name", ONLINE_RULES)
def test_online_rules_see_a_loss_that_grows_twentyfold(name: str) -> None:
    """Every known rule raises an alarm after the jump, and none before it."""
    noise = 1 + 0.001 * np.clip(np.random.default_rng(2).standard_normal(300), -1.2, 1.2)
    alarms = ONLINE_RULES[name]([*(2 * noise[:200]).tolist(), *(40 * noise[200:]).tolist()])
    assert alarms
    assert min(alarms) >= 200


@pytest.mark.parametrize("name", END_RULES)
def test_end_rules_tell_a_flat_curve_from_a_falling_one(name: str) -> None:
    """Each says one thing of a straight fall and the other of a curve that goes nowhere."""
    falling = [3 - row / 100 for row in range(100)]
    flat = [2 + 0.01 * (-1) ** (row // 2) for row in range(100)]
    assert END_RULES[name](falling) is ("falling" in name)
    assert END_RULES[name](flat) is ("falling" not in name)


def test_the_benchmark_judges_what_it_is_given() -> None:
    """A masked NaN is found, loudly and at once; model cards are only asked for lengths that they have."""
    outcome = judge(("nan_masked", 30, 0), rules=False)
    assert outcome.found
    assert outcome.loud
    assert not outcome.failed
    assert not outcome.early
    assert {rows for kind, rows, _ in jobs(["model_card", "standard"], [10, 300], 4) if kind == "model_card"} == {10}
    assert sum(rows == 300 for _, rows, _ in jobs(["standard"], [10, 300], 4)) == 2


#: What is found of each fault in logs of 100 rows, at least: well below the figures of the benchmark, well above chance.
FOUND = {
    "nan_masked": 1.0,
    "lr_frozen": 0.9,
    "spike_recovering": 0.85,
    "spike_not_recovering": 0.9,
    "divergence": 0.9,
    "plateau_high": 0.75,
    "stuck_at_chance": 0.6,
    "converged": 0.5,
    "still_falling": 0.75,
    "overfit": 0.85,
    "memorisation_stairs": 0.85,
    "gradient_explosion": 0.9,
    "gradient_vanishing": 0.9,
    "always_clipped": 0.9,
    "oscillation": 0.6,
    "noisy": 0.9,
}


@pytest.mark.parametrize("kind", FOUND)
def test_a_fault_is_found(kind: str) -> None:
    """On curves that no threshold was set with, each fault is found at least this often."""
    found = [judge((kind, 100, seed), rules=False).found for seed in range(10_000, 10_030)]
    assert sum(found) >= FOUND[kind] * len(found)


@pytest.mark.parametrize("rows", [10, 30, 100, 300])
def test_healthy_curves_are_left_alone(rows: int) -> None:
    """Of 160 healthy curves of the four plain kinds no more than two get any warning."""
    kinds = ("standard", "batch_size_1", "natural_stairs", "slow_power_law")
    flagged = [(kind, seed) for kind in kinds for seed in range(10_000, 10_040) if judge((kind, rows, seed), rules=False).warned]
    assert len(flagged) <= 2, flagged
