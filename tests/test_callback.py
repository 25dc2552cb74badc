"""The doctor inside real, tiny Trainers: what it sees live is what the log says, and training never notices it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import slugs

import lossdoctor
from lossdoctor.engine import Event
from lossdoctor.model import LossDoctorError, Report

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from fp16_collapse import Counting, HalfPrecisionTrainer, tiny_model  # noqa: E402
from trainers import Harmless, Masked, NanLoss, Train  # noqa: E402
from transformers import Trainer, TrainerCallback  # noqa: E402

from lossdoctor import LossDoctorCallback  # noqa: E402
from lossdoctor.facts.live import gather  # noqa: E402

pytestmark = pytest.mark.slow

#: Large enough that fp16 overflows within some twenty steps whatever the schedule.
OVERFLOWING = 850_000.0


def essence(report: Report) -> Any:
    """What must not depend on whether a report was made live or afterwards."""
    symptoms = [(s.identity, s.severity, s.last, s.open, s.message) for s in report.symptoms]
    return report.verdict, symptoms, [d.slug for d in report.diagnoses], report.rows, report.last_good_step


def afterwards(trainer: Trainer, doctor: Any = None) -> Report:
    """The report on the log that the Trainer left, with the facts that a doctor knew live if it is given."""
    return lossdoctor.analyze(trainer.args.output_dir, known=doctor.report.run.facts if doctor else None)[0]


@pytest.mark.parametrize("logging_steps", [1, 7])
@pytest.mark.parametrize("fault", ["none", "nan for ever", "nan at times", "masked", "frozen"])
def test_live_and_afterwards_say_the_same(train: Train, fault: str, logging_steps: int) -> None:
    """One engine, two mouths: without probes the report equals that on the trainer_state.json, for sick and healthy runs."""
    model = tiny_model()
    more: dict[str, Any] = {}
    if fault.startswith("nan"):
        more = {"kind": NanLoss, "nan_in": (lambda n: n > 16) if fault == "nan for ever" else (lambda n: n % 5 == 0)}
    if fault == "masked":
        more = {"train_dataset": Masked()}
    if fault == "frozen":
        model.requires_grad_(False)
        model.transformer.wpe.weight.requires_grad_(True)
        model.transformer.wpe.weight.register_hook(torch.zeros_like)
    trainer, doctor = train(model=model, logging_steps=logging_steps, eval_strategy="steps", eval_steps=10,
                            doctor=LossDoctorCallback(sinks=[], probes=False), eval_dataset=Counting(32), **more)  # fmt: skip
    assert doctor is not None and doctor.failure is None
    assert essence(doctor.report) == essence(afterwards(trainer, doctor))
    if fault != "frozen":  # without the vocabulary a flat loss cannot be told to be that of guessing
        assert essence(doctor.report)[:2] == essence(afterwards(trainer))[:2]
    wanted = {"none": "healthy", "nan at times": "critical"}.get(fault, "critical")
    assert doctor.report.verdict == wanted or logging_steps > 1


@pytest.mark.parametrize("steps", [1, 5])
def test_training_goes_on_bit_for_bit_the_same(train: Train, steps: int) -> None:
    """With and without the doctor, in a run that breaks, weights and log are identical to the last bit."""
    results = []
    for doctor in (None, LossDoctorCallback(sinks=[])):
        trainer, _ = train(HalfPrecisionTrainer, doctor=doctor, model=tiny_model(OVERFLOWING), fp16=True, max_steps=40,
                           logging_steps=steps, per_device_train_batch_size=32)  # fmt: skip
        log = [
            {k: v for k, v in row.items() if "per_second" not in k and "runtime" not in k} for row in trainer.state.log_history
        ]
        results.append(([p.detach().clone() for p in trainer.model.parameters()], json.dumps(log), torch.random.get_rng_state()))
    assert results[0][1] == results[1][1]
    assert torch.equal(results[0][2], results[1][2])
    assert all(torch.equal(a, b) for a, b in zip(results[0][0], results[1][0], strict=True))


def test_a_real_fp16_overflow_freezes_the_learning_rate(train: Train) -> None:
    """With a real loss scaler and a non-fused optimizer the report names fp16, the frozen rate and the skipped steps."""
    doctor = LossDoctorCallback(sinks=[], facts={"gpu": "RTX 3090"})
    trainer, _ = train(HalfPrecisionTrainer, doctor=doctor, model=tiny_model(OVERFLOWING), fp16=True, max_steps=80,
                       logging_steps=2, per_device_train_batch_size=32)  # fmt: skip
    report = doctor.report
    assert {"loss-collapse-to-zero", "learning-rate-frozen", "skipped-steps", "gradient-not-finite"} <= slugs(report)
    assert (report.diagnoses[0].slug, report.diagnoses[0].confidence) == ("fp16-overflow", "high")
    assert report.diagnoses[0].remedies[0].settings == {"bf16": True, "fp16": False}
    skipped = next(s for s in report.symptoms if s.slug == "skipped-steps").evidence["skipped"]
    made = trainer.lr_scheduler.last_epoch
    assert abs(skipped - (80 - made)) <= 2
    assert {s.slug for s in afterwards(trainer).symptoms} - {"loss-intermittent-zero"} <= slugs(report)


def test_a_fused_optimizer_hides_skipped_steps_and_is_found_all_the_same(train: Train) -> None:
    """The rate keeps moving, so nothing is frozen: the zeros and the NaN norms still give fp16 overflow."""
    _, doctor = train(HalfPrecisionTrainer, model=tiny_model(OVERFLOWING), fp16=True, max_steps=60, logging_steps=2,
                      per_device_train_batch_size=32, optim="adamw_torch_fused")  # fmt: skip
    assert doctor is not None
    assert doctor.report.verdict == "critical"
    assert "learning-rate-frozen" not in slugs(doctor.report)
    assert doctor.report.diagnoses[0].slug == "fp16-overflow"


@pytest.mark.parametrize(("logging_steps", "accumulation"), [(10, 1), (10, 4), (7, 2), (1, 1)])
def test_the_step_of_the_first_nan_is_found(train: Train, logging_steps: int, accumulation: int) -> None:
    """Through the Trainer's own filter, with and without accumulation, the onset is the step in which NaN began."""
    first = 34
    _, doctor = train(NanLoss, nan_in=lambda n: n > (first - 1) * accumulation, max_steps=60, logging_steps=logging_steps,
                      gradient_accumulation_steps=accumulation, per_device_train_batch_size=4)  # fmt: skip
    assert doctor is not None
    collapse = next(s for s in doctor.report.symptoms if s.slug == "loss-collapse-to-zero")
    assert abs(collapse.onset - first) <= 1
    assert collapse.evidence["first_nan_earliest"] <= first <= collapse.evidence["first_nan_latest"] + 1


