"""The shape of the loss curve: its statistics against scipy, onsets and false alarms against the simulator, and what is told."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from conftest import CASES, ROOT, diagnose, rows_of, slugs
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lossdoctor import engine as engine_module
from lossdoctor.chance import known_chance, nearest_chance
from lossdoctor.curve import LEAST_NOISE, Curve
from lossdoctor.engine import Engine, examine
from lossdoctor.facts.canonical import translate
from lossdoctor.history import CAPACITY, History
from lossdoctor.model import Fact, Record, Report, Run, Symptom
from lossdoctor.parsing.rows import records
from lossdoctor.reports.json import render
from lossdoctor.tasks import PREFERENCE, SUPERVISED
from lossdoctor.trend import _Shape, _slope, bend, smooth

sys.path.insert(0, str(ROOT / "benchmarks"))

from simulator import FAULTS, HEALTHY, simulate

ndimage = pytest.importorskip("scipy.ndimage")
stats = pytest.importorskip("scipy.stats")

LOSSES = st.lists(st.floats(0.01, 100), min_size=1, max_size=80)
LOGS = sorted(CASES.glob("*/*.jsonl"))
RISES = ("loss-spike", "loss-divergence")
Told = list[tuple[str, Symptom, int]]


def rows(losses: NDArray[Any]) -> list[dict[str, Any]]:
    return [{"loss": float(loss), "step": step} for step, loss in enumerate(losses, 1)]


def noise(seed: int, count: int) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(count)


def curve_of(losses: Sequence[float] | NDArray[Any]) -> Curve:
    curve = Curve()
    for step, loss in enumerate(losses, 1):
        curve.push(float(loss), step)
    return curve


def known(**facts: Any) -> Run:
    return Run(facts={name: Fact(value, "test") for name, value in facts.items()})


def listen(log: Sequence[Record], run: Run) -> tuple[Report, Told]:
    """The report on a log, and each transition that a sink was told, with the step at which it was told."""
    told: Told = []

    def sink(event: engine_module.Event) -> None:
        if event.symptom is not None:
            told.append((event.transition, event.symptom, engine.vitals.step))

    engine = Engine(run, sinks=[sink], strict=True)
    for record in log:
        engine.observe(record)
    return engine.report(), told


def watched(losses: NDArray[Any], **facts: Any) -> tuple[Report, Told]:
    return listen(records(rows(losses))[0], known(**facts))


def told_once(told: Told) -> bool:
    """Whether no transition was told twice of one symptom; getting worse may happen once for each severity."""
    names = [(how, symptom.identity, symptom.severity if how == "worsened" else "") for how, symptom, _ in told]
    return len(names) == len(set(names))


def fitted(x: NDArray[Any], y: NDArray[Any]) -> tuple[float, float, float]:
    """Slope and standard error by scipy, and the correlation of neighbouring residuals."""
    line = stats.linregress(x, y)
    rest = y - line.intercept - line.slope * x
    return line.slope, line.stderr, float((rest[1:] * rest[:-1]).sum() / (rest**2).sum())


@pytest.mark.parametrize("seed", range(8))
def test_a_line_is_that_of_scipy(seed: int) -> None:
    """Slope and standard error are those of `linregress` where neighbours go apart, as they do in a zig-zag."""
    x = np.sort(np.random.default_rng(seed).uniform(size=60))
    y = 3 - 2 * x + (-1.0) ** np.arange(60) * np.abs(noise(seed, 60))
    slope, error, r = fitted(x, y)
    assert r <= 0
    assert _slope(_Shape.of(x), y) == pytest.approx((slope, error))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("alike", [0.0, 0.5, 0.95])
def test_the_error_of_a_line_widens_where_neighbours_are_alike(seed: int, alike: float) -> None:
    """A correlation r of the residuals widens it by the root of (1 + r) / (1 - r), for r between 0 and 0.9."""
    x, y = np.linspace(0, 1, 300), noise(seed, 300)
    for place in range(1, 300):
        y[place] += alike * y[place - 1]
    slope, error, r = fitted(x, y)
    kept = min(0.9, max(0.0, r))
    assert _slope(_Shape.of(x), y) == pytest.approx((slope, error * math.sqrt((1 + kept) / (1 - kept))))
    assert alike == 0 or _slope(_Shape.of(x), y)[1] > 1.2 * error


@settings(deadline=None)
@given(losses=LOSSES, half=st.integers(1, 15))
def test_smoothing_is_the_median_filter_of_scipy(losses: list[float], half: int) -> None:
    """The running median equals `median_filter` with mirrored ends, also where the window is wider than the curve."""
    half = min(half, len(losses) // 2)
    expected = ndimage.median_filter(np.array(losses), size=2 * half + 1, mode="mirror")
    assert smooth(losses, 2 * half + 1) == expected.tolist()


@pytest.mark.parametrize("slope", [-1.0, -0.01, 0.0, 0.01, 1.0])
def test_jitter_is_the_noise_without_the_trend(slope: float) -> None:
    """Over 2,000 rows the estimate, which each time rests on the last 64, is on average right within 15 % on any slope."""
    curve, seen = Curve(), []
    for step, value in enumerate(noise(1, 2000)):
        curve.push(5000 + slope * step + 0.1 * float(value), step)
        seen.append(curve.jitter)
    assert np.mean(seen[64:]) == pytest.approx(0.1, rel=0.15)
    assert 0.05 < min(seen[64:]) < max(seen[64:]) < 0.2


@pytest.mark.parametrize("climb", [0.01, 0.1, 1.0])
def test_a_climb_is_no_noise(climb: float) -> None:
    """However steep the climb, the noise stays within twice the jitter, which is that of the same rows without it."""
    flat, steep = 20 + 0.1 * noise(2, 400), 20 + 0.1 * noise(2, 400) + climb * np.arange(400)
    curve = curve_of(steep)
    assert curve.jitter == pytest.approx(curve_of(flat).jitter, rel=1e-6)
    assert curve.noise <= max(2 * curve.jitter, LEAST_NOISE * curve.recent) + 1e-12


@settings(deadline=None)
@given(losses=LOSSES)
def test_levels_are_medians(losses: list[float]) -> None:
    """The level is the median of the last five rows, before the last row too; the start is that of the first three."""
    curve = curve_of(losses)
    assert curve.recent == np.median(losses[-5:])
    assert curve.start == np.median(losses[:3])
    assert len(losses) == 1 or curve.recent_before == np.median(losses[:-1][-5:])


@settings(deadline=None)
@given(losses=LOSSES, more=st.floats(0.01, 100))
def test_the_jitter_before_is_that_without_the_last_row(losses: list[float], more: float) -> None:
    """While the window of 64 differences is not full, one row less gives the same number to the last digit."""
    assert curve_of([*losses[:64], more]).jitter_before == curve_of(losses[:64]).jitter


@pytest.mark.parametrize("doublings", [0, 1, 2, 3])
def test_merging_conserves_the_mean(doublings: int) -> None:
    """Whole entries have the mean loss of their rows to nine digits, at most 4,096 of them, the last at the last step."""
    count = CAPACITY * 2**doublings - 2 ** (doublings + 1)
    losses, history = np.exp(noise(3, count)), History()
    for step, loss in enumerate(losses, 1):
        history.push((step, math.nan, float(loss), math.nan, 1.0))
    columns = {name: np.array(column) for name, column in history.columns().items()}
    assert history.every == 2**doublings
    assert len(columns["loss"]) < CAPACITY
    assert columns["loss"].mean() == pytest.approx(losses.mean(), rel=1e-9)
    assert columns["step"][-1] == count


def test_merging_leaves_out_what_is_not_there() -> None:
    """A norm that only every other row has keeps its value, and one that no row has stays NaN."""
    history = History()
    for step in range(1, 3 * CAPACITY + 1):
        history.push((step, math.nan, 1.0, math.nan, 7.0 if step % 2 else math.nan))
    columns = {name: np.array(column) for name, column in history.columns().items()}
    assert (columns["norm"] == 7.0).all()
    assert np.isnan(columns["rate"]).all()


@pytest.mark.parametrize("slope", [0.02, 0.1])
@pytest.mark.parametrize("fall", [0.0, 0.02])
def test_the_bend_is_the_corner(slope: float, fall: float) -> None:
    """The corner of a noisy hinge, level or falling before it, is found within three rows."""
    t = np.arange(120)
    for seed in range(12):
        corner = 50 + 2 * seed
        hinge = 4 - fall * np.minimum(t, corner) + slope * np.maximum(t - corner, 0)
        assert abs(bend(hinge + 0.05 * noise(seed, 120)) - corner) <= 3


def test_white_noise_has_no_period() -> None:
    """In 200 curves of nothing but noise fewer than 1 % are said to swing: Fisher's test keeps its level."""
    assert sum("loss-oscillation" in slugs(diagnose(rows(2 * np.exp(0.1 * noise(seed, 128))))) for seed in range(200)) < 2


