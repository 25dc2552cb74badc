"""Two logs beside each other: how they begin, part and end, and what of that is more than noise."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from pairs import evaluation, falling, noise, pair, side, training

from lossdoctor.comparison.baseline import worse
from lossdoctor.comparison.curves import compare_curves
from lossdoctor.comparison.nouns import CurveDifference, Pair, Side
from lossdoctor.model import Log, Record, Run
from lossdoctor.plan import plan_of

sys.path.insert(0, str(ROOT / "benchmarks"))

import comparisons
from simulator import HEALTHY

ROWS = 300
FALL = falling(ROWS)


def said(curve: CurveDifference) -> str:
    return " ".join(curve.told)


# --- Noise ------------------------------------------------------------------------------------------------------------


def test_two_seeds_of_a_healthy_run_do_not_differ() -> None:
    """In 95 % of the pairs of two seeds of one healthy run, of all families, no series differs beyond noise."""
    found = [comparisons.seeds(*job) for job in comparisons.healthy_pairs(60)]
    assert comparisons.share_of(o.same for o in found) >= 0.95
    assert not any(o.in_order for o in found)


@pytest.mark.parametrize("shape", comparisons.SHAPES[:2])
def test_an_end_that_is_5_percent_higher_is_found(shape: str) -> None:
    """At 300 rows with usual noise an end that is 5 % higher is called worse in 90 % of the pairs."""
    found = [comparisons.apart(ROWS, *comparisons.TYPICAL, shape, seed) for seed in range(30)]
    assert comparisons.share_of(o.training == "worse" for o in found) >= 0.9
    assert comparisons.share_of(o.low <= 0.05 <= o.high for o in found) >= 0.85


def test_a_pair_of_the_simulator_is_a_pair() -> None:
    """The same seed gives the same pair, and both of its runs have the same facts and other rows."""
    from simulator import pair as simulated

    for kind in HEALTHY:
        one, other = simulated(kind, 60, 3)
        assert repr((one, other)) == repr(simulated(kind, 60, 3))
        assert one.losses != other.losses and one.run == other.run
        assert one.rows == other.rows


def test_a_difference_has_its_figures() -> None:
    """Level, share, interval, effect and windows of an end that is 10 % higher are those of the numbers."""
    end = training(side("A", FALL * noise(ROWS, 1)), side("B", 1.1 * FALL * noise(ROWS, 2))).end
    assert end is not None and end.ending == "worse"
    assert end.low < 0.1 < end.high and end.low > 0.05
    assert end.share == pytest.approx((end.other - end.one) / end.one)
    assert end.effect > 1 and end.windows >= 8 and end.windows * end.rows <= ROWS
    assert 1 < end.since < ROWS


def test_a_small_difference_is_said_to_be_small() -> None:
    """With the same data in the same order half a percent is surely there, and is not called worse."""
    curve = training(side("A", FALL * noise(ROWS, 1)), side("B", 1.005 * FALL * noise(ROWS, 1)))
    assert curve.end is not None and curve.end.ending == "same" and curve.end.low > 0
    assert "less than the 1.0 % that is called a difference here" in said(curve)


def test_few_rows_are_not_judged() -> None:
    """Of eleven rows in common no end is judged, however far apart they are, and the reason is said."""
    curve = training(side("A", FALL[:11]), side("B", 2 * FALL[:11]))
    assert curve.end is not None and curve.end.ending == "unknown"
    assert "11 rows in common: too few to tell a difference from noise" in said(curve)


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_hardly_any_rows_do_no_harm(rows: int) -> None:
    """One to five rows are compared without a judgement."""
    curve = training(side("A", FALL[:rows]), side("B", FALL[:rows] * 1.5))
    assert curve.end is None or (curve.end.ending == "unknown" and math.isfinite(curve.end.low))


def test_one_spike_makes_no_difference() -> None:
    """A single row ten times too high in the last part neither makes the end worse nor parts the curves."""
    spiky = FALL * noise(ROWS, 2)
    spiky[-20] *= 10
    curve = training(side("A", FALL * noise(ROWS, 1)), side("B", spiky))
    assert curve.end is not None and curve.end.ending == "same"
    assert curve.parted_at is None


# --- Beginning and order ----------------------------------------------------------------------------------------------


def test_an_identical_beginning_is_dated() -> None:
    """Logs that are the same to their printed digits up to step 120 are said to be so, in both directions."""
    one, other = np.round(FALL * noise(ROWS, 1), 4), np.round(FALL * noise(ROWS, 2), 4)
    other[:120] = one[:120]
    for sides in ((side("A", one), side("B", other)), (side("B", other), side("A", one))):
        curve = training(*sides)
        assert curve.same_until == 120 and curve.in_order
        assert "up to step 120: the same weights, seed and data order" in said(curve)


def test_digits_are_those_of_the_poorer_log() -> None:
    """A log with four decimals and one with all of them begin alike as far as four decimals tell."""
    losses = FALL * noise(ROWS, 1)
    curve = training(side("A", np.round(losses, 4)), side("B", losses))
    assert curve.same_until == ROWS


def test_other_gradient_norms_are_another_beginning() -> None:
    """Losses that agree beside gradient norms that do not are no identical beginning."""
    losses = np.round(FALL * noise(ROWS, 1), 4)
    norms = noise(ROWS, 5, 0.3)
    assert training(side("A", losses, norms=norms), side("B", losses, norms=norms)).same_until == ROWS
    assert training(side("A", losses, norms=norms), side("B", losses, norms=norms[::-1])).same_until is None


def test_a_loss_that_stands_still_proves_no_seed() -> None:
    """Two runs that stay at the loss of guessing, the same in every row, are not said to have the same seed."""
    curve = training(side("A", [2.3026] * 50), side("B", [2.3026] * 50))
    assert curve.same_until is None and not curve.in_order


def test_the_order_of_the_data_shows_without_equal_levels() -> None:
    """Rows that go up and down together at other levels are of the same examples in the same order; others are not."""
    one = side("A", FALL * noise(ROWS, 1))
    together = training(one, side("B", 0.8 * FALL**1.1 * noise(ROWS, 1) * noise(ROWS, 2, 0.01)))
    assert together.in_order and together.same_until is None
    assert together.together is not None and together.together > 0.8
    assert "the same examples came in the same order" in said(together)
    apart = training(one, side("C", FALL * noise(ROWS, 3)))
    assert not apart.in_order and "have little in common" in said(apart)


def test_epochs_that_begin_together_are_no_common_order() -> None:
    """Stairs at the same steps and a repeated loss in a table do not make two orders of the data one."""
    found = [
        comparisons.seeds(kind, rows, seed)
        for kind in ("natural_stairs", "model_card")
        for rows in (30, 60)
        for seed in range(20)
    ]
    assert not any(o.in_order for o in found)


# --- Parting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [60, 120, 200])
def test_the_parting_is_dated(at: int) -> None:
    """Curves of which one is 10 % higher from a step on part there, within 5 % of the run."""
    higher = FALL * noise(ROWS, 2)
    higher[at:] *= 1.1
    higher[10] *= 5
    curve = training(side("A", FALL * noise(ROWS, 1)), side("B", higher))
    assert curve.parted_at is not None and abs(curve.parted_at - at) <= 0.05 * ROWS


def test_curves_that_meet_again_have_not_parted() -> None:
    """A hump in the middle of one is no parting for good."""
    hump = FALL * noise(ROWS, 2)
    hump[100:160] *= 1.5
    curve = training(side("A", FALL * noise(ROWS, 1)), side("B", hump))
    assert curve.parted_at is None and curve.end is not None and curve.end.ending == "same"
    assert curve.widest is not None and 100 <= curve.widest[0] <= 160 and curve.widest[1] == pytest.approx(0.4, abs=0.1)
    assert "On the way they are apart" in said(curve)


# --- Axes -------------------------------------------------------------------------------------------------------------


def test_other_logging_steps_are_laid_beside_each_other() -> None:
    """A row of ten steps is compared with the mean of the ten rows of one step each, exactly."""
    losses = np.round(FALL * noise(ROWS, 1), 6)
    coarse = losses.reshape(-1, 10).mean(axis=1)
    curve = training(side("A", losses), side("B", coarse, every=10))
    assert curve.rows == 30 and curve.axis == "step"
    assert curve.same_until == ROWS


def test_steps_of_other_sizes_are_laid_by_examples() -> None:
    """Where a step of one takes four times as many examples, its step 75 lies beside step 300 of the other."""
    fine = FALL * noise(ROWS, 1)
    other = side("B", fine.reshape(-1, 4).mean(axis=1), per_device_train_batch_size=8, gradient_accumulation_steps=4)
    curve = training(side("A", fine, per_device_train_batch_size=8, gradient_accumulation_steps=1), other)
    assert curve.axis == "examples" and curve.rows == 75 and curve.in_order
    assert curve.end is not None and curve.end.share == pytest.approx(0, abs=1e-3)
    assert "A step of A takes 8 examples and one of B 32" in said(curve)


def test_epochs_help_where_batches_are_not_known() -> None:
    """Where an epoch takes other numbers of steps, rows are laid beside each other by epoch."""
    fine = FALL * noise(ROWS, 1)
    curve = training(side("A", fine, epochs=2.0), side("B", fine.reshape(-1, 4).mean(axis=1), epochs=2.0))
    assert curve.axis == "epoch" and curve.rows == 75 and curve.in_order


def test_rows_without_steps_are_laid_in_their_order() -> None:
    """Two logs whose rows were numbered are compared row by row, and that is said."""
    curve = training(side("A", FALL, run={"numbered": True}), side("B", FALL * 1.2, run={"numbered": True}))
    assert curve.axis == "row" and curve.rows == ROWS
    assert "no steps" in said(curve)


def test_a_run_that_goes_on_is_compared_as_far_as_it_has_come() -> None:
    """A run at step 120 of 300 is compared over these 120, not at its end, and that is said."""
    curve = training(side("A", FALL * noise(ROWS, 1), max_steps=300), side("B", (FALL * noise(ROWS, 2))[:120], max_steps=300))
    assert curve.rows == 120 and curve.own_ends is None
    assert "B has come to step 120 of 300" in said(curve)


def test_runs_of_other_lengths_are_compared_twice() -> None:
    """Where one is planned for fewer steps, the common part and each one's own end are compared."""
    curve = training(side("A", FALL * noise(ROWS, 1), max_steps=300), side("B", (FALL * noise(ROWS, 2))[:100], max_steps=100))
    assert curve.end is not None and curve.end.ending == "same"
    assert curve.own_ends is not None and curve.own_ends.ending == "worse"
    assert "at its own end, step 300 of A and 100 of B" in said(curve)