def test_without_the_filter_one_nan_stays_in_the_log_for_ever(train: Train) -> None:
    """The Trainer's sum keeps a single NaN; finite gradient norms afterwards make it a warning, not a lost run."""

    trainer, doctor = train(Harmless, nan_in=lambda n: n == 10, logging_nan_inf_filter=False, max_steps=40)
    assert doctor is not None
    assert all(math.isnan(row["loss"]) for row in trainer.state.log_history[9:] if "loss" in row)
    assert [(s.slug, s.severity) for s in afterwards(trainer).symptoms] == [("loss-not-finite", "warning")]
    seen = {s.slug: s for s in doctor.report.symptoms}
    assert seen["loss-not-finite"].severity == "warning"
    assert seen["hidden-nan-steps"].message == "the loss of 1 micro-batch was NaN in step 10"


def test_a_run_is_stopped_when_asked_to(train: Train) -> None:
    """`on_critical="stop"` ends training at the row in which the critical symptom opened; "warn" does not."""
    ends = []
    for choice in ("warn", "stop"):
        trainer, _ = train(NanLoss, doctor=LossDoctorCallback(choice, sinks=[]), nan_in=lambda n: n > 12, max_steps=30)  # type: ignore[arg-type]
        ends.append(trainer.state.global_step)
    assert ends == [30, 13]


