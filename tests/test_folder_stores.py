"""Folders of MLflow and DVCLive: those that they wrote themselves, half written ones, and folders that are something else."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, write_state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossdoctor.engine import examine
from lossdoctor.model import Log, LossDoctorError, NothingToAnalyse, Record
from lossdoctor.parsing import tracked
from lossdoctor.readers import Source, dvclive, mlflow_folder, read_file
from lossdoctor.readers.dialects import reads_folder

LOGS = ROOT / "tests" / "logs"
STORE, HEALTHY, BROKEN = LOGS / "mlflow_folder" / "mlruns", LOGS / "dvclive" / "healthy", LOGS / "dvclive" / "broken"
FIRST = {"loss": 5.172465801239014, "grad_norm": 1.8061076402664185, "learning_rate": 0.0009833333333333332}
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.sampled_from(["grad_norm", "learning_rate", "rewards/chosen", "kl"])


def read(folder: Path) -> list[Log]:
    """The logs that a folder as such is."""
    return read_file(Source.open(folder))


def verdicts(folder: Path) -> list[tuple[str, int | None]]:
    """The verdict and the last good step of each run."""
    reports = [examine(log.records, log.run) for log in read(folder)]
    return [(report.verdict, report.last_good_step) for report in reports]


def mlflow(run: Path, metrics: Mapping[str, str], **meta: Any) -> Path:
    """The folder of a run with these files of metrics."""
    for name, text in metrics.items():
        (run / "metrics" / name).parent.mkdir(parents=True, exist_ok=True)
        (run / "metrics" / name).write_text(text)
    (run / "meta.yaml").write_text(yaml.safe_dump({"run_name": "only", **meta}))
    return run


def live(folder: Path, tables: Mapping[str, Iterable[tuple[int, Any]]], **params: Any) -> Path:
    """A folder of DVCLive with these tables of steps and values."""
    for name, rows in tables.items():
        path = folder / "plots" / "metrics" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{step}\t{value}\n" for step, value in rows)
        path.write_text(f"step\t{name.rpartition('/')[2]}\n{text}")
    if params:
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def emptied(folder: Path) -> Path:
    """The folder without what an example before left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


# --- MLflow ------------------------------------------------------------------------------------------------------------


def test_the_runs_of_a_store_have_their_steps_settings_and_names() -> None:
    """In the order in which they were started, each with its rows as they were logged, and with its parameters."""
    healthy, broken = read(STORE)
    assert (healthy.run.name, broken.run.name) == ("healthy", "broken") and not healthy.run.notes
    assert healthy.records[0] == Record(2, 0.008333333333333333, "train", FIRST)
    assert [r.step for r in healthy.records if r.kind == "eval"] == [10, 20, 30, 40, 50, 60]
    assert [r.kind for r in healthy.records[-3:]] == ["train", "eval", "summary"]
    assert all(math.isnan(r.values["loss"]) for r in broken.records if "loss" in r.values and r.step > 24)
    assert (healthy.run.get("max_steps"), healthy.run.get("fp16"), healthy.run.get("model_type")) == (60, False, "gpt2")
    assert verdicts(STORE) == [("healthy", 60), ("critical", 24)]


def test_a_store_an_experiment_and_a_run_are_all_read() -> None:
    """Whichever of the three folders is named."""
    assert [log.run.name for log in read(STORE / "0")] == ["healthy", "broken"]
    alone = [read(run)[0] for run in (STORE / "0").iterdir() if run.is_dir()]
    assert sorted(log.run.name for log in alone) == ["broken", "healthy"]


def test_a_name_with_a_slash_is_a_folder(tmp_path: Path) -> None:
    """`eval/loss` lies in `metrics/eval`; what MLflow measures of the machine is left out."""
    run = mlflow(tmp_path / "r", {"train/loss": "1000 3.5 10\n", "eval/loss": "1000 3.25 10\n", "system/cpu": "1000 5 1\n"})
    (log,) = read(run)
    assert log.records == (Record(10, None, "train", {"loss": 3.5}), Record(10, None, "eval", {"eval_loss": 3.25}))


def test_of_two_metrics_of_one_name_the_plain_one_counts(tmp_path: Path) -> None:
    """A loop that logs `loss` beside the Trainer's `train/loss` has one row for each step, not two."""
    plain, other = ("".join(f"{1000 + s} {v + s} {s}\n" for s in (10, 20, 30)) for v in (1, 2))
    (log,) = read(mlflow(tmp_path / "r", {"loss": plain, "train/loss": other, "train/learning_rate": plain}))
    assert log.records == tuple(Record(s, None, "train", {"loss": 1.0 + s, "learning_rate": 1.0 + s}) for s in (10, 20, 30))


