"""Marks beside a Trainer that writes for TensorBoard, in whatever place its release chooses for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorboard", reason="tensorboard is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

import transformers
from test_annotate import marks_in, tree
from trainers import NanLoss, trains_in

from lossdoctor import LossDoctorCallback
from lossdoctor.mark_events import FOLDER, SUFFIX
from lossdoctor.readers.event_files import EventFile
from lossdoctor.readers.folder import event_files

pytestmark = pytest.mark.slow

VERSION_4 = transformers.__version__.startswith("4.")
BROKEN: dict[str, Any] = {"kind": NanLoss, "nan_in": lambda batch: batch >= 20, "report_to": ["tensorboard"], "max_steps": 30}


def run_folder(top: Path) -> Path:
    """The one folder that the Trainer's event files are in."""
    (folder,) = {path.parent for path in top.rglob("*tfevents*") if FOLDER not in path.parts and event_files(path.parent)}
    return folder


def steps_in(folder: Path) -> list[int]:
    """The steps of the Trainer's own curve."""
    return sorted(p.step for path in event_files(folder) for p in EventFile(path).points() if p.tag == "train/loss")


def test_a_broken_run_is_marked_beside_the_trainers_own_curve(tmp_path: Path) -> None:
    """Every row is in the Trainer's file, which stays the only one in its folder; marks stand in sub-runs."""
    trains_in(tmp_path / "out")(doctor=LossDoctorCallback(), **BROKEN)
    folder = run_folder(tmp_path / "out" / "runs")
    assert len(event_files(folder)) == 1 and steps_in(folder) == list(range(1, 31))
    marks = marks_in(folder)
    assert marks and all(19 <= point.step <= 30 for points in marks.values() for point in points)


@pytest.mark.parametrize("known", [True, False], ids=["by its writer", "by its folder"])
def test_the_folder_is_found_where_it_was_chosen(tmp_path: Path, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an argument in version 4 and by an environment variable in version 5, also where the Trainer itself is not found."""
    place = tmp_path / "elsewhere"
    more = {"logging_dir": str(place)} if VERSION_4 else {}
    if not VERSION_4:
        monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(place))
    if not known:
        monkeypatch.setattr("lossdoctor.probes.trainer.find", lambda callback: None)
    trains_in(tmp_path / "out")(doctor=LossDoctorCallback(), **BROKEN, **more)
    assert marks_in(place) and not list((tmp_path / "out").rglob(f"*{SUFFIX}"))


def test_without_a_known_place_the_newest_run_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither the Trainer nor a folder is known, as for a Trainer that is driven by something else."""
    monkeypatch.setattr("lossdoctor.probes.trainer.find", lambda callback: None)
    trains_in(tmp_path / "out")(doctor=LossDoctorCallback(), **BROKEN)
    assert marks_in(run_folder(tmp_path / "out" / "runs"))


def test_a_healthy_run_leaves_no_trace(tmp_path: Path) -> None:
    """Nor does a doctor with sinks of its own, nor one whose Trainer does not write for TensorBoard."""
    trains_in(tmp_path / "healthy")(doctor=LossDoctorCallback(), report_to=["tensorboard"], max_steps=30)
    trains_in(tmp_path / "own")(doctor=LossDoctorCallback(sinks=[]), **BROKEN)
    trains_in(tmp_path / "none")(doctor=LossDoctorCallback(), **{**BROKEN, "report_to": []})
    assert not list(tmp_path.rglob(f"*{SUFFIX}"))


def test_a_failure_of_ours_is_said_once_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that takes no marks: training, its log and its own curve go on to the end."""

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lossdoctor.sinks.tensorboard.append", full)
    trainer, doctor = trains_in(tmp_path / "out")(doctor=LossDoctorCallback(), **BROKEN)
    said = capsys.readouterr().err
    assert said.count("No space left on device") == 1 and "switched off for tensorboard" in said
    assert trainer.state.global_step == 30 and doctor is not None and doctor.failure is None
    assert steps_in(run_folder(tmp_path / "out" / "runs")) == list(range(1, 31))


def test_a_resumed_training_in_the_same_folder_keeps_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was marked before stays; the run that goes on adds what is new, in files of its own."""
    place = tmp_path / "logs"
    more = {"logging_dir": str(place)} if VERSION_4 else {}
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(place))
    settings = {**BROKEN, "nan_in": lambda batch: batch in (12, 13, 14, 26, 27, 28), "save_strategy": "steps", "save_steps": 10}
    train = trains_in(tmp_path / "out")
    train(doctor=LossDoctorCallback(), **{**settings, "max_steps": 20}, **more)
    before = tree(place / FOLDER)
    train(doctor=LossDoctorCallback(), resume=str(tmp_path / "out" / "checkpoint-10"), **settings, **more)
    after = tree(place / FOLDER)
    assert before and before.items() <= after.items()