def test_one_message_per_incident_and_a_summary(train: Train, capfd: Any) -> None:
    """A destroyed run prints one message when it breaks, on stderr, and one line at the end; a healthy one only the line."""
    train(NanLoss, doctor=LossDoctorCallback(), nan_in=lambda n: n > 12, max_steps=30)
    out, err = capfd.readouterr()
    assert "lossdoctor" not in out
    assert err.count("lossdoctor ✖ CRITICAL") == 2 and err.count("What to change") == 0
    train(doctor=LossDoctorCallback(), max_steps=10)
    assert capfd.readouterr().err.count("lossdoctor") == 1


def test_messages_do_not_tear_a_progress_bar(train: Train, capfd: Any) -> None:
    """Beside a bar every line of a message begins at the left edge."""
    train(NanLoss, doctor=LossDoctorCallback(), nan_in=lambda n: n > 12, max_steps=30, disable_tqdm=False)
    lines = capfd.readouterr().err.replace("\r", "\n").splitlines()
    assert any(line.startswith("lossdoctor ✖ CRITICAL") for line in lines)
    assert not any("it/s]" in line and "lossdoctor" in line for line in lines)


def test_a_resumed_run_is_replayed_in_silence(train: Train, tmp_path: Path) -> None:
    """After a resume the report is that of an unbroken run, and a fault that is over is not told again."""
    told: list[Event] = []
    train(Harmless, nan_in=lambda n: n in (4, 6), max_steps=20, save_strategy="steps", save_steps=10)
    _, doctor = train(doctor=LossDoctorCallback(sinks=[told.append]), max_steps=20, save_strategy="steps", save_steps=10,
                      resume=str(tmp_path / "out" / "checkpoint-10"))  # fmt: skip
    assert doctor is not None and doctor.failure is None
    assert doctor.report.rows == 20 and "loss-intermittent-zero" in slugs(doctor.report)
    assert [e.transition for e in told] == ["finished"]


def test_a_run_that_is_resumed_broken_is_told_of_and_stopped(train: Train, tmp_path: Path) -> None:
    """Weights that were NaN in the checkpoint are news: it is said once, three rows after the resume, and "stop" is heard."""
    told: list[Event] = []
    train(NanLoss, doctor=None, nan_in=lambda n: n > 5, max_steps=20, save_strategy="steps", save_steps=10)
    doctor = LossDoctorCallback("stop", sinks=[told.append])
    trainer, _ = train(doctor=doctor, max_steps=20, resume=str(tmp_path / "out" / "checkpoint-10"))
    assert trainer.state.global_step == 13
    opened = [e.symptom.slug for e in told if e.symptom and e.transition == "opened"]
    assert sorted(opened) == sorted(set(opened)) and "loss-collapse-to-zero" in opened