def test_a_file_that_is_just_going_is_one_line_of_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was there when the folder was listed: MLflow removes a run file by file."""
    run = mlflow(tmp_path / "r", {"loss": "1000 3.5 10\n"})
    monkeypatch.setattr(mlflow_folder, "files", lambda *_: [("loss", run / "metrics" / "gone")])
    with pytest.raises(LossDoctorError, match=r"^[^\n]*gone: no such file or directory$"):
        read(run)


def test_lines_of_every_age_are_read_and_half_ones_left_out(tmp_path: Path) -> None:
    """The oldest have no step, later ones more columns; garbage, and a line that is just being written, are passed over."""
    text = "1000 3.5\n2000 nan 2 data digest\nx y z\n\n3000 -inf 3\n4000 1.5 4\n5000 0.0"
    (log,) = read(mlflow(tmp_path / "r", {"loss": text}))
    assert [(r.step, str(r.values["loss"])) for r in log.records] == [(0, "3.5"), (2, "nan"), (3, "-inf"), (4, "1.5")]


def test_a_run_is_named_by_its_tag_if_by_nothing_else(tmp_path: Path) -> None:
    """As before MLflow 1.30; a deleted run is left out, and the broken description of another is no obstacle."""
    for name in "abc":
        mlflow(
            tmp_path / "e" / name, {"loss": "1000 3 1\n"}, run_name=None, lifecycle_stage="deleted" if name == "a" else "active"
        )
    (tmp_path / "e" / "b" / "tags").mkdir()
    (tmp_path / "e" / "b" / "tags" / "mlflow.runName").write_text("by tag")
    (tmp_path / "e" / "c" / "meta.yaml").write_text("{")
    assert sorted(log.run.name for log in read(tmp_path / "e")) == ["by tag", "c"]


def test_a_resumed_run_is_its_last_branch(tmp_path: Path) -> None:
    """The time tells what came after what, in all of its files."""
    steps = [1, 2, 3, 4, 3, 4, 5]
    text = "".join(f"{1000 + place} {9 - step} {step}\n" for place, step in enumerate(steps))
    (log,) = read(mlflow(tmp_path / "r", {"loss": text, "grad_norm": text}))
    assert [(r.step, len(r.values)) for r in log.records] == [(s, 2) for s in (1, 2, 3, 4, 5)] and log.run.resumed_at == (3,)


def test_no_link_is_followed(tmp_path: Path) -> None:
    """Neither to a file nor to a folder: it may lead anywhere."""
    run = mlflow(tmp_path / "e" / "r", {"loss": "1000 3.5 10\n"})
    secret = tmp_path / "secret"
    secret.write_text("1000 42 10\n")
    (run / "metrics" / "grad_norm").symlink_to(secret)
    (run / "params").symlink_to(STORE / "0")
    (run / "tags").mkdir()
    (tmp_path / "e" / "other").symlink_to(next(p for p in (STORE / "0").iterdir() if p.is_dir()))
    (log,) = read(tmp_path / "e")
    assert log.records == (Record(10, None, "train", {"loss": 3.5}),) and not log.run.facts
    live(tmp_path / "d", {"loss": [(0, 3.5)]})
    (tmp_path / "d" / "plots" / "metrics" / "grad_norm.tsv").symlink_to(BROKEN / "plots" / "metrics" / "grad_norm.tsv")
    (tmp_path / "d" / "params.yaml").symlink_to(BROKEN / "params.yaml")
    (log,) = read(tmp_path / "d")
    assert log.records == (Record(0, None, "train", {"loss": 3.5}),) and not log.run.facts


def test_a_run_without_a_metric_is_nothing_to_analyse(tmp_path: Path) -> None:
    """As of a training that failed before it logged anything."""
    run = mlflow(tmp_path / "r", {"loss": ""})
    with pytest.raises(NothingToAnalyse, match="no run with a number"):
        read(run)


def test_of_more_than_fits_into_memory_the_newest_runs_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is said that others were left out."""
    monkeypatch.setattr(tracked, "MOST_VALUES", 60)
    (log,) = read(STORE)
    assert log.run.name == "broken" and "the store is too large" in log.run.notes[0]


