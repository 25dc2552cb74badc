"""Marks in TensorBoard: where they stand, what they say, and that nothing but them is touched."""

from __future__ import annotations

import math
import os
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_state

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_event_files import loaded, run, same, write

from lossdoctor.analysis import analyze
from lossdoctor.annotate import annotate, runs, undo
from lossdoctor.cli import main
from lossdoctor.dots import apart, curves, dots
from lossdoctor.engine import Engine, Event
from lossdoctor.mark_events import FOLDER, SUFFIX
from lossdoctor.model import LossDoctorError, Record
from lossdoctor.readers.event_files import EventFile, Point
from lossdoctor.sinks.tensorboard import TensorBoard, address


def spiked(rows: int = 300, *at: int) -> list[Point]:
    """A healthy run, but for single losses of 60 on a loss near 2, with gradients to match."""
    draw = random.Random(3)
    points = []
    for step in range(1, rows + 1):
        loss = 60.0 if step in at else 1.5 + 2 / (1 + step / 20) + draw.gauss(0, 0.05)
        row = {
            "loss": loss,
            "grad_norm": 30.0 if step in at else 1 + draw.random() / 5,
            "learning_rate": 5e-5 * (1 - step / rows),
        }
        points += [Point(f"train/{name}", step, value, 1000.0 + step) for name, value in row.items()]
    return points


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def marks_in(folder: Path) -> dict[str, list[Point]]:
    """The points of the sub-runs, by kind."""
    found: dict[str, list[Point]] = {}
    for path in sorted((folder / FOLDER).rglob(f"*{SUFFIX}")):
        found.setdefault(path.parent.name, []).extend(EventFile(path).points())
    return {kind: points for kind, points in found.items() if points}


def test_a_dot_stands_on_the_curve_of_its_series(tmp_path: Path) -> None:
    """Same tag, same step, same time; at the last finite height where the value is NaN."""
    write(tmp_path, run())
    done = annotate(tmp_path)
    found = marks_in(tmp_path)
    assert done.marks == dict.fromkeys(found, 1) and "gradient-not-finite" in found and done.written
    assert found["gradient-not-finite"] == [Point("train/grad_norm", 40, 1.25, 1040.0)]
    assert found["loss-collapse-to-zero"] == [Point("train/loss", 40, 0.0, 1040.0)]


@pytest.mark.parametrize("tag", ["loss", "train_loss", "Loss/train", "training_loss"])
def test_a_loss_of_another_name_is_marked_as_well(tmp_path: Path, tag: str) -> None:
    """As in scripts that log without the Trainer; what has no chart of its own is marked on that of the loss."""
    write(tmp_path, [p._replace(tag=tag) for p in spiked(600, 120, 400) if p.tag == "train/loss"])
    done = annotate(tmp_path)
    assert done.tags == (tag,) and [p.step for p in marks_in(tmp_path)["loss-spike"] if not math.isnan(p.value)] == [120, 400]


def test_a_dot_of_a_spike_stands_at_its_foot_where_the_chart_shows_it(tmp_path: Path) -> None:
    """TensorBoard leaves outliers out of the picture: 60 on a loss near 2 is marked at 2, and described by its value."""
    write(tmp_path, spiked(300, 120))
    annotate(tmp_path)
    (point,) = marks_in(tmp_path)["loss-spike"]
    assert point.step == 120 and point.value == pytest.approx(1.8, abs=0.1)


def test_several_dots_of_a_kind_are_not_joined_by_a_line(tmp_path: Path) -> None:
    """A NaN between them, at the time of the one before; none after the last."""
    write(tmp_path, spiked(600, 120, 400))
    annotate(tmp_path)
    points = marks_in(tmp_path)["loss-spike"]
    assert [p.step for p in points] == [120, 121, 400]
    assert [math.isnan(p.value) for p in points] == [False, True, False]
    assert [p.wall_time for p in points] == [1120.0, 1120.0, 1400.0]


