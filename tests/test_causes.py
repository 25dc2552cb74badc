"""The differential: what excludes what, how sure it may be, and the numbers that remedies are computed from."""

from __future__ import annotations

import math
from typing import Any

import pytest
from conftest import CASES, rows_of
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor import budgets
from lossdoctor.base import HIGH, Cause, Opinion
from lossdoctor.differential import diagnose
from lossdoctor.engine import examine
from lossdoctor.facts.canonical import translate
from lossdoctor.learning_rates import band_of, change, higher, lower, rounded, short
from lossdoctor.model import Chart, Ends, Fact, Outline, Report, Run, Symptom
from lossdoctor.parsing.rows import records
from lossdoctor.vitals import Vitals

#: Causes that speak of how well a sound run learns.
LEARNING = {
    "learning-rate-too-low",
    "too-few-epochs",
    "too-little-data",
    "overfitting",
    "memorisation",
    "small-batch-noise",
    "length-grouped-batches",
}
LOGS = sorted(CASES.glob("*/*.jsonl"))


def run(**facts: Any) -> Run:
    return Run(facts={name: Fact(value, "test") for name, value in facts.items()})


def symptom(slug: str, severity: Any = "critical", **evidence: float) -> Symptom:
    return Symptom(slug, "loss", severity, 5, 9, True, "seen", evidence)


def report_of(log: Any) -> Report:
    import json

    facts = log.with_suffix(".json")
    known = translate(json.loads(facts.read_text()), "--config") if facts.is_file() else {}
    return examine(records(rows_of(log))[0], Run(facts=known))


