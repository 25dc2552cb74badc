"""What TensorBoard event files hold, and what is read from them: every point, as tensorboard's own loader reads it."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path
from typing import Any

import pytest
from conftest import write_state

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

from lossdoctor.analysis import analyze, load
from lossdoctor.model import LossDoctorError, NothingToAnalyse
from lossdoctor.parsing.column_names import column
from lossdoctor.readers.event_files import EventFile, Point


def write(folder: Path, points: list[Point]) -> Path:
    """Points through tensorboard's own writer."""
    writer = EventFileWriter(str(folder))
    for point in points:
        summary = Summary(value=[Summary.Value(tag=point.tag, simple_value=point.value)])
        writer.add_event(Event(wall_time=point.wall_time, step=point.step, summary=summary))
    writer.close()
    return next(folder.glob("*tfevents*"))


def loaded(path: Path) -> list[Point]:
    """The scalars that tensorboard's own loader finds; it turns every one of them into a tensor."""
    found = []
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            if value.WhichOneof("value") == "tensor" and value.tensor.dtype == 1:
                found.append(Point(value.tag, event.step, float(tensor_util.make_ndarray(value.tensor)), event.wall_time))
    return found


def same(one: list[Point], other: list[Point]) -> bool:
    """Equal in every field, NaN being equal to NaN."""
    return list(map(repr, one)) == list(map(repr, other))


def run(rows: int = 60, bad_from: int = 40) -> list[Point]:
    """A run as the Trainer's callback writes it, whose loss breaks."""
    points = []
    for step in range(1, rows + 1):
        broken = step >= bad_from
        row = {"loss": 0.0 if broken else 2.5 - step / 50, "grad_norm": math.nan if broken else 1.25, "learning_rate": 5e-5}
        row["epoch"] = step / 100
        points += [Point(f"train/{name}", step, value, 1000.0 + step) for name, value in row.items()]
    return points


def test_every_point_is_the_one_that_tensorboards_own_loader_reads(tmp_path: Path) -> None:
    """20,000 points of 4 tags, with NaN, infinities and numbers of every size: tags, steps, values and times agree."""
    random.seed(1)
    values = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-45, 3e38]
    points = [
        Point(f"train/{'abcd'[i % 4]}", i // 4, random.choice(values) if i % 50 == 0 else random.gauss(0, 10), 1.7e9 + i / 7)
        for i in range(20_000)
    ]
    path = write(tmp_path, points)
    read = list(EventFile(path).points())
    assert len(read) == 20_000 and same(read, loaded(path))


def test_scalars_as_tensors_are_read_too(tmp_path: Path) -> None:
    """TensorFlow writes a scalar as a tensor: what tensorboard's own loader makes of it is what we read."""
    writer = EventFileWriter(str(tmp_path))
    for step in range(5):
        tensor = tensor_util.make_tensor_proto(step / 3, dtype="float32")
        value = Summary.Value(tag="loss", tensor=tensor)
        if step == 0:
            value.metadata.plugin_data.plugin_name = "scalars"
        writer.add_event(Event(wall_time=step, step=step, summary=Summary(value=[value])))
    writer.close()
    path = next(tmp_path.glob("*tfevents*"))
    read = list(EventFile(path).points())
    assert len(read) == 5 and same(read, loaded(path))


def test_a_run_is_read_from_its_folder_as_from_its_state_file(tmp_path: Path) -> None:
    """Columns have the names of the log, steps and epochs theirs, and a rate of 5e-05 is 5e-05."""
    write(tmp_path, run())
    (log,) = load(tmp_path)
    assert [r.step for r in log.records] == list(range(1, 61)) and {r.kind for r in log.records} == {"train"}
    assert log.records[0].values["learning_rate"] == 5e-05 and log.records[0].values["loss"] == pytest.approx(2.48)
    assert log.records[9].epoch == 0.1 and not log.run.notes
    (report,) = analyze(tmp_path)
    assert report.verdict == "critical" and report.run.kind == "event_files" and report.last_good_step == 39


def test_an_output_folder_is_judged_by_the_log_that_goes_furthest(tmp_path: Path) -> None:
    """What breaks after the last checkpoint is in the event files alone; a state that is as new has more digits."""
    events = write(tmp_path / "runs" / "Nov21_host", run(60, bad_from=40))
    rows = [{"step": step, "loss": 2.5 - step / 50, "grad_norm": 1.25, "learning_rate": 5e-5} for step in range(1, 31)]
    state = write_state(tmp_path / "checkpoint-30", rows)
    os.utime(state, (1e9, 1e9))
    os.utime(events, (1e9 + 600, 1e9 + 600))
    (report,) = analyze(tmp_path)
    assert (
        report.verdict == "critical" and report.last_step == 60 and report.last_good_checkpoint == str(tmp_path / "checkpoint-30")
    )
    os.utime(events, (1e9 + 5, 1e9 + 5))
    (report,) = analyze(tmp_path)
    assert report.run.kind == "trainer_state" and report.last_step == 30


def test_several_files_of_a_run_are_one_run(tmp_path: Path) -> None:
    """A resumed training writes a second file; its rows go on where the first left off."""
    write(tmp_path, run(30))
    first = next(tmp_path.glob("*tfevents*"))
    first.rename(tmp_path / "events.out.tfevents.1000000000.a")
    write(tmp_path, [p for p in run(60) if p.step > 20])
    (log,) = load(tmp_path)
    assert [r.step for r in log.records] == list(range(1, 61)) and log.run.resumed_at == (21,)


def test_evaluations_and_the_summary_are_rows_of_their_own(tmp_path: Path) -> None:
    """What the Trainer logs at one step in several calls is not mixed up."""
    points = run(10)
    points += [Point("eval/loss", 10, 2.0, 1011.0), Point("eval/runtime", 10, 1.0, 1011.0), Point("train/epoch", 10, 0.1, 1011.0)]
    points += [Point("train/train_runtime", 10, 9.0, 1012.0), Point("train/train_loss", 10, 2.1, 1012.0)]
    write(tmp_path, points)
    (log,) = load(tmp_path)
    assert [r.kind for r in log.records[-3:]] == ["train", "eval", "summary"]
    assert log.records[-2].values == {"eval_loss": 2.0, "eval_runtime": 1.0} and log.records[-2].epoch == 0.1


@pytest.mark.parametrize("cut", [1, 3, 10, 20, 40])
def test_a_file_that_is_being_written_is_read_up_to_its_last_whole_record(tmp_path: Path, cut: int) -> None:
    """A tail that is cut off costs the last record alone, and is said."""
    path = write(tmp_path, run(20))
    whole = list(EventFile(path).points())
    path.write_bytes(path.read_bytes()[:-cut])
    file = EventFile(path)
    assert list(file.points()) == whole[:-1] and "cut off" in file.problem
    assert any("cut off" in note for note in load(path)[0].run.notes)


def test_room_that_is_kept_for_later_is_no_record(tmp_path: Path) -> None:
    """Some file systems leave zeros after what was written; they are said to be cut off, and the rows before them are read."""
    path = write(tmp_path, run(20))
    whole = list(EventFile(path).points())
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + 2**30)  # zeros that take no room on the disk
    file = EventFile(path)
    assert same(list(file.points()), whole) and "cut off" in file.problem