def test_an_abandoned_branch_has_no_marks(tmp_path: Path) -> None:
    """A training that was resumed at step 200 and is at 250: what the branch before it logged up to 300 is no curve."""
    first, second = spiked(300, 280), [p for p in spiked(250) if p.step > 200]
    drawn = curves([*first, *second])
    assert [p.step for p in drawn["train/loss"]] == list(range(1, 251))
    for name, points in (("1", first), ("2", second)):
        write(tmp_path / "x", points).rename(tmp_path / f"events.out.tfevents.{name}")
    assert not annotate(tmp_path).marks


@given(st.lists(st.integers(1, 60), max_size=8, unique=True))
@settings(max_examples=60, deadline=None)
def test_points_are_separated_in_order_whatever_their_steps(steps: list[int]) -> None:
    """Steps rise, every point is there, and between two that are not neighbours is a NaN."""
    points = [Point("train/loss", step, 1.0, float(step)) for step in sorted(steps)]
    separated = apart(points)
    assert [p for p in separated if not math.isnan(p.value)] == points
    assert all(a.step < b.step for a, b in pairwise(separated))
    gaps = sum(b.step > a.step + 1 for a, b in pairwise(points))
    assert sum(math.isnan(p.value) for p in separated) == gaps


def test_the_description_and_the_text_are_what_tensorboard_reads(tmp_path: Path) -> None:
    """TensorBoard's own accumulator finds the description with the dot, and one text with the whole report."""
    write(tmp_path, run())
    annotate(tmp_path)
    dot = EventAccumulator(str(tmp_path / FOLDER / "loss-collapse-to-zero")).Reload()
    assert "from step 40" in dot.SummaryMetadata("train/loss").summary_description
    text = EventAccumulator(str(tmp_path / FOLDER)).Reload()
    (event,) = text.Tensors("lossdoctor/findings")
    assert b"### Why" in event.tensor_proto.string_val[0] and event.step == 60
    assert text.SummaryMetadata("lossdoctor/findings").plugin_data.plugin_name == "text"


def test_tensorboards_own_loader_reads_every_mark_as_it_was_meant(tmp_path: Path) -> None:
    """Tags, steps, values to the last bit, NaN and times: what was to be written is what is read, by it and by us."""
    for name, points in (("spiked", spiked(600, 120, 400)), ("broken", run())):
        write(tmp_path / name, points)
        report = annotate(tmp_path / name).report
        for kind, placed in dots(report, curves(points)).items():
            (path,) = (tmp_path / name / FOLDER / kind).iterdir()
            wanted = [p._replace(value=float(np.float32(p.value))) for p in apart([dot.point for dot in placed])]
            assert same(loaded(path), wanted) and same(list(EventFile(path).points()), wanted)


def test_annotating_twice_changes_nothing_the_second_time(tmp_path: Path) -> None:
    """Not a byte, not a name."""
    write(tmp_path, run())
    annotate(tmp_path)
    before = tree(tmp_path)
    assert not annotate(tmp_path).written and tree(tmp_path) == before


def test_more_rows_replace_the_marks(tmp_path: Path) -> None:
    """TensorBoard forgets what was marked before; kinds that are no more have no folder any more."""
    path = write(tmp_path, spiked(300, 120))
    annotate(tmp_path)
    path.unlink()
    path = write(tmp_path, spiked(300, 80))
    assert annotate(tmp_path).written and not annotate(tmp_path).written
    seen = EventAccumulator(str(tmp_path / FOLDER / "loss-spike")).Reload().Scalars("train/loss")
    assert [event.step for event in seen] == [80]
    path.unlink()
    write(tmp_path, run())
    annotate(tmp_path)
    assert "loss-spike" not in marks_in(tmp_path) and not (tmp_path / FOLDER / "loss-spike").exists()


def test_marks_that_were_cut_off_are_written_anew(tmp_path: Path) -> None:
    """As when the machine went down while they were written."""
    write(tmp_path, run())
    annotate(tmp_path)
    whole = marks_in(tmp_path)
    (path,) = (tmp_path / FOLDER / "gradient-not-finite").iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    assert annotate(tmp_path).written and marks_in(tmp_path) == whole