@pytest.mark.parametrize("log", LOGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_run_in_nan_is_not_also_a_run_that_learns_slowly(log: Any) -> None:
    """Where the numbers are lost, no cause that speaks of sound numbers is named."""
    report = report_of(log)
    lost = [
        s
        for s in report.symptoms
        if s.open and s.slug in ("loss-collapse-to-zero", "loss-not-finite") and s.severity == "critical"
    ]
    if lost:
        assert not LEARNING & {d.slug for d in report.diagnoses}


@pytest.mark.parametrize("log", LOGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_high_confidence_means_that_nothing_speaks_against_it(log: Any) -> None:
    """Every candidate has words for what it rests on; a sure one has none against it; the first two say how to decide."""
    report = report_of(log)
    for place, diagnosis in enumerate(report.diagnoses):
        assert diagnosis.supports and diagnosis.explanation
        assert not (diagnosis.confidence == "high" and diagnosis.contradicts)
        assert diagnosis.decide_by or place >= 2
    ranks = [(d.normal, d.mechanism) for d in report.diagnoses]
    assert ranks == sorted(ranks)


class Strong(Cause):
    """Explains the collapse."""

    title = decide_by = "strong"

    def weigh(self, chart: Chart) -> Opinion:
        opinion = Opinion(chart.symptoms[:1], explanation="so it is")
        opinion.add(HIGH, "all of it")
        return opinion


class Weak(Cause):
    """Explains all that was seen, a little."""

    title = decide_by = "weak"

    def __init__(self, symptoms: int) -> None:
        self.symptoms = symptoms

    def weigh(self, chart: Chart) -> Opinion:
        opinion = Opinion(chart.symptoms[: self.symptoms], explanation="it may be")
        opinion.add(1, "a little")
        return opinion


class Broken(Cause):
    """Fails."""

    title = decide_by = "broken"

    def weigh(self, chart: Chart) -> Opinion:
        raise RuntimeError("no")


@pytest.mark.parametrize(("symptoms", "names"), [(1, ["strong"]), (2, ["strong", "weak"])])
def test_a_strong_cause_absorbs_the_weak_ones_that_it_explains(symptoms: int, names: list[str]) -> None:
    """A weak candidate stays only where it explains something that the strong one does not."""
    chart = Chart(Run(), (symptom("loss-collapse-to-zero"), symptom("loss-spike", "warning")))
    found, failed = diagnose([Weak(symptoms), Strong()], chart)
    assert [d.title for d in found] == names and not failed


def test_a_cause_that_fails_is_noted_and_the_others_go_on() -> None:
    """One broken cause costs its own opinion, and that is said."""
    found, failed = diagnose([Broken(), Strong()], Chart(Run(), (symptom("loss-spike"),)))
    assert [d.title for d in found] == ["strong"] and "RuntimeError: no" in failed[0].why


def test_the_usual_rates_follow_the_way_of_training() -> None:
    """LoRA takes ten times what all weights take, large models and preference tuning less; another optimizer, no opinion."""
    lora, large = (
        band_of(run(lora_r=16, model_name_or_path="Llama-2-7b")),
        band_of(run(lora_r=16, model_name_or_path="Llama-2-70b")),
    )
    full, preference = band_of(run(use_lora=False)), band_of(run(use_lora=True, task="preference tuning"))
    assert lora and large and full and preference
    assert lora.low >= 5 * full.low and lora.usual == 10 * full.usual
    assert large.usual < lora.usual and preference.high < lora.low
    assert not band_of(run()).known  # type: ignore[union-attr]
    assert band_of(run(optim="sgd", lora_r=8)) is None and band_of(run(optim="adamw_torch")) is not None
    for band in (lora, large, full, preference):
        assert band.low <= band.usual <= band.high and band.sources


RATES = st.floats(1e-10, 10.0)
BANDS = st.sampled_from([None, band_of(run()), band_of(run(lora_r=8)), band_of(run(use_lora=False))])


@given(rate=RATES, band=BANDS, failed=st.none() | RATES)
def test_a_remedy_moves_the_rate_the_way_it_says(rate: float, band: Any, failed: float | None) -> None:
    """Lower is lower by a half at least, and has one digit; below the usual rates, higher is at least the lowest of them."""
    new = lower(rate, band, failed)
    assert 0 < new <= rate / 2 and rounded(new) == new
    if band and rate < band.low:
        assert higher(rate, band) >= band.low and higher(rate, band) > rate


@given(rate=RATES)
def test_a_rate_is_written_so_that_it_reads_back(rate: float) -> None:
    """Three digits are kept, and there is no zero to count in the exponent."""
    assert float(short(rate)) == pytest.approx(rate, rel=0.006)
    assert "e-0" not in short(rate)


def test_a_change_shows_both_ways_of_writing() -> None:
    """5e-5 to 2e-4 is a raise, which the decimals show to whoever reads 5 as more than 2."""
    assert change(5e-5, 2e-4) == "from 5e-5 to 2e-4 (0.00005 to 0.0002)"


def outline(**values: Any) -> Outline:
    return Outline(**{"rows": 20, "last_step": 60, "epochs": 3.0, **values})


def test_examples_are_counted_where_they_are_not_stated() -> None:
    """Steps per epoch × effective batch; what is stated wins."""
    known = run(per_device_train_batch_size=4, gradient_accumulation_steps=8, world_size=2)
    assert budgets.effective_batch(known) == 64
    assert budgets.examples(Chart(known, (), outline())) == 20 * 64
    assert budgets.examples(Chart(run(dataset_size=500), (), outline())) == 500
    assert budgets.examples(Chart(run(), (), outline())) is None


def test_an_excerpt_is_not_taken_for_the_whole_run() -> None:
    """A run is over where its plan or a decayed learning rate says so, and not because the log ends."""
    assert not budgets.over(Chart(run(), (), outline()))
    assert budgets.over(Chart(run(max_steps=60), (), outline())) and not budgets.over(Chart(run(max_steps=90), (), outline()))
    assert budgets.over(Chart(run(num_train_epochs=3.0), (), outline()))
    table = {"step": [20.0, 40.0, 60.0], "rate": [1e-4, 5e-5, 1e-6]}
    assert budgets.over(Chart(run(), (), outline(table=table)))


def test_the_outline_tells_how_the_columns_of_rewards_began_and_ended() -> None:
    """Means of the first three and the last five rows; single NaN are passed over, usual columns are not followed."""
    vitals = Vitals(Run())
    rewards = [0.0, 0.1, 0.2, math.nan, *([1.0] * 5)]
    for step, value in enumerate(rewards, 1):
        row = {"step": step, "loss": 0.6, "learning_rate": 1e-6 * step, "grad_norm": 2.0, "rewards/margins": value}
        for record in records([row])[0]:
            vitals.observe(record)
    found = vitals.outline()
    assert found.ends == {"rewards/margins": Ends(8, pytest.approx(0.1), 1.0, 1.0)}
    assert found.peak_rate == pytest.approx(9e-6) and found.typical_norm == 2.0
    assert found.rate_at(4) == pytest.approx(4e-6) and found.rate_at(10) is None


@pytest.mark.parametrize(("asked", "told"), [(2e-4, True), (5.2e-5, False)])
def test_the_log_is_believed_more_than_a_configuration(asked: float, told: bool) -> None:
    """A peak that is far from the rate that was asked for says that the configuration is that of another run."""
    rows = [{"step": s, "loss": 2.0, "learning_rate": 5e-5 * (40 - s) / 40} for s in range(1, 41)]
    report = examine(records(rows)[0], run(learning_rate=asked))
    assert [c.name for c in report.run.conflicts] == ["learning_rate"] * told
    assert report.run.get("learning_rate") == (pytest.approx(4.88e-5, rel=1e-3) if told else asked)


def test_without_a_known_accumulation_no_examples_are_counted() -> None:
    """A batch guessed at gives too few examples by a factor that nobody sees."""
    assert budgets.effective_batch(run(per_device_train_batch_size=4)) is None
    assert budgets.effective_batch(run(total_train_batch_size=32)) == 32


def test_a_new_rate_is_not_resumed_into() -> None:
    """A resume would bring the old learning rate back, so the remedy starts a new run from the weights."""
    rows = [{"step": s, "loss": 2.0 - s / 200 if s < 60 else 9.0, "learning_rate": 5e-3, "grad_norm": 1.0} for s in range(1, 101)]
    known = {**run(lora_r=8, save_steps=20).facts}
    report = examine(records(rows)[0], Run(facts=known))
    (diagnosis,) = [d for d in report.diagnoses if d.slug == "learning-rate-too-high"]
    words = [remedy.do for remedy in diagnosis.remedies]
    assert any("new run from the weights" in do for do in words) and not any(do.startswith("Resume") for do in words)
    assert report.suggestions["learning_rate"].value < 5e-3


def test_what_explains_the_worst_comes_first() -> None:
    """A cause of a note does not stand before one of the critical symptom, however many points it has."""
    chart = Chart(Run(), (symptom("loss-noise", "info"), symptom("loss-divergence")))

    class Beside(Strong):
        """Explains the note."""

    class Worst(Weak):
        """Explains what is critical."""

        def weigh(self, chart: Chart) -> Opinion:
            opinion = Opinion(chart.symptoms[1:], explanation="so it is")
            opinion.add(1, "a little")
            return opinion

    found, _ = diagnose([Beside(), Worst(1)], chart)
    assert [d.title for d in found] == ["weak", "strong"]


def test_a_metric_that_gains_is_the_one_to_keep() -> None:
    """Where accuracy is better than at the lowest evaluation loss, neither epochs are cut nor the loss kept."""
    rows: list[dict[str, Any]] = []
    for epoch in range(1, 9):
        rows += [
            {"step": 100 * epoch - 100 + s, "epoch": epoch - 1 + s / 100, "loss": 1.5 / (epoch + s / 100)}
            for s in range(10, 101, 10)
        ]
        rows.append(
            {"step": 100 * epoch, "epoch": epoch, "eval_loss": 1.0 + 0.1 * abs(epoch - 3), "eval_accuracy": 0.6 + 0.03 * epoch}
        )
    report = examine(records(rows)[0], run(task="supervised"))
    (diagnosis,) = [d for d in report.diagnoses if d.slug == "overfitting"]
    settings = {name: value for remedy in diagnosis.remedies for name, value in remedy.settings.items()}
    assert settings["metric_for_best_model"] == "eval_accuracy" and settings["greater_is_better"] is True
    assert "num_train_epochs" not in settings and diagnosis.confidence != "high"


@pytest.mark.parametrize(
    ("gpu", "model", "wanted"),
    [("T4", "Qwen2.5-7B", "load_in_4bit"), ("T4", "gpt2", "gradient_checkpointing"), ("A100", "Qwen2.5-7B", "bf16")],
)
def test_precision_is_advised_that_the_gpu_has_room_for(gpu: str, model: str, wanted: str) -> None:
    """fp32 where it fits, four bits where it does not, bf16 where the GPU computes it."""
    from lossdoctor.remedies import wider_precision

    assert wider_precision(run(gpu=gpu, model_name_or_path=model, fp16=True)).settings[wanted] is True


def slugs_of(report: Report) -> set[str]:
    return {d.slug for d in report.diagnoses}


def test_a_warm_up_and_a_decay_are_no_fault_of_the_schedule() -> None:
    """A first row at rate 0 and a last one near 0 are what a linear schedule with warm-up looks like."""
    rows = [
        {"step": s, "epoch": s / 300, "loss": 3 - s / 200, "learning_rate": 1e-4 * min(s - 1, 301 - s) / 299}
        for s in range(1, 301)
    ]
    known = {"max_steps": 300, "num_train_epochs": 3.0, "lr_scheduler_type": "linear", "learning_rate": 1e-4}
    assert "schedule-misconfigured" not in slugs_of(examine(records(rows)[0], run(**known)))


def test_a_memorised_set_does_not_ask_for_more_steps() -> None:
    """A loss that falls because the examples come again is no reason to show them more often."""
    rows = [
        {"step": s, "epoch": s / 13, "loss": 0.75 * 0.6 ** (s // 13) + 0.01 * (s % 2), "learning_rate": 1e-4}
        for s in range(1, 61)
    ]
    assert "too-few-epochs" not in slugs_of(examine(records(rows)[0], run(max_steps=60, per_device_train_batch_size=2)))


def test_weights_that_go_on_soundly_are_kept() -> None:
    """Normal rows after the last NaN say that it did not reach the weights: nothing is started again."""
    rows = [
        {
            "step": s,
            "loss": 0.0 if s in (6, 7, 15, 16, 28) else 2.0 - s / 100,
            "grad_norm": math.nan if s in (6, 7, 15, 16, 28) else 1.2,
        }
        for s in range(1, 31)
    ]
    words = [remedy.do for d in examine(records(rows)[0], run(bf16=True)).diagnoses for remedy in d.remedies]
    assert not any("Start again" in do or "Resume" in do for do in words)


def test_the_evaluation_is_kept_as_often_as_it_was() -> None:
    """The gap between the logged evaluations counts, and not a default of the state that the log contradicts."""
    from lossdoctor.evaluations import as_often

    known = run(eval_steps=500.0, eval_strategy="steps")
    assert as_often(Chart(known, (), outline(eval_gap=32)))["eval_steps"] == 32
    assert as_often(Chart(known, (), outline(eval_gap=20)))["eval_strategy"] == "epoch"
    assert as_often(Chart(known, (), outline()))["eval_strategy"] == "epoch"


def test_a_climb_at_a_resume_is_laid_to_the_resume() -> None:
    """Steps that go back, and a loss that is high from there on: the adapter was not loaded; the rate is not to blame."""
    from lossdoctor.parsing.rows import records as read

    before = [{"step": s, "loss": 0.85, "learning_rate": 1e-4} for s in range(10, 210, 10)]
    after = [{"step": s, "loss": 2.4 - s / 1000, "learning_rate": 1e-4} for s in range(160, 300, 10)]
    found = read([*before, *after])
    known = Run(facts=run(use_lora=True).facts, resumed_at=found.resumed_at)
    assert examine(found.records, known).diagnoses[0].slug == "resume-not-restored"