def test_a_doctor_that_comes_late_sees_it_all(train: Train) -> None:
    """Added while training goes on, it replays what was logged, gathers its facts and watches the rest."""
    doctor = LossDoctorCallback(sinks=[])

    class Late(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 5:
                trainers[0].add_callback(doctor)

    trainers: list[Trainer] = []

    class Known(NanLoss):
        def train(self, *args: Any, **kwargs: Any) -> Any:
            trainers.append(self)
            return super().train(*args, **kwargs)

    train(Known, doctor=None, callbacks=[Late()], nan_in=lambda n: n > 12, max_steps=20)
    assert doctor.failure is None and doctor.report.rows == 20
    assert doctor.report.verdict == "critical" and doctor.report.last_good_step == 12
    assert doctor.report.run.get("model_type") == "gpt2"


def test_a_checkpoint_made_without_the_doctor_can_be_resumed_with_it(train: Train, tmp_path: Path) -> None:
    """The doctor keeps no state in checkpoints, so none is missed."""
    train(doctor=None, max_steps=20, save_strategy="steps", save_steps=10)
    trainer, doctor = train(max_steps=20, save_strategy="steps", save_steps=10, resume=str(tmp_path / "out" / "checkpoint-10"))
    assert doctor is not None and doctor.failure is None and doctor.report.rows == 20
    assert "LossDoctorCallback" not in json.dumps(trainer.state.stateful_callbacks)


def test_an_error_inside_is_told_once_and_training_goes_on(train: Train, capfd: Any, monkeypatch: Any) -> None:
    """Whatever breaks in the doctor, the patient lives: one line, then silence."""
    doctor = LossDoctorCallback()
    monkeypatch.setattr("lossdoctor.callback.records", lambda rows: 1 / 0 if len(rows) else ([], False))
    trainer, _ = train(doctor=doctor, max_steps=10)
    assert trainer.state.global_step == 10
    assert doctor.failure == "ZeroDivisionError: division by zero"
    assert capfd.readouterr().err.count("lossdoctor") == 1


def test_a_sink_that_fails_does_not_change_the_decision_to_stop(train: Train) -> None:
    """Ranks must decide alike, and only the main process has sinks: a broken sink is dropped, the stop stays."""
    doctor = LossDoctorCallback("stop", sinks=[lambda event: 1 / 0])
    trainer, _ = train(NanLoss, doctor=doctor, nan_in=lambda n: n > 12, max_steps=30)
    assert trainer.state.global_step == 13 and doctor.failure is None
    assert any(item.what.startswith("sink") for item in doctor.report.not_judged)


def test_the_logs_of_others_are_left_alone(train: Train) -> None:
    """The dictionary that all callbacks share is neither changed nor kept."""
    seen: list[dict[str, Any]] = []

    class Before(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            logs["mine"] = object()
            seen.append(logs)

    _, doctor = train(callbacks=[Before()], max_steps=5)
    assert doctor is not None and doctor.failure is None
    assert all(
        set(logs) <= {"loss", "grad_norm", "learning_rate", "epoch", "mine", "step"} or "train_runtime" in logs for logs in seen
    )


def test_the_last_good_checkpoint_is_one_that_is_still_there(train: Train) -> None:
    """Unprotected, the older checkpoints go with `save_total_limit`; the report names none that was deleted."""
    doctor = LossDoctorCallback(sinks=[], protect=False)
    train(NanLoss, doctor=doctor, nan_in=lambda n: n > 25, max_steps=40, save_strategy="steps", save_steps=10, save_total_limit=2)
    report = doctor.report
    assert report.last_good_step == 25
    assert report.last_good_checkpoint is None
    assert [c.step for c in report.run.checkpoints] == [30, 40]


def test_facts_come_from_the_living_objects(train: Train) -> None:
    """Precision, schedule, sizes and versions are known without a question, and what the user says wins."""
    _, doctor = train(doctor=LossDoctorCallback(sinks=[], facts={"gpu": "Tesla V100", "lr": 9e-4}), max_steps=5)
    assert doctor is not None
    known = {name: fact.value for name, fact in doctor.report.run.facts.items()}
    assert known["gpu"] == "Tesla V100" and known["learning_rate"] == 9e-4
    assert known["max_steps"] == 5 and known["lr_scheduler_type"] == "linear" and known["fp16"] is False
    assert known["model_type"] == "gpt2" and known["vocab_size"] == 256 and known["trainable_parameters"] > 100_000
    assert known["dataset_size"] == 1920 and known["device"] == "cpu" and known["torch_dtype"] == "float32"
    assert "bf16_in_hardware" not in known and "compute_capability" not in known  # a CPU has none to tell of
    assert known["torch_version"].startswith(torch.__version__.partition("+")[0])


def test_mixed_dtypes_are_counted_by_their_parameters() -> None:
    """The dtype of most trainable parameters is the fact; all of them stand beside it."""
    model = tiny_model()
    assert "trainable_dtypes" not in gather(None, None, model)
    model.transformer.ln_f.to(torch.float64)
    known = {name: fact.value for name, fact in gather(None, None, model).items()}
    assert known["torch_dtype"] == "float32"
    assert known["trainable_dtypes"] == {"float32": known["trainable_parameters"] - 128, "float64": 128}


@pytest.mark.parametrize(
    "wrong", [{"on_critical": "panic"}, {"facts": {"gpuu": 1}}, {"settings": {"gradient-zero": {"rows": 2}}}]
)
def test_a_wrong_argument_is_said_before_training(wrong: dict[str, Any]) -> None:
    """It is said in one line when the callback is made, not hours later."""
    with pytest.raises(LossDoctorError) as error:
        LossDoctorCallback(**wrong)
    assert "\n" not in str(error.value)


class Random(Counting):
    """Sequences in which nothing can be learned but the sequences themselves."""

    def __init__(self, rows: int, seed: int) -> None:
        self.tokens = torch.randint(0, 64, (rows, 24), generator=torch.Generator().manual_seed(seed))


class Ear:
    """A sink that remembers what opened, and after how many rows it was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, int]] = []

    def __call__(self, event: Event) -> None:
        if event.symptom is not None and event.transition == "opened":
            self.heard.append((event.symptom.slug, event.symptom.severity, event.report().rows))

    def rows(self, *slugs: str) -> list[int]:
        return [rows for slug, _, rows in self.heard if slug in slugs]


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_a_learning_rate_far_too_low_is_told_while_the_run_goes_on(train: Train, schedule: str) -> None:
    """At 1e-9 nothing moves: that is said before half of the steps are done, once, and stands at the end."""
    ear = Ear()
    doctor = LossDoctorCallback(sinks=[ear])
    train(doctor=doctor, learning_rate=1e-9, lr_scheduler_type=schedule, max_steps=60)
    rows = ear.rows("loss-plateau", "loss-at-chance")
    assert len(rows) == 1 and rows[0] <= 30
    assert doctor.report.verdict == "warning" and doctor.failure is None


def test_a_learning_rate_far_too_high_is_told_at_once(train: Train) -> None:
    """A rate that rises a thousandfold in mid-run ruins the model: told within ten rows."""
    ear = Ear()

    class Raised(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
            if state.global_step >= 40:
                for group in optimizer.param_groups:
                    group["lr"] = 1.0

    doctor = LossDoctorCallback(sinks=[ear])
    train(doctor=doctor, callbacks=[Raised()], max_steps=80)
    rows = ear.rows("loss-spike", "loss-divergence")
    assert rows and min(rows) <= 50
    assert doctor.report.verdict == "critical"
    assert {"loss-spike", "loss-divergence"} & slugs(doctor.report)


def test_learning_by_heart_is_told_by_its_evaluation(train: Train) -> None:
    """Random text has nothing to generalise: the training loss falls, and the evaluation loss rises from its best."""
    doctor = LossDoctorCallback(sinks=[])
    train(doctor=doctor, train_dataset=Random(32, 1), eval_dataset=Random(32, 2), eval_strategy="steps", eval_steps=20,
          max_steps=240, learning_rate=3e-3, lr_scheduler_type="constant")  # fmt: skip
    symptom = next(s for s in doctor.report.symptoms if s.slug == "eval-loss-rising")
    assert symptom.severity == "warning" and symptom.open and symptom.evidence["rise"] > 0.03


def test_a_run_that_learns_is_left_alone(train: Train) -> None:
    """A healthy fine-tune with evaluation gets no warning, live or afterwards."""
    ear = Ear()
    doctor = LossDoctorCallback(sinks=[ear])
    train(doctor=doctor, eval_dataset=Counting(32), eval_strategy="steps", eval_steps=25, max_steps=150)
    assert [heard for heard in ear.heard if heard[1] != "info"] == [] and doctor.report.verdict == "healthy"


#: The settings of a training that ought to be warned of: its warm-up is longer than itself.
SICK = {"warmup_steps": 500, "max_steps": 60, "per_device_train_batch_size": 8}


def begun(train: Train, capsys: Any, **more: Any) -> str:
    """What is printed before the first row of a tiny training, which ends after one step."""

    class EndsAtOnce(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = True

    train(callbacks=[EndsAtOnce()], report_to=[], **more)
    printed = capsys.readouterr()
    assert "warm-up" not in printed.out  # standard output is the script's
    return str(printed.err)


def test_a_training_that_begins_wrong_is_told_so_at_once(train: Train, capsys: Any) -> None:
    """The checks of the command line look at the live run: what is worth a warning stands on stderr, with the setting."""
    doctor = LossDoctorCallback()
    told = begun(train, capsys, doctor=doctor, **SICK)
    assert doctor.failure is None
    assert "The warm-up takes 500 steps, and the run has 60" in " ".join(told.split())
    assert "warmup_steps: 500 → 3" in told and "nothing is evaluated" not in told


def test_who_trains_again_is_not_told_the_same_again(train: Train, capsys: Any) -> None:
    """A second `train()` of one configuration, as in a notebook, repeats no warning."""
    doctor = LossDoctorCallback()
    assert "warm-up" in begun(train, capsys, doctor=doctor, **SICK)
    assert "warm-up" not in begun(train, capsys, doctor=doctor, **SICK)


def test_a_training_that_begins_well_is_told_nothing(train: Train, capsys: Any) -> None:
    """Silence is a feature."""
    assert "lossdoctor ▲" not in begun(train, capsys, doctor=LossDoctorCallback(), max_steps=60)


@pytest.mark.parametrize("options", [{"check": False}, {"sinks": []}], ids=["switched off", "silent"])
def test_the_look_at_the_configuration_can_be_switched_off(train: Train, capsys: Any, options: dict[str, Any]) -> None:
    """`check=False` leaves it out, and a doctor without sinks says nothing."""
    assert "warm-up" not in begun(train, capsys, doctor=LossDoctorCallback(**options), **SICK)


def test_a_check_that_fails_does_not_harm_the_training(train: Train, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the look at the configuration is one line; the doctor stays, and the training goes on."""
    from lossdoctor import checkup

    monkeypatch.setattr(checkup, "plan_of", lambda run: 1 / 0)
    doctor = LossDoctorCallback()
    told = begun(train, capsys, doctor=doctor, **SICK)
    assert "could not be checked (ZeroDivisionError" in told and doctor.failure is None


def test_the_look_at_the_configuration_changes_no_bit(train: Train) -> None:
    """With it and without, weights, log and random numbers are the same."""
    results = []
    for check in (True, False):
        doctor = LossDoctorCallback(check=check)
        trainer, _ = train(doctor=doctor, model=tiny_model(), report_to=[], max_steps=5, warmup_steps=500)
        log = [
            {k: v for k, v in row.items() if "per_second" not in k and "runtime" not in k} for row in trainer.state.log_history
        ]
        results.append(([p.detach().clone() for p in trainer.model.parameters()], json.dumps(log), torch.random.get_rng_state()))
    assert results[0][1] == results[1][1] and torch.equal(results[0][2], results[1][2])
    assert all(torch.equal(one, other) for one, other in zip(results[0][0], results[1][0], strict=True))


def test_a_resumed_training_is_not_told_again(train: Train, capsys: Any) -> None:
    """What was said when the run began is not said when it goes on."""
    begun(train, capsys, doctor=LossDoctorCallback(), save_strategy="steps", save_steps=1, **SICK)
    again = begun(train, capsys, doctor=LossDoctorCallback(), resume=True, save_strategy="steps", save_steps=1, **SICK)
    assert "warm-up" not in again


def test_arguments_are_checked_before_there_is_a_trainer() -> None:
    """`lossdoctor.check(args, model=…, rows=…)` knows what the Trainer would know."""
    from fp16_collapse import arguments

    args = arguments("unused", max_steps=100, warmup_steps=400, fp16=False, logging_steps=10)
    report = lossdoctor.check(args, model=tiny_model(), rows=1000)
    assert [finding.slug for finding in report.findings if finding.severity != "info"] == ["warmup-too-long"]
    assert report.plan.total_steps is not None and report.plan.total_steps.whole == 100
    assert report.run.get("trainable_parameters", 0) > 0
    frozen = tiny_model()
    frozen.requires_grad_(False)
    assert lossdoctor.check(args, model=frozen, rows=1000).verdict == "critical"