@pytest.mark.parametrize("folder", [mlflow_folder, dvclive], ids=lambda module: module.KIND)
def test_a_file_that_is_too_large_for_a_metric_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Any) -> None:
    """Rather than minutes of waiting for something else that lies there."""
    monkeypatch.setattr(folder, "LARGEST", 5)
    made = mlflow(tmp_path / "r", {"loss": "1000 3 1\n"}) if folder is mlflow_folder else live(tmp_path / "r", {"loss": [(0, 1)]})
    with pytest.raises(LossDoctorError, match="the values of one metric were expected"):
        read(made)


# --- DVCLive -----------------------------------------------------------------------------------------------------------


def test_a_run_of_the_trainer_has_its_own_steps() -> None:
    """DVCLive counted 37 log calls; the steps are told from what `params.yaml` says and the epochs, which is said."""
    (log,) = read(HEALTHY)
    assert log.records[0] == Record(2, 0.008333333333333333, "train", FIRST)
    assert [r.step for r in log.records if r.kind == "train"] == list(range(2, 61, 2))
    assert [r.step for r in log.records if r.kind == "eval"] == [10, 20, 30, 40, 50, 60]
    last = log.records[-1]
    assert (last.kind, last.step, last.values["train_loss"]) == ("summary", 60, 3.4865005731582643)
    assert log.run.notes == ("DVCLive counts log calls: the steps are told from logging_steps = 2 and the epochs",)
    assert (log.run.get("max_steps"), log.run.facts["max_steps"].source) == (60, "dvclive (params.yaml)")
    assert verdicts(HEALTHY) == [("healthy", 60)] and verdicts(BROKEN) == [("critical", 24)]


@pytest.mark.parametrize(
    ("steps", "each", "more"),
    [
        ([5, 10, 15, 20], 5, {}),
        ([1, 5, 10, 15, 20], 5, {"logging_first_step": True}),
        ([1, 2, 3, 4], 1, {"logging_first_step": True}),
        ([105, 110, 115], 5, {}),
    ],
    ids=["from the start", "the first step too", "each", "resumed"],
)
def test_steps_are_told_from_the_interval_and_the_epochs(
    tmp_path: Path, steps: list[int], each: int, more: dict[str, Any]
) -> None:
    """Also where the first step was logged besides, or training went on from a checkpoint; 37 steps are an epoch here."""
    rows = list(enumerate(steps))
    tables = {"loss": [(place, 3.0) for place, _ in rows], "epoch": [(place, step / 37) for place, step in rows]}
    (log,) = read(live(tmp_path, tables, logging_steps=each, logging_strategy="steps", **more))
    assert [r.step for r in log.records] == steps


@pytest.mark.parametrize(
    "params", [{}, {"logging_steps": 5, "logging_strategy": "epoch"}, {"logging_steps": 0.1}, {"logging_steps": "x"}]
)
def test_what_tells_no_steps_leaves_the_count_of_calls(tmp_path: Path, params: dict[str, Any]) -> None:
    """And that is said."""
    tables = {"train/loss": [(i, 3.0) for i in range(4)], "epoch": [(i, i / 9) for i in range(4)], "val/loss": [(3, 2.5)]}
    (log,) = read(live(tmp_path, tables, **params))
    assert [(r.step, r.kind) for r in log.records] == [(0, "train"), (1, "train"), (2, "train"), (3, "train"), (3, "eval")]
    assert log.run.notes == ("no global step was logged: the steps are those of DVCLive, which count its log calls",)


def test_epochs_that_are_not_even_tell_no_steps(tmp_path: Path) -> None:
    """Then something else was logged between the rows of the Trainer."""
    epochs = [(0, 0.1), (1, 0.11), (2, 0.3), (3, 0.31), (4, 0.5)]
    (log,) = read(live(tmp_path, {"loss": [(i, 3.0) for i in range(5)], "epoch": epochs}, logging_steps=5))
    assert [r.step for r in log.records] == [0, 1, 2, 3, 4]


def test_a_global_step_that_was_logged_is_the_step(tmp_path: Path) -> None:
    """As Lightning's logger does, and loops of people's own."""
    tables = {"loss": [(0, 3.0), (1, 2.0)], "global_step": [(0, 50), (1, 100)]}
    (log,) = read(live(tmp_path, tables))
    assert [r.step for r in log.records] == [50, 100] and log.run.notes == ()