@pytest.mark.parametrize("seed", range(10))
def test_a_period_is_found_to_a_twentieth(seed: int) -> None:
    """A sine of period 8 rows and 12 % is found in the noise, with its period and its amplitude."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    wave = 1 + 0.12 * np.sin(2 * np.pi * np.arange(128) / 8 + phase)
    found = [s for s in diagnose(rows(2 * wave * np.exp(0.04 * noise(seed, 128)))).symptoms if s.slug == "loss-oscillation"]
    assert [s.evidence["period_rows"] for s in found] == [pytest.approx(8, rel=0.05)]
    assert found[0].evidence["amplitude"] == pytest.approx(0.12, rel=0.2)


def test_a_curve_that_fell_is_no_plateau() -> None:
    """Of 100 noisy curves that fell by 15 % none is called one."""
    fall = 2 * (0.85 + 0.15 * np.exp(-np.arange(200) / 20))
    for seed in range(100):
        assert "loss-plateau" not in slugs(diagnose(rows(fall * (1 + 0.05 * noise(seed, 200)))))


@pytest.mark.parametrize("kind", ["spike_recovering", "spike_not_recovering"])
def test_a_jump_is_dated_within_two_rows(kind: str) -> None:
    """In nine of ten simulated runs the jump is given its row or one of the two beside it."""
    missed = []
    for seed in range(20):
        curve = simulate(kind, 100, seed)
        found = [s for s in examine(curve.records, curve.run).symptoms if s.slug in RISES]
        offs = [curve.row_of(s.onset) - curve.row_of(curve.onset or 0) for s in found]
        if not any(abs(off) <= 2 for off in offs):
            missed.append((seed, offs))
    assert len(missed) <= 2, missed


def naps_change_nothing(monkeypatch: pytest.MonkeyPatch, log: Sequence[Record], run: Run) -> bool:
    """Whether the same is reported and told as with every detector awake for every row."""
    outcomes = []
    for nap in (engine_module.NAP, 10**9):
        with monkeypatch.context() as patch:
            patch.setattr(engine_module, "NAP", nap)
            report, told = listen(log, run)
        outcomes.append((render([report]), repr(told)))
    return outcomes[0] == outcomes[1]


@pytest.mark.parametrize("log", LOGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_naps_change_nothing_of_a_case(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that sleeps while all goes well sleeps through nothing that it would have told."""
    facts = log.with_suffix(".json")
    run = Run(facts=translate(json.loads(facts.read_text()), "--config") if facts.is_file() else {})
    assert naps_change_nothing(monkeypatch, records(rows_of(log))[0], run)