def test_a_branch_that_was_left_counts_nothing() -> None:
    """Of steps that were trained again after a resume, only the second time counts."""
    one = side("A", FALL * noise(ROWS, 1))
    assert one.log is not None
    left = tuple(Record(step, None, "train", {"loss": 9.0}) for step in range(101, 151))
    log = replace(one.log, records=(*one.log.records[:100], *left, *one.log.records[100:]))
    curve = training(one, replace(one, name="B", log=log))
    assert curve.rows == ROWS and curve.same_until == ROWS


def test_rows_that_are_no_numbers_are_left_out() -> None:
    """Single NaN rows and rows of 0.0 neither end a comparison nor count in it."""
    holes = FALL * noise(ROWS, 1)
    holes[50], holes[200] = math.nan, 0.0
    curve = training(side("A", FALL * noise(ROWS, 1)), side("B", holes))
    assert curve.rows == ROWS - 2 and curve.end is not None and curve.end.ending == "same"


def test_logs_without_a_common_part_are_not_compared() -> None:
    """A log that ends before the other begins has nothing to be compared with."""
    one = side("A", FALL[:100])
    log = Log(Run(), tuple(Record(step + 500, None, "train", {"loss": 1.0}) for step in range(1, 100)))
    curve = training(one, Side("B", plan_of(Run()), log))
    assert curve.rows == 0 and curve.end is None and "no part in common" in said(curve)


