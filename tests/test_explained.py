"""What explains best how two curves differ: the likeliest first, and never more than the evidence allows."""

from __future__ import annotations

from typing import Any

import numpy as np
from pairs import falling, noise, pair, side

from lossdoctor.comparison.explained import explain
from lossdoctor.comparison.nouns import Difference, Impact, Side
from lossdoctor.model import Run
from lossdoctor.plan import plan_of

ROWS = 300
FALL = falling(ROWS)
POINTS = range(30, 301, 30)


def differs(name: str, one: Any, other: Any, impact: Impact = "high") -> Difference:
    return Difference(name, (one, other), impact, "a reason")


def test_two_seeds_need_no_explanation() -> None:
    """No difference beyond noise is nothing to explain, and that the seeds differ is said."""
    one, other = side("A", FALL * noise(ROWS, 1), seed=1), side("B", FALL * noise(ROWS, 2), seed=2)
    told = pair(one, other, differs("seed", 1, 2, "low")).explained
    assert told == (
        "There is nothing to explain: no curve is apart beyond noise. "
        "That their rows differ is chance: the seeds differ (1 and 2).",
    )


def test_a_setting_without_an_effect_is_said_to_have_none() -> None:
    """A setting of high impact that differs between curves that do not is named as without effect on them."""
    told = pair(
        side("A", FALL * noise(ROWS, 1)), side("B", FALL * noise(ROWS, 2)), differs("learning_rate", 1e-4, 2e-4)
    ).explained
    assert "learning_rate (1e-4, 2e-4) differs; these curves show no effect of that beyond noise." in told


def test_other_data_differ_from_the_first_rows() -> None:
    """Curves that are 40 % apart at once are not explained by the rate, but by what is measured; the setting is named."""
    told = pair(
        side("A", FALL * noise(ROWS, 1)), side("B", 1.4 * FALL * noise(ROWS, 2)), differs("max_length", 256, 320)
    ).explained
    assert told[0].startswith("The losses differ from the first 6 rows on")
    assert "max_length (256, 320) differs and can do that; the learning rate cannot" in told[0]


def test_what_is_not_stated_is_not_invented() -> None:
    """Where nothing that is stated could make the first rows differ, that is said."""
    told = pair(
        side("A", FALL * noise(ROWS, 1)), side("B", 1.4 * FALL * noise(ROWS, 2)), differs("weight_decay", 0, 0.1)
    ).explained
    assert "nothing that is stated to differ does that" in told[0]


def test_a_faster_opening_is_no_other_data() -> None:
    """Where rates are far apart and the loss falls at once, first rows that differ are not put down to the data."""
    fast, slow = falling(60, start=6.0) * noise(60, 1), (6 - 5 * np.linspace(0, 1, 60) ** 0.8) * noise(60, 2)
    one = side("A", slow, every=50, rates=np.full(60, 1e-5))
    told = pair(one, side("B", fast, every=50, rates=np.full(60, 1e-4)), differs("learning_rate", 1e-5, 1e-4)).explained
    assert not any("when the weights have hardly moved" in words for words in told)
    assert "the sum of the rates is 10.00 times in B" in told[0]


def test_a_loss_that_is_a_sum_is_recognised() -> None:
    """Eight times the loss from first to last beside eight accumulated steps is a sum in place of a mean, either way round."""
    one = side("A", FALL * noise(ROWS, 1), per_device_train_batch_size=8, gradient_accumulation_steps=1)
    other = side("B", 8 * FALL * noise(ROWS, 2), per_device_train_batch_size=1, gradient_accumulation_steps=8)
    for sides in ((one, other), (other, one)):
        told = pair(*sides, differs("gradient_accumulation_steps", 1, 8)).explained
        assert "The loss of B is" in told[0] and "accumulates 8 steps: a sum was logged in place of a mean" in told[0]
    twice = side("B", 2 * FALL * noise(ROWS, 2), per_device_train_batch_size=1, gradient_accumulation_steps=8)
    assert not any("a sum was logged" in words for words in pair(one, twice).explained)


def test_curves_part_where_the_rates_do() -> None:
    """With one order of the data, rates that part before the curves explain them, with the ways that both have gone."""
    lower = FALL * (1 - 0.15 * np.linspace(0, 1, ROWS) ** 2)
    one = side("A", FALL * noise(ROWS, 1), rates=np.linspace(1e-4, 0, ROWS))
    other = side("B", lower * noise(ROWS, 1), rates=np.full(ROWS, 1e-4))
    told = pair(one, other, differs("lr_scheduler_type", "linear", "constant")).explained
    assert told[0].startswith("The learning rates part at about step") and "2.00 times in B" in told[0].replace("1.99", "2.00")
    assert len(told) == 1


