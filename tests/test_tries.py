"""Several tries of one run: one order of the data, rates that differ because the decay is stretched, and which broke where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pairs import falling, noise, side

from lossdoctor.comparison.nouns import Side
from lossdoctor.comparison.tries import tell

LENGTHS = (500, 600, 1000, 2000, 5000)
LONG = falling(5000)


def tries(broken: dict[int, int] | None = None, *, peaks: dict[int, float] | None = None, seeds: Any = 42) -> list[Side]:
    """Tries of these lengths with linear decay and the same data; those in `broken` collapse after that step."""
    found = []
    for number, length in enumerate(LENGTHS):
        peak = (peaks or {}).get(length, 1e-4)
        done = np.arange(length) / length
        losses = np.round(LONG[:length] * noise(5000, 7)[:length] * (1 + 0.02 * done), 4)
        if broken and length in broken:
            losses[broken[length] :] = 0.0
        facts = {"max_steps": length, "lr_scheduler_type": "linear", "learning_rate": peak}
        if seeds is not None:
            facts["seed"] = seeds[number] if isinstance(seeds, Sequence) else seeds
        found.append(side(f"run-{length}", losses, rates=peak * (1 - done), **facts))
    return found


def test_tries_coincide_because_the_data_are_the_same() -> None:
    """The curves of tries with one seed are said to coincide, how far, how closely, and why."""
    told = tell(tries())
    assert "run-500, run-600, run-1000, run-2000 and run-5000 coincide up to step 500" in told[0]
    assert "the same examples came in the same order. All state seed 42." in told[0]
    assert "rank correlation" in told[0] and "apart at the median" in told[0]


def test_a_seed_that_is_not_stated_shows() -> None:
    """Without a stated seed the rows are the evidence; where other seeds are stated, the order is not from the seed."""
    assert "No seed is stated; the rows show" in tell(tries(seeds=None))[0]
    assert "They state different seeds" in tell(tries(seeds=[1, 2, 3, 4, 5]))[0]


def test_the_decay_is_stretched_over_the_steps() -> None:
    """The rate at one step is told for each try, and that a longer try has the higher one because of its length."""
    told = tell(tries())[1]
    assert told.startswith("The learning rates differ: at step 400 2.02e-5 in run-500 (500 steps), 3.35e-5 in run-600")
    assert "the linear decay is stretched over max_steps" in told


def test_rates_come_from_the_plan_where_none_are_logged() -> None:
    """Rates that nobody logged are those of the plan, and said to be planned."""
    without = []
    for one in tries():
        assert one.log is not None
        rows = tuple(replace(r, values={"loss": r.values["loss"]}) for r in one.log.records)
        without.append(replace(one, log=replace(one.log, records=rows)))
    assert "2.02e-5 in run-500" in tell(without)[1] and "as far as planned" in tell(without)[1]


def test_another_peak_is_not_called_stretching() -> None:
    """Where the rates differ because their peaks do, nothing is said of stretching."""
    told = tell(tries(peaks={500: 1e-3, 600: 3e-4}))[1]
    assert "The learning rates differ" in told and "stretched" not in told


def test_tries_that_all_break_at_one_step_point_to_data_or_precision() -> None:
    """Breaking at about the same step at rates far apart is not the rate's doing."""
    told = tell(tries(dict.fromkeys(LENGTHS, 371)))
    assert "run-500 broke at step 372 (loss-collapse-to-zero, last good step 371, learning rate 2.58e-5)." in told
    assert "whatever the rate" in told[-1] and "not to the rate" in told[-1]


def test_tries_that_all_break_at_nearly_one_rate_decide_nothing() -> None:
    """Early in the run the rates are nearly the same, and then rate and examples cannot be told apart."""
    assert "cannot be told" in tell(tries(dict.fromkeys(LENGTHS, 40)))[-1]


def test_only_the_higher_rates_breaking_points_to_the_rate() -> None:
    """Where tries above a rate broke and those below it went through the same examples, that is said with the rate."""
    told = tell(tries({2000: 371, 5000: 371}))[-1]
    assert "Only those with a rate above 6.29e-5 there broke" in told and "points to the rate" in told