def test_the_files_of_the_run_are_never_touched_and_undo_leaves_nothing(tmp_path: Path) -> None:
    """Also when somebody keeps a file of theirs in a folder of that name: it stays."""
    write(tmp_path, run())
    before = tree(tmp_path)
    annotate(tmp_path)
    assert {name: data for name, data in tree(tmp_path).items() if not name.startswith(FOLDER)} == before
    (tmp_path / FOLDER / "loss-collapse-to-zero" / "notes.txt").write_text("mine")
    assert undo(tmp_path) > 1
    assert tree(tmp_path) == {**before, f"{FOLDER}/loss-collapse-to-zero/notes.txt": b"mine"}
    (tmp_path / FOLDER / "loss-collapse-to-zero" / "notes.txt").unlink()
    undo(tmp_path)
    assert not (tmp_path / FOLDER).exists() and tree(tmp_path) == before and undo(tmp_path) == 0


def test_a_run_that_is_called_lossdoctor_is_a_run(tmp_path: Path) -> None:
    """Only files that end as ours do are taken for marks."""
    write(tmp_path / FOLDER, run())
    before = tree(tmp_path)
    assert runs(tmp_path) == [tmp_path / FOLDER] and undo(tmp_path) == 0 and tree(tmp_path) == before


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A folder named lossdoctor that leads elsewhere is nobody's to delete from."""
    write(tmp_path / "run", run())
    elsewhere = write(tmp_path / "elsewhere", run())
    elsewhere.rename(elsewhere.with_name(elsewhere.name + SUFFIX))
    (tmp_path / "run" / FOLDER).symlink_to(tmp_path / "elsewhere")
    assert undo(tmp_path / "run") == 0 and len(tree(tmp_path / "elsewhere")) == 1


def test_a_healthy_run_gets_no_mark(tmp_path: Path) -> None:
    """Silence is a feature in TensorBoard too: not even a folder."""
    write(tmp_path, spiked(300))
    assert not annotate(tmp_path).marks and not (tmp_path / FOLDER).exists()


def test_a_state_file_of_another_run_is_refused(tmp_path: Path) -> None:
    """Runs are matched by their losses, not by their names."""
    write(tmp_path, run())
    rows = [{"step": int(p.step), "loss": round(p.value, 4), "learning_rate": 5e-5} for p in run() if p.tag == "train/loss"]
    assert annotate(tmp_path, state=write_state(tmp_path / "a", rows)).marks
    before = tree(tmp_path / FOLDER)
    rows[7]["loss"] += 0.01
    with pytest.raises(LossDoctorError, match=r"not of this run: its loss at step 8 is 2.35, in the event files it is 2.34"):
        annotate(tmp_path, state=write_state(tmp_path / "b", rows))
    with pytest.raises(LossDoctorError, match="no step of it has a loss"):
        annotate(tmp_path, state=write_state(tmp_path / "c", [{"step": 9000, "loss": 1.0}]))
    assert tree(tmp_path / FOLDER) == before


def test_the_command_marks_every_run_below_and_says_where_to_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a run, then the address of the chart; a folder without scalars is passed over."""
    write(tmp_path / "one", run())
    write(tmp_path / "two", spiked(300))
    write(tmp_path / "one" / "1690000000.1", [])  # as torch's add_hparams leaves one
    with pytest.raises(SystemExit) as ended:
        main(["annotate", str(tmp_path)])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "one: critical: " in said and "two: healthy: nothing to mark" in said
    assert address() in said and f"tensorboard --logdir {tmp_path}" in said and said.count("\n") == 6
    with pytest.raises(SystemExit):
        main(["annotate", str(tmp_path), "--undo"])
    assert not list(tmp_path.rglob(f"*{SUFFIX}"))


def test_a_log_directory_that_is_a_run_beside_one_called_lossdoctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each keeps its own marks, a second time changes nothing, and all of them can be taken away."""
    for folder in (tmp_path, tmp_path / FOLDER, tmp_path / "new\nline"):
        write(folder, run())
    before = tree(tmp_path)
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(["annotate", str(tmp_path)])
        assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.count("(there already)") == 3 and "new�line: critical" in said
    with pytest.raises(SystemExit):
        main(["annotate", str(tmp_path), "--undo"])
    assert tree(tmp_path) == before