def test_rates_that_part_later_are_not_the_reason() -> None:
    """Rates that part after the curves did not part them, and that is said last."""
    late = np.full(ROWS, 1e-4)
    late[200:] = 1e-5
    higher = FALL * noise(ROWS, 2)
    higher[60:] *= 1.2
    told = pair(side("A", FALL * noise(ROWS, 1), rates=np.full(ROWS, 1e-4)), side("B", higher, rates=late)).explained
    assert "the rates did not part them" in told[0]
    assert told[-1].startswith("Nothing in the configuration explains it")


def test_a_spike_in_one_explains_the_parting() -> None:
    """A spike that one run has and the other has not, where the curves part, is named with its step."""
    spiky = FALL * noise(ROWS, 1)
    spiky[150:] *= 1.5
    spiky[150:154] *= 2
    told = pair(side("A", FALL * noise(ROWS, 1)), side("B", spiky)).explained
    assert "B has a loss-spike from step 151 that the other has not" in told[0]


def test_a_run_that_broke_is_the_first_explanation() -> None:
    """That one run broke comes before everything else, and settings that differ are not blamed."""
    lost = FALL * noise(ROWS, 1)
    lost[200:] = 0.0
    told = pair(side("A", FALL * noise(ROWS, 1)), side("B", lost), differs("fp16", False, True)).explained
    assert told[0].startswith("B broke at step 201 (loss-collapse-to-zero) and the other did not")
    assert "cannot be told from two logs" in told[-1]


def test_a_parting_at_a_new_epoch_is_told() -> None:
    """Curves that part where examples are seen again part for that."""
    stairs = FALL * noise(ROWS, 4)
    stairs[100:] *= 0.85
    told = pair(side("A", FALL * noise(ROWS, 3), epochs=3.0), side("B", stairs, epochs=3.0)).explained
    assert "where epoch 1 ends" in told[0]


def test_a_resume_where_they_part_is_told() -> None:
    """A run that went on from a checkpoint where the curves part is named."""
    jumped = FALL * noise(ROWS, 2)
    jumped[120:] *= 1.2
    told = pair(side("A", FALL * noise(ROWS, 1)), side("B", jumped, run={"resumed_at": (121,)})).explained
    assert any("B went on from a checkpoint at step 121" in words for words in told)


def test_better_in_training_and_worse_in_evaluation_is_overfitting() -> None:
    """A lower training loss beside a higher evaluation loss is called overfitting, with both figures."""
    flat = {step: 2 - min(1.0, step / 150) * 0.5 for step in POINTS}
    rising = {step: value + 0.2 * max(0.0, (step - 150) / 150) for step, value in flat.items()}
    one = side("A", FALL * noise(ROWS, 1), evaluations=flat)
    other = side("B", FALL * np.linspace(1, 0.85, ROWS) * noise(ROWS, 2), evaluations=rising)
    told = pair(one, other, differs("num_train_epochs", 3, 10)).explained
    assert "it overfits more" in told[0] and "num_train_epochs (3, 10) differs and may do that" in told[0]


def test_a_longer_run_ends_elsewhere_for_that() -> None:
    """Runs that differ only in where they end are said to differ for that."""
    one = side("A", FALL * noise(ROWS, 1), max_steps=300)
    told = pair(one, side("B", (FALL * noise(ROWS, 2))[:100], max_steps=100), differs("max_steps", 300, 100)).explained
    assert told[0].startswith("They end apart because one is longer, not because their curves differ")


def test_two_settings_cannot_be_told_apart() -> None:
    """Where two settings of high impact differ and nothing in the curves decides, both are named as inseparable."""
    higher = FALL * noise(ROWS, 2)
    higher[60:] *= 1.2
    told = pair(side("A", FALL * noise(ROWS, 1)), side("B", higher), differs("optim", "adamw", "lion"), differs("lora_r", 8, 64))
    assert "optim (adamw, lion) and lora_r (8, 64) may do it; which of them cannot be told" in told.explained[-1]


def test_equal_in_effect_is_no_explanation() -> None:
    """A difference without impact explains nothing."""
    higher = FALL * noise(ROWS, 2)
    higher[60:] *= 1.2
    told = pair(side("A", FALL * noise(ROWS, 1)), side("B", higher), differs("alpha", 16, 32, "none")).explained
    assert told[-1].startswith("Nothing in the configuration explains it")


def test_nothing_judged_is_nothing_explained() -> None:
    """Too few rows are not enough evidence, and configurations alone have nothing to explain."""
    assert pair(side("A", FALL[:8]), side("B", 2 * FALL[:8])).explained[0].startswith("Not enough evidence")
    bare = Side("A", plan_of(Run()))
    assert explain(bare, bare, (), ()) == ()