@pytest.mark.parametrize("kind", [*HEALTHY, *FAULTS])
def test_naps_change_nothing_of_a_simulated_run(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for runs with and without a fault."""
    for seed in range(2):
        curve = simulate(kind, 100, seed)
        assert naps_change_nothing(monkeypatch, curve.records, curve.run)


@pytest.mark.parametrize("seed", range(5))
def test_a_plateau_is_one_symptom(seed: int) -> None:
    """Five hundred flat rows are one open symptom, told once."""
    report, told = watched(2.2 * (1 + 0.02 * noise(seed, 500)), max_steps=500)
    assert [(s.slug, s.open) for s in report.symptoms] == [("loss-plateau", True)]
    assert [(how, s.slug) for how, s, _ in told] == [("opened", "loss-plateau")]


@pytest.mark.parametrize("seed", range(5))
def test_a_divergence_with_spikes_is_one_symptom(seed: int) -> None:
    """A climb of 80 % with five spikes on it is one open symptom of the loss, and no transition of it is told twice."""
    t = np.arange(400)
    losses = (1 + np.exp(-t / 40)) * (1 + 0.8 * np.clip((t - 200) / 80, 0, 1)) * (1 + 0.02 * noise(seed, 400))
    losses[[230, 260, 300, 340, 370]] *= 2.2
    report, told = watched(losses)
    assert [(s.slug, s.open) for s in report.symptoms if s.series == "loss"] == [("loss-divergence", True)]
    assert told_once(told)


def test_no_transition_is_told_twice() -> None:
    """Over simulated runs of every kind a sink hears of each symptom once that it opened and once that it closed."""
    for kind in (*HEALTHY, *FAULTS):
        for seed in range(2, 4):
            curve = simulate(kind, 100, seed)
            assert told_once(listen(curve.records, curve.run)[1]), (kind, seed)


def test_a_flat_curve_is_told_before_the_run_ends() -> None:
    """At 40 % of `max_steps`; where the length of the run is not known, only the report says it."""
    losses = 2.2 * (1 + 0.02 * noise(0, 200))
    _, told = watched(losses, max_steps=200)
    assert [(how, s.slug, step) for how, s, step in told] == [("opened", "loss-plateau", 80)]
    report, told = watched(losses)
    assert not told
    assert [s.slug for s in report.symptoms] == ["loss-plateau"]


def test_what_a_later_look_no_longer_sees_is_closed() -> None:
    """A curve that is flat up to 40 % of the run and falls from the middle on was a plateau, and is none any more."""
    t = np.arange(200)
    losses = 2.2 * (1 + 0.02 * noise(0, 200)) * np.where(t < 100, 1, np.exp(-(t - 100) / 100))
    report, told = watched(losses, max_steps=200)
    assert [(how, s.slug, s.open, step) for how, s, step in told] == [
        ("opened", "loss-plateau", True, 80),
        ("closed", "loss-plateau", False, 120),
    ]
    assert [s.open for s in report.symptoms if s.slug == "loss-plateau"] == [False]


@pytest.mark.parametrize("answers", [2, 3, 77, 32000])
@pytest.mark.parametrize("name", ["num_labels", "vocab_size"])
def test_chance_is_the_logarithm_of_the_answers(name: str, answers: int) -> None:
    """Of the classes, of the vocabulary where there are none, and of a pair whatever else is known."""
    assert known_chance(known(**{name: answers}), PREFERENCE) == known_chance(Run(), PREFERENCE)
    assert known_chance(Run(), PREFERENCE)[0] == math.log(2)  # type: ignore[index]
    chance = known_chance(known(**{"vocab_size": 30522, name: answers}), SUPERVISED)
    assert chance is not None and chance[:3] == (math.log(answers), answers, True)


@pytest.mark.parametrize("answers", [2, 3, 4, 32000, 50257, 128256, 151936])
def test_the_nearest_chance_is_found_from_the_loss_alone(answers: int) -> None:
    """Where no fact tells the number of answers, the loss of guessing does."""
    assert known_chance(Run(), SUPERVISED) is None
    assert nearest_chance(math.log(answers), Run())[1:3] == (answers, False)  # type: ignore[index]


@pytest.mark.parametrize("facts", [{"framework": "TRL SFTTrainer"}, {"lora_r": 16, "model_name_or_path": "Llama-2-7b"}])
def test_a_language_model_at_the_loss_of_few_classes_is_no_classifier(facts: dict[str, Any]) -> None:
    """1.10 is an everyday loss of text, and only by accident ln 3."""
    chance = nearest_chance(math.log(3), known(**facts))
    assert chance is None or chance.kind == "tokens"


@pytest.mark.parametrize("run", [known(num_labels=1, vocab_size=30522), known(model_type="wav2vec2", vocab_size=32)])
def test_other_losses_have_no_chance(run: Run) -> None:
    """A regression and a CTC model have no loss of guessing, whatever their vocabulary."""
    assert known_chance(run, SUPERVISED) is None
    assert nearest_chance(math.log(2), run) is None


def rewards(values: NDArray[Any], **facts: Any) -> tuple[Report, Told]:
    """What is said of a GRPO run with these rewards."""
    log = [{"loss": 0.01, "reward": float(value), "step": step} for step, value in enumerate(values, 1)]
    return listen(records(log)[0], known(trainer="GRPOTrainer", **facts))


def collapsed(report: Report) -> list[Symptom]:
    return [s for s in report.symptoms if s.slug == "reward-collapse"]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("ends", [(0.45, 0.7, 0.02), (-5.0, -1.0, -5.2), (0.3, 0.8, -0.6)])
def test_a_reward_that_falls_for_good_is_critical_in_any_unit(scale: float, ends: tuple[float, float, float]) -> None:
    """It is told once, dated to where it left its best level, and the share that is lost is at most all of it."""
    values = scale * (np.interp(np.arange(200), [0, 80, 120, 140, 200], [*ends[:2], ends[1], ends[2], ends[2]]))
    report, told = rewards(values + 0.05 * scale * noise(0, 200))
    assert [(s.severity, s.open) for s in collapsed(report)] == [("critical", True)]
    assert 120 <= collapsed(report)[0].onset <= 132 and 0.8 < collapsed(report)[0].evidence["lost"] <= 1
    assert told_once(told)


def test_a_reward_that_loses_half_is_a_warning_and_heals() -> None:
    """Half of the level is lost and later made good: a warning that opens once and closes once."""
    values = np.interp(np.arange(260), [0, 60, 100, 110, 170, 190, 260], [0.7, 0.8, 0.8, 0.32, 0.32, 0.78, 0.8])
    report, told = rewards(values + 0.03 * noise(1, 260))
    assert [(s.severity, s.open) for s in collapsed(report)] == [("warning", False)]
    assert [how for how, s, _ in told if s.slug == "reward-collapse"] == ["opened", "closed"]


def test_noise_in_the_reward_is_no_collapse() -> None:
    """White and slow noise, heavy tails, single bad rows and sparse rewards are told in none of 160 runs."""
    for seed in range(40):
        draw, slow = np.random.default_rng(seed), np.zeros(150)
        for place in range(1, 150):
            slow[place] = 0.9 * slow[place - 1] + 0.04 * draw.standard_normal()
        white = draw.standard_normal(150)
        bad = np.where(draw.random(150) < 0.1, 0.0, 0.7 + 0.05 * white)
        for values in (0.6 + slow + 0.05 * white, 0.5 + 0.05 * draw.standard_cauchy(150), bad, draw.binomial(8, 0.1, 150) / 8):
            assert not collapsed(rewards(values)[0])


@pytest.mark.parametrize(("first", "told"), [({"epoch": 0.0}, True), ({"epoch": 0.18}, False), ({"step": 10}, True)])
def test_rewards_are_held_against_0_at_the_first_step_only(first: dict[str, Any], told: bool) -> None:
    """Rows without steps that begin in the midst of the first epoch say nothing of the first step."""
    row = {"loss": 0.3, "rewards/chosen": 5.0, "rewards/rejected": -4.0, **first}
    report = examine(records([row])[0], Run(numbered="step" not in first))
    assert ("preference-start-offset" in slugs(report)) is told


def climb_and_rest(top: float, end: float) -> NDArray[Any]:
    """From 4.7 up to `top` within six rows, and from there down to `end`."""
    t = np.arange(300)
    climb = np.interp(t, [0, 3, 8], [4.7, 4.7, top])
    return (climb - (top - end) * (1 - np.exp(-np.clip(t - 8, 0, None) / 60))) * (1 + 0.005 * noise(0, 300))


@pytest.mark.parametrize(("top", "end"), [(12.0, 6.0), (600.0, 60.0), (7.3, 6.9)])
def test_a_loss_that_climbed_above_its_start_neither_fell_nor_stood_still(top: float, end: float) -> None:
    """What comes down from a climb, and ends above where it began, is only a climb."""
    found = slugs(diagnose(rows(climb_and_rest(top, end))))
    assert "loss-divergence" in found and not found & {"loss-converged", "loss-still-falling", "loss-plateau"}


def test_a_fall_is_less_than_the_whole() -> None:
    """A loss that falls to next to nothing fell by less than 100 %, however steeply."""
    losses = 0.2 + 5 * (1 - np.arange(100) / 100) ** 2 + 0.01 * noise(3, 100)
    found = [s for s in diagnose(rows(losses)).symptoms if s.slug == "loss-still-falling"]
    assert found and all(0 < s.evidence["late"] < 1 for s in found)


@pytest.mark.parametrize(("total", "flat"), [(40, True), (4000, False)])
def test_a_warm_up_that_goes_on_has_no_plateau(total: int, flat: bool) -> None:
    """While the learning rate still rises the loss need not have moved; at the end of the run it is a plateau."""
    log = [row | {"learning_rate": 1e-6 * row["step"]} for row in rows(2 * (1 + 0.004 * noise(0, 40)))]
    report = diagnose(log, max_steps=total)
    assert ("loss-plateau" in slugs(report)) is flat
    assert flat or any("still rises" in item.why for item in report.not_judged)


def test_a_climb_in_few_rows_begins_after_the_last_low_row() -> None:
    """The lowest row may lie well before the climb."""
    losses = [0.8591, 0.8486, 0.8645, 0.8846, 0.8712, 0.8781, 6.3279, 2.9985, 1.7053, 1.4118]
    log = [{"loss": loss, "step": 350 + 10 * place} for place, loss in enumerate(losses)]
    assert [s.onset for s in diagnose(log).symptoms if s.slug == "loss-divergence"] == [401]


@pytest.mark.parametrize("after", [0.0, math.nan])
def test_zeros_and_nan_heal_no_spike(after: float) -> None:
    """A loss that jumped and stayed up has not come back because the numbers are lost."""
    losses = np.concatenate([1 + 0.01 * noise(0, 40), 5 + 0.05 * noise(1, 12), np.full(8, after)])
    spikes = [s for s in diagnose(rows(losses)).symptoms if s.slug == "loss-spike"]
    assert [(s.open, s.last) for s in spikes] == [(True, 52)] and spikes[0].evidence["lasting"]


def evaluated(train: Sequence[float], evals: Sequence[float]) -> list[dict[str, Any]]:
    """Nine rows around each training level, each followed by an evaluation."""
    log: list[dict[str, Any]] = []
    for place, (loss, value) in enumerate(zip(train, evals, strict=True)):
        log += [{"loss": loss + row / 100, "step": 10 * place + row} for row in range(1, 10)]
        log.append({"eval_loss": value, "step": 10 * place + 10})
    return log


def rises(report: Report) -> list[str]:
    return [s.severity for s in report.symptoms if s.slug == "eval-loss-rising" and s.open]


@pytest.mark.parametrize(("kept", "last", "severity"), [
    ({"load_best_model_at_end": True}, 1.08, "info"),
    ({"load_best_model_at_end": True, "metric_for_best_model": "eval_accuracy"}, 1.08, "warning"),
    ({"load_best_model_at_end": True}, 1.4, "warning"),
    ({}, 1.08, "warning"),
])  # fmt: skip
def test_a_small_rise_is_a_note_where_the_best_weights_are_kept(kept: dict[str, Any], last: float, severity: str) -> None:
    """Early stopping cannot stop before the evaluation loss has risen a little; the metric that it goes by must be that loss."""
    report = diagnose(evaluated([2.0, 1.5, 1.2, 1.0], [2.0, 1.0, 1.05, last]), **kept)
    assert rises(report) == [severity]


def test_evaluations_that_go_up_and_down_are_no_rise() -> None:
    """Two above the best, the later one lower, scatter as much as those before; two that climb are a rise."""
    train = [2.0, 1.5, 1.2, 1.0]
    assert not rises(diagnose(evaluated(train, [1.85, 1.58, 1.92, 1.73])))
    assert rises(diagnose(evaluated(train, [1.85, 1.58, 1.73, 1.92]))) == ["warning"]


def test_a_slow_rise_under_scatter_is_seen_and_scatter_alone_is_not() -> None:
    """In 40 evaluations that scatter by 4 %: a rise of 15 % nearly always, none at all hardly ever."""
    train = np.linspace(2.0, 1.7, 40)
    found = {
        slope: sum(
            bool(rises(diagnose(evaluated(train, 2 + slope * np.linspace(0, 2, 40) + 0.08 * noise(s, 40))))) for s in range(60)
        )
        for slope in (0.0, 0.15)
    }
    assert found[0.0] <= 5 and found[0.15] >= 50


def test_a_loss_that_was_back_only_late_is_told() -> None:
    """A climb of 8 % that took most of the run is a warning; one that took a tenth of it is none, nor is a curve of noise."""
    scatter = 2 * 0.005 * noise(4, 100)
    late = np.concatenate([np.full(10, 2.0), np.linspace(2.18, 1.97, 90)]) + scatter
    soon = np.concatenate([np.full(10, 2.0), np.linspace(2.18, 1.9, 10), np.full(80, 1.9)]) + scatter
    assert [(s.severity, s.open) for s in diagnose(rows(late)).symptoms if s.slug == "loss-divergence"] == [("warning", True)]
    assert "loss-divergence" not in slugs(diagnose(rows(soon))) | slugs(diagnose(rows(2 + scatter)))
    assert "loss-divergence" not in slugs(diagnose(rows(late), group_by_length=True))


@pytest.mark.parametrize(("evals", "severity"), [([1.8, 1.5, 1.2, 1.27], "info"), ([1.8, 1.2, 1.3, 1.4], "warning")])
def test_a_staircase_is_a_note_while_the_evaluation_loss_holds(evals: list[float], severity: str) -> None:
    """It holds as long as what rises is one evaluation, and lower than the one before the best."""
    losses = np.concatenate([np.full(40, 2.0), np.full(40, 1.2)]) + 0.01 * noise(5, 80)
    log: list[dict[str, Any]] = []
    for place, row in enumerate(rows(losses), 1):
        log.append(row | {"epoch": place / 40})
        if place % 20 == 0:
            log.append({"eval_loss": evals[place // 20 - 1], "step": place, "epoch": place / 40})
    assert [s.severity for s in diagnose(log).symptoms if s.slug == "epoch-staircase"] == [severity]


@pytest.mark.parametrize(("evals", "train", "severity", "both"), [
    ([2.0, 1.0, 1.2, 1.4], [2.0, 1.5, 1.2, 1.0], "warning", 0.0),
    ([2.0, 1.0, 1.2, 1.4, 1.9], [2.0, 1.5, 1.2, 1.0, 4.0], "warning", 1.0),
    ([3.0, 0.08, 0.083, 0.086], [2.0, 1.5, 1.2, 1.0], "info", 0.0),
])  # fmt: skip
def test_a_rise_of_the_evaluation_says_whether_training_rises_too(
    evals: list[float], train: list[float], severity: str, both: float
) -> None:
    """It is in the evidence; a rise that is next to nothing of the first evaluation is a note."""
    found = [s for s in diagnose(evaluated(train, evals)).symptoms if s.slug == "eval-loss-rising"]
    assert [(s.severity, s.evidence["both"]) for s in found] == [(severity, both)]