def test_a_run_that_cannot_be_marked_does_not_keep_the_others_from_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said in a line, with exit code 2; so is a single run without a scalar, and a curve without a number."""
    for name in ("a", "b"):
        write(tmp_path / "two" / name, run())
    (tmp_path / "two" / "a" / FOLDER).write_text("a file of somebody")
    write(tmp_path / "none", [])
    write(tmp_path / "nan", [Point("train/loss", step, math.nan, 1000.0 + step) for step in range(30)])
    said = []
    for name, code in (("two", 2), ("none", 3), ("nan", 0)):
        with pytest.raises(SystemExit) as ended:
            main(["annotate", str(tmp_path / name)])
        assert ended.value.code == code
        said.append(capsys.readouterr())
    assert "b: critical: gradient-not-finite 1" in said[0].out and marks_in(tmp_path / "two" / "b")
    assert (
        said[0].err.startswith(f"lossdoctor: cannot write into {tmp_path / 'two' / 'a' / FOLDER}: ")
        and said[0].err.count("\n") == 1
    )
    assert "no scalar of a training" in said[1].err and "the report is in the Text tab" in said[2].out


@pytest.mark.parametrize("wrong", ["absent", "file", "empty"])
def test_a_wrong_folder_is_one_line_and_exit_2(tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was found, what was expected."""
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["annotate", str(tmp_path / wrong)])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and "event files" in said