def test_calls_within_one_step_are_rows_of_their_own(tmp_path: Path) -> None:
    """Somebody who never calls `next_step` has all of them at step 0."""
    (log,) = read(live(tmp_path, {"loss": [(0, 3.0), (0, 2.0), (0, 1.0)]}))
    assert [r.values["loss"] for r in log.records] == [3.0, 2.0, 1.0]


def test_a_table_of_another_system_or_age_is_read(tmp_path: Path) -> None:
    """With a time before the step, Windows line ends, text for what is not finite, and a last row that is being written."""
    folder = tmp_path / "plots" / "metrics"
    folder.mkdir(parents=True)
    (folder / "loss.tsv").write_bytes(b"timestamp\tstep\tloss\r\n17\t0\t3.5\r\n18\t1\tnan\r\n19\t2\tinf\r\n20\tx\t1\r\n21\t3\t2")
    (log,) = read(tmp_path)
    assert [(r.step, str(r.values["loss"])) for r in log.records] == [(0, "3.5"), (1, "nan"), (2, "inf")]


def test_a_table_without_a_number_is_nothing_to_analyse(tmp_path: Path) -> None:
    """DVCLive takes text for a value, too."""
    with pytest.raises(NothingToAnalyse):
        read(live(tmp_path, {"loss": [(0, "text")]}))


# --- Both --------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.tuples(FINITE, st.dictionaries(NAMES, FINITE)), min_size=1, max_size=20))
def test_what_was_logged_is_read(tmp_path: Path, rows: list[tuple[float, dict[str, float]]]) -> None:
    """Every number to its last bit, from either folder."""
    calls = [{"loss": loss, **more} for loss, more in rows]
    names = {name for call in calls for name in call}
    series = {name: [(step, call[name]) for step, call in enumerate(calls, 1) if name in call] for name in names}
    texts = {name: "".join(f"{step * 7} {value!r} {step}\n" for step, value in values) for name, values in series.items()}
    (by_mlflow,) = read(mlflow(emptied(tmp_path / "m"), texts))
    (by_dvclive,) = read(live(emptied(tmp_path / "d"), series))
    expected = tuple(Record(step, None, "train", call) for step, call in enumerate(calls, 1))
    assert by_mlflow.records == expected == by_dvclive.records


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(one=st.binary(max_size=200), other=st.binary(max_size=200), third=st.binary(max_size=100))
def test_no_bytes_are_a_traceback(tmp_path: Path, one: bytes, other: bytes, third: bytes) -> None:
    """Logs, or an error of one line, whatever the files hold."""
    run, folder = mlflow(tmp_path / "r", {"loss": "1 2 3\n", "x": ""}), live(tmp_path / "d", {"loss": [(1, 2)], "x": []}, a=1)
    (run / "params").mkdir(exist_ok=True)
    for path in (run / "metrics" / "x", folder / "plots" / "metrics" / "x.tsv"):
        path.write_bytes(b"step\tx\n" + one)
    for path in (run / "params" / "max_steps", run / "meta.yaml", folder / "params.yaml"):
        path.write_bytes(other)
    (folder / "plots" / "metrics" / "loss.tsv").write_bytes(b"step\tloss\n1\t2\n" + third)
    for made in (run, folder):
        try:
            assert read(made)[0].records
        except LossDoctorError as error:
            assert "\n" not in str(error)


def test_it_is_told_quickly_whether_a_folder_is_a_log(tmp_path: Path) -> None:
    """Also of a folder with 2,000 files and 1,000 folders, of one that is missing, and of one that holds logs as files."""
    for folder in (STORE, STORE / "0", next((STORE / "0").iterdir()), HEALTHY, BROKEN):
        assert reads_folder(folder) or not folder.is_dir()
    (tmp_path / "tb").mkdir()
    (tmp_path / "tb" / "events.out.tfevents.1.host").touch()
    assert not reads_folder(tmp_path / "tb")  # an output folder may hold event files, and a state that goes further
    write_state(tmp_path / "out" / "checkpoint-5", [{"loss": 1.0, "step": 5}])
    for number in range(2000):
        (tmp_path / "out" / f"file-{number}").touch()
    for number in range(1000):
        (tmp_path / "out" / f"folder-{number}").mkdir()
    begun = time.perf_counter()
    for folder in (tmp_path / "out", tmp_path / "missing", LOGS, LOGS / "wandb_run", HEALTHY / "plots", STORE.parent):
        assert not reads_folder(folder)
    assert time.perf_counter() - begun < 0.5
