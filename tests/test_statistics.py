"""The small statistics and the schedules against their oracles: the standard library, transformers, and the Trainer's loop."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.model import Fact, Run
from lossdoctor.schedules import Schedule
from lossdoctor.stats import RunningMedian, decimals, filtered_share, good_steps_before_nan, significant_digits

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@settings(deadline=None)
@given(values=VALUES, window=st.integers(1, 20))
def test_the_running_median_is_the_median_of_the_window(values: list[float], window: int) -> None:
    """After every value it equals `statistics.median` of the last ones."""
    running = RunningMedian(window)
    for place, value in enumerate(values, 1):
        running.push(value)
        assert running.median == statistics.median(values[max(0, place - window) : place])


@pytest.mark.parametrize(
    ("value", "places"), [(1.5567, 4), (2.0, 0), (0.0, 0), (1e-05, 5), (5e-324, 324), (1.25e-3, 5), (3.14159, 5)]
)
def test_decimals_are_those_of_the_shortest_text(value: float, places: int) -> None:
    """Scientific notation counts as the digits it stands for."""
    assert decimals(value) == places


def test_significant_digits_ignore_zeros_and_exponent() -> None:
    """5e-05 has one digit, 4.9997e-05 has five."""
    assert [significant_digits(v) for v in (5e-5, 4.9997e-5, 0.0002, 8.32833e-05)] == [1, 5, 1, 6]


def trainer_log(losses: list[float | None], accumulation: int) -> float:
    """What the Trainer's loop logs for one window of steps; None is a step whose micro-batches are all NaN."""
    total = 0.0
    for done, loss in enumerate(losses):
        for _ in range(accumulation):
            total += total / (1 + done) if loss is None else loss / accumulation
    return total / len(losses)


@settings(deadline=None)
@given(
    window=st.integers(1, 100), accumulation=st.sampled_from([1, 2, 4, 8]), data=st.data(), level=st.sampled_from([0.3, 1.9, 7.0])
)
def test_the_first_nan_step_is_solved_for_exactly(window: int, accumulation: int, data: st.DataObject, level: float) -> None:
    """From the one row that averages good and NaN steps, the number of good steps is found without error."""
    good = data.draw(st.integers(1, window))
    row = trainer_log([level] * good + [None] * (window - good), accumulation)
    assert row == pytest.approx(level * filtered_share(good, window, accumulation), rel=1e-9)
    best, least, most = good_steps_before_nan(row, level, window, accumulation)
    assert best == good and least <= good <= most


def test_noise_widens_the_answer_rather_than_shifting_it() -> None:
    """With a noisy level several steps are possible, and all of them are given."""
    best, least, most = good_steps_before_nan(2.486, 3.1, 10, noise=0.2)
    assert least <= 2 < best == 3 < 4 <= most


@pytest.mark.parametrize("name", ["linear", "cosine", "polynomial"])
@pytest.mark.parametrize("warmup", [0, 30])
def test_a_schedule_is_the_inverse_of_the_one_in_transformers(name: str, warmup: int) -> None:
    """Every rate that transformers gives leads back to its step, on both sides of the peak."""
    torch = pytest.importorskip("torch")
    get_scheduler = pytest.importorskip("transformers").get_scheduler
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=200)
    facts = {"lr_scheduler_type": name, "learning_rate": 2e-4, "warmup_steps": warmup, "max_steps": 200}
    schedule = Schedule.of(Run(facts={key: Fact(value, "test") for key, value in facts.items()}))
    assert schedule is not None
    for step in range(199):
        rate = scheduler.get_last_lr()[0]
        behind = schedule.steps_behind(rate, falling=step > warmup)
        if rate < 2e-4:
            assert behind == pytest.approx(step, abs=1e-3)
        optimizer.step()
        scheduler.step()


def test_a_constant_schedule_tells_only_its_warm_up() -> None:
    """After the warm-up there is nothing to tell a step from."""
    schedule = Schedule("constant_with_warmup", 1e-4, 100, 1000)
    assert schedule.steps_behind(5e-5, falling=False) == pytest.approx(50)
    assert schedule.steps_behind(1e-4, falling=False) is None
    assert schedule.steps_behind(1e-4, falling=True) is None