def test_a_configuration_alone_has_no_curves() -> None:
    """Nothing is said of a side without a log."""
    assert compare_curves(side("A", FALL), Side("B", plan_of(Run()))) == ()


def test_long_logs_take_seconds() -> None:
    """Two logs of 100,000 rows are compared in less than 10 seconds."""
    rows = 100_000
    sides = []
    for seed in (1, 2):
        losses = falling(rows) * noise(rows, seed)
        log = Log(Run(), tuple(Record(step + 1, None, "train", {"loss": float(loss)}) for step, loss in enumerate(losses)))
        sides.append(Side(str(seed), plan_of(Run()), log))
    start = time.perf_counter()
    assert training(*sides).rows == rows
    assert time.perf_counter() - start < 10


# --- Evaluation -------------------------------------------------------------------------------------------------------


def test_evaluations_are_compared_at_the_last_and_at_the_best() -> None:
    """One that rises again ends worse at the last evaluation and no worse at the best one."""
    one = side("A", FALL * noise(ROWS, 1), evaluations={step: 2 - step / 300 for step in range(30, 301, 30)})
    turned = {step: 2 - step / 300 if step <= 240 else 1.2 + (step - 240) / 200 for step in range(30, 301, 30)}
    curve = evaluation(one, side("B", FALL * noise(ROWS, 2), evaluations=turned))
    assert curve.end is not None and curve.end.ending == "worse" and curve.end.one == 1.0
    assert curve.best is not None and curve.best.other == pytest.approx(1.2)
    assert "how far two seeds of one run lie apart cannot be known" in said(curve)