def live(folder: Path, points: list[Point]) -> TensorBoard:
    """The sink beside a run that is written row by row, as the Trainer does it."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer, sink = EventFileWriter(str(folder)), TensorBoard(folder)
    engine = Engine(sinks=[sink], strict=True)
    rows: dict[int, list[Point]] = {}
    for point in points:
        rows.setdefault(point.step, []).append(point)
    for step, row in rows.items():
        for point in row:
            value = Summary.Value(tag=point.tag, simple_value=point.value)
            writer.add_event(Event(wall_time=point.wall_time, step=step, summary=Summary(value=[value])))
        writer.flush()
        engine.observe(Record(step, None, "train", {p.tag.removeprefix("train/"): p.value for p in row}))
    engine.finish()
    writer.close()
    return sink


def test_live_marks_are_those_of_afterwards(tmp_path: Path) -> None:
    """The same dots whether they came one by one or all at once."""
    for name, points in (("broken", run()), ("spiked", spiked(600, 120, 400))):
        live(tmp_path / name, points)
        during = {kind: [p.step for p in there] for kind, there in marks_in(tmp_path / name).items()}
        undo(tmp_path / name)
        annotate(tmp_path / name)
        assert during == {kind: [p.step for p in there] for kind, there in marks_in(tmp_path / name).items()}


def test_each_spike_of_a_series_has_its_dot(tmp_path: Path) -> None:
    """From the third one on they are one warning; the chart still shows where each was, live as well as afterwards."""
    at = (120, 200, 290, 400, 510)
    live(tmp_path / "live", spiked(600, *at))
    write(tmp_path / "after", spiked(600, *at))
    done = annotate(tmp_path / "after")
    (spikes,) = (s for s in done.report.symptoms if s.slug == "loss-spike")
    assert spikes.steps == at and done.marks["loss-spike"] == 5
    for name in ("live", "after"):
        assert shown(tmp_path / name / FOLDER / "loss-spike") == list(at)


def shown(folder: Path) -> list[int]:
    """The steps of the dots that TensorBoard has of a sub-run."""
    events = EventAccumulator(str(folder)).Reload().Scalars("train/loss") if folder.exists() else []
    return [event.step for event in events if not math.isnan(event.value)]


def test_what_is_no_finding_in_the_end_has_no_mark(tmp_path: Path) -> None:
    """A warning that turned out as part of another one, or as expected, is taken back when the run is over."""
    points = spiked(600, 120, 400)
    write(tmp_path, points)
    before = tree(tmp_path)
    (report,) = analyze(tmp_path)
    _, second = (s for s in report.symptoms if s.slug == "loss-spike")
    sink = TensorBoard(tmp_path)
    sink(Event("opened", second, lambda: report))
    assert shown(tmp_path / FOLDER / "loss-spike") == [120, 400]
    sink(Event("finished", None, lambda: replace(report, symptoms=(second,))))
    assert shown(tmp_path / FOLDER / "loss-spike") == [400]
    sink(Event("finished", None, lambda: replace(report, symptoms=())))
    assert tree(tmp_path) == before and not (tmp_path / FOLDER).exists()


def test_a_mark_is_there_as_soon_as_its_row_is(tmp_path: Path) -> None:
    """Live, the dot and the summary are on disk before the next row is logged."""
    seen: list[int] = []

    class Watched(TensorBoard):
        def __call__(self, event: Any) -> None:
            super().__call__(event)
            seen.append(sum(len(points) for points in marks_in(self.folder).values()))

    write(tmp_path, run())
    engine = Engine(sinks=[Watched(tmp_path)], strict=True)
    for step in range(1, 50):
        broken = step >= 40
        engine.observe(Record(step, None, "train", {"loss": 0.0 if broken else 2.5 - step / 50, "grad_norm": 1.25}))
        if seen:
            break
    assert step <= 42 and seen[0] > 0


def test_the_memory_of_the_sink_does_not_grow_with_the_run(tmp_path: Path) -> None:
    """Of 40,000 rows a few thousand points are kept, the latest of them all, and the mark still stands where it belongs."""
    write(tmp_path, [Point("train/loss", step, 2.0 if step != 39_000 else 60.0, float(step)) for step in range(1, 40_001)])
    sink = TensorBoard(tmp_path)
    curve = sink._drawn()["train/loss"]
    assert len(curve) <= 8192 and [p.step for p in curve[-4000:]] == list(range(36_001, 40_001)) and curve[0].step == 1
    assert max(b.step - a.step for a, b in pairwise(curve)) <= 32, "no stretch of the run is left out"
    assert sink._drawn()["train/loss"] == curve


def test_a_symptom_that_begins_before_the_last_mark_is_added_in_order(tmp_path: Path) -> None:
    """TensorBoard would forget the later dot: it is told to begin anew and given both."""
    write(tmp_path, spiked(600, 120, 400))
    points = [p for path in tmp_path.glob("*tfevents*") for p in EventFile(path).points()]
    engine = Engine()
    for point in points:
        if point.tag == "train/loss":
            engine.observe(
                Record(point.step, None, "train", {"loss": point.value, "grad_norm": 30.0 if point.value > 50 else 1.0})
            )
    report = engine.report()
    sink = TensorBoard(tmp_path)
    (kind, (first, second)), *_ = dots(report, curves(points)).items()
    sink._add(kind, first.tag, [second], report)
    sink._add(kind, first.tag, [first], report)
    loaded = EventAccumulator(str(tmp_path / FOLDER / kind)).Reload().Scalars("train/loss")
    assert [event.step for event in loaded] == [120, 121, 400]


def test_a_run_with_a_doctor_in_it_is_not_annotated_from_outside(tmp_path: Path) -> None:
    """Two writers would spoil each other's files; when the training is over or long silent, marks are replaced."""
    live(tmp_path, run())
    with pytest.raises(LossDoctorError, match="being marked by the LossDoctorCallback"):
        annotate(tmp_path)
    for path in tmp_path.rglob("*tfevents*"):
        os.utime(path, (1e9, 1e9))
    assert annotate(tmp_path).written