def test_what_is_written_later_is_read_later(tmp_path: Path) -> None:
    """A second call gives only what has come since the first, also when that one ended in the middle of a record."""
    path = write(tmp_path, run(20))
    data = path.read_bytes()
    path.write_bytes(data[:-700])
    file = EventFile(path)
    first = list(file.points())
    path.write_bytes(data)
    assert same(first + list(file.points()), list(EventFile(path).points())) and not file.problem


def test_a_broken_record_ends_the_file_and_is_said(tmp_path: Path) -> None:
    """Garbage inside a file is no traceback: what stood before it is judged."""
    path = write(tmp_path, run(20))
    data = bytearray(path.read_bytes())
    middle = data.index(b"train/loss", len(data) // 2)
    data[middle - 4 : middle + 20] = b"\xff" * 24
    path.write_bytes(bytes(data))
    (log,) = load(path)
    assert 5 < len(log.records) < 20 and any("broken" in note for note in log.run.notes)


def test_a_file_without_scalars_is_nothing_to_analyse(tmp_path: Path) -> None:
    """As the Trainer's callback leaves one behind when training fails at once."""
    with pytest.raises(NothingToAnalyse, match="no scalar"):
        load(write(tmp_path, []))


def test_without_tensorboard_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is not needed for anything else, so it may be missing."""
    path = write(tmp_path, run(5))
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(LossDoctorError, match="pip install tensorboard"):
        load(path)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("train/loss", "loss"),
        ("train/grad_norm", "grad_norm"),
        ("eval/loss", "eval_loss"),
        ("eval/news_loss", "eval_news_loss"),
        ("test/loss", "test_loss"),
        ("train/rewards/chosen", "rewards/chosen"),
    ],
)
def test_a_tag_has_the_name_of_its_column(tag: str, name: str) -> None:
    """What the Trainer's callback writes under a prefix is called as in the log itself."""
    assert column(tag) == name


@pytest.mark.slow
def test_the_event_files_of_a_training_tell_what_its_state_tells(train: Any, tmp_path: Path) -> None:
    """Verdict, first cause, symptoms and facts of the arguments are the same from both logs of one run."""
    train(report_to=["tensorboard"], learning_rate=3.0, max_steps=40)
    (by_state,) = analyze(tmp_path / "out")
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    (by_events,) = analyze(folder)
    assert by_events.verdict == by_state.verdict == "critical"
    assert [(s.slug, s.onset) for s in by_events.symptoms] == [(s.slug, s.onset) for s in by_state.symptoms]
    assert by_events.diagnoses[0].slug == by_state.diagnoses[0].slug
    (tmp_path / "out" / "training_args.bin").unlink()
    (alone,) = load(folder)
    assert alone.run.get("learning_rate") == 3.0 and alone.run.facts["learning_rate"].source == "event file (args)"