def test_only_the_lower_rates_breaking_speaks_against_the_rate() -> None:
    """Where those that went on had higher rates with the same examples, neither examples alone nor the rate explain it."""
    told = tell(tries({500: 371, 600: 371}))
    assert "run-5000 did not break, up to step 5,000." in told
    assert "they alone do not explain it" in told[-1] and "not the rate either" in told[-1]


def test_the_sooner_the_higher_the_rate() -> None:
    """Breaks at different steps that come sooner at higher rates point to the rate, not to one batch."""
    told = tell(tries({500: 480, 600: 420, 1000: 330, 2000: 260, 5000: 200}))
    assert "the sooner the higher the rate had been" in told[-1]


def test_no_break_is_said() -> None:
    """Where none broke, that is all that is said of it."""
    assert tell(tries())[-1] == "None of the 5 broke."


def test_runs_with_other_data_are_no_tries_of_one_run() -> None:
    """Nothing is said of runs whose rows have nothing in common, and others are left out of what is said."""
    strangers = [side(f"seed-{seed}", falling(300) * noise(300, seed)) for seed in (1, 2, 3)]
    assert tell(strangers) == ()
    assert "seed-1" not in tell([*tries(), strangers[0]])[0]
    assert tell([]) == () and tell(strangers[:1]) == ()


@pytest.mark.slow
def test_real_tries_of_a_trainer_are_recognised(tmp_path: Any) -> None:
    """Trainer runs with one seed and max_steps 60, 80 and 120 coincide; one with another seed is not of them."""
    import trainers
    from fp16_collapse import Counting

    from lossdoctor.analysis import load
    from lossdoctor.engine import examine
    from lossdoctor.plan import plan_of

    found = []
    for name, steps, seed in (("a", 60, 1), ("b", 80, 1), ("c", 120, 1), ("other", 120, 2)):
        train = trainers.trains_in(tmp_path / name)
        data = Hard(Counting(600))
        train(doctor=None, max_steps=steps, seed=seed, train_dataset=data, learning_rate=1e-3, per_device_train_batch_size=4)
        log = load(tmp_path / name)[0]
        found.append(Side(name, plan_of(log.run), log, examine(log.records, log.run)))
    told = tell(found)
    assert told[0].startswith("The curves of a, b and c coincide up to step 60") and "All state seed 1." in told[0]
    assert "the linear decay is stretched over max_steps" in told[1]
    assert told[-1] == "None of the 3 broke."


@pytest.mark.slow
def test_real_seeds_of_a_trainer_do_not_differ(tmp_path: Any) -> None:
    """Three Trainer runs with other seeds end no better or worse than each other, in training and in evaluation."""
    import trainers
    from fp16_collapse import Counting

    from lossdoctor.analysis import load
    from lossdoctor.comparison.curves import compare_curves
    from lossdoctor.plan import plan_of

    found = []
    for seed in (1, 2, 3):
        data = {"train_dataset": Hard(Counting(600)), "eval_dataset": Hard(Counting(60))}
        more = {"eval_strategy": "steps", "eval_steps": 30, "per_device_train_batch_size": 4, "learning_rate": 1e-3}
        trainers.trains_in(tmp_path / str(seed))(doctor=None, max_steps=150, seed=seed, **data, **more)
        log = load(tmp_path / str(seed))[0]
        found.append(Side(str(seed), plan_of(log.run), log))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        curves = compare_curves(found[one], found[other])
        assert [curve.series for curve in curves] == ["loss", "eval_loss"]
        assert all(curve.end is not None and curve.end.ending == "same" and not curve.in_order for curve in curves)


class Hard:
    """The sequences of another data set, of which some are harder: a share of their tokens is drawn at random."""

    def __init__(self, easy: Any) -> None:
        import torch

        generator = torch.Generator().manual_seed(3)
        chance = torch.rand(len(easy), 1, generator=generator) ** 2
        random = torch.randint(0, 256, easy.tokens.shape, generator=generator)
        self.tokens = torch.where(torch.rand(easy.tokens.shape, generator=generator) < chance, random, easy.tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"input_ids": self.tokens[row], "labels": self.tokens[row]}