def test_evaluations_of_seeds_do_not_differ() -> None:
    """A percent between two evaluation losses is what seeds may differ by."""
    points = {step: 2 - step / 300 for step in range(30, 301, 30)}
    other = {step: value * 1.01 for step, value in points.items()}
    curve = evaluation(side("A", FALL, evaluations=points), side("B", FALL, evaluations=other))
    assert curve.end is not None and curve.end.ending == "same"


def test_an_evaluation_that_is_no_number_is_no_end() -> None:
    """A last evaluation of NaN is told, and not judged."""
    points = {step: 2 - step / 300 for step in range(30, 301, 30)}
    curve = evaluation(side("A", FALL, evaluations=points), side("B", FALL, evaluations={**points, 300: math.nan}))
    assert curve.end is None or curve.end.ending == "unknown"
    assert "The last evaluation of B, at step 300, is no number" in said(curve)


# --- Runs that broke --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, math.nan])
@pytest.mark.parametrize("judged", [True, False])
def test_a_run_that_broke_is_never_better(value: float, judged: bool) -> None:
    """A loss of exactly 0.0, or NaN, up to the end is no better end, with a report and without one."""
    lost = FALL * noise(ROWS, 2)
    lost[200:] = value
    one, other = side("A", FALL * noise(ROWS, 1)), side("B", lost)
    if not judged:
        other = replace(other, report=None)
    for sides in ((one, other), (other, one)):
        curve = training(*sides)
        assert curve.end is None or curve.end.ending == "unknown"
        assert curve.parted_at == 201
        assert "B broke at step 201" in said(curve)


def test_a_baseline_says_when_a_run_is_worse() -> None:
    """Worse is a higher end beyond noise, or a break that the baseline had not; better, the same and unknown are not."""
    one = side("A", FALL * noise(ROWS, 1))
    lost = FALL * noise(ROWS, 2)
    lost[200:] = 0.0
    assert worse(pair(one, side("B", 1.1 * FALL * noise(ROWS, 2))))
    assert worse(pair(one, side("B", lost)))
    assert not worse(pair(side("B", lost), one))
    assert not worse(pair(side("B", lost), side("C", lost)))
    assert not worse(pair(one, side("B", FALL * noise(ROWS, 2))))
    assert not worse(pair(one, side("B", 0.9 * FALL * noise(ROWS, 2))))
    assert not worse(pair(one, side("B", 1.5 * FALL[:8])))
    assert not worse(Pair(one, Side("B", plan_of(Run()))))


def test_a_baseline_goes_by_the_evaluation_loss() -> None:
    """A higher training loss is not worse where the evaluation loss is the same; a higher evaluation loss is."""
    points = {step: 2 - step / 300 for step in range(30, 301, 30)}
    one = side("A", FALL * noise(ROWS, 1), evaluations=points)
    assert not worse(pair(one, side("B", 1.1 * FALL * noise(ROWS, 2), evaluations=points)))
    assert worse(pair(one, side("B", FALL * noise(ROWS, 2), evaluations={step: 1.1 * value for step, value in points.items()})))


def test_a_baseline_goes_by_the_best_where_that_is_kept() -> None:
    """Where both keep the best model, a rise after it does not make a run worse."""
    points = {step: 2 - step / 300 for step in range(30, 301, 30)}
    turned = {step: points[step] if step <= 285 else 1.3 for step in points}
    for keeps in (True, False):
        one = side("A", FALL * noise(ROWS, 1), evaluations={**points, 300: 1.1}, load_best_model_at_end=keeps)
        other = side("B", FALL * noise(ROWS, 2), evaluations=turned, load_best_model_at_end=keeps)
        assert worse(pair(one, other)) is not keeps


def test_the_loss_of_reinforcement_learning_is_not_compared() -> None:
    """A higher loss of a run that learns from rewards is not called worse."""
    sides = [side(name, FALL * noise(ROWS, 1) * factor, task="reinforcement learning") for name, factor in (("A", 1), ("B", 2))]
    curve = training(*sides)
    assert curve.end is None and "no measure of quality" in said(curve)
