"""What people see in TensorBoard, in a real browser: the newest and an older release, each with both of its loaders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser import until

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from test_annotate import spiked
from test_event_files import run, write

from lossdoctor.annotate import annotate, undo


@pytest.mark.slow
def test_an_error_in_the_console_is_noticed(browser: Any) -> None:
    """Where a test finds no error in the browser's console, there was none."""
    browser.open("data:text/html,<script>undefined_function()</script>")
    assert ["undefined_function is not defined" in error for error in browser.errors()] == [True] and not browser.errors()


@pytest.mark.slow
def test_a_mark_is_a_dot_on_the_curve_and_is_described(tmp_path: Path, serve: Any, browser: Any) -> None:
    """The curve is whole up to its last step; the dot is drawn where it passes; the (i) and the Text tab say what is wrong."""
    write(tmp_path / "logs" / "run", run(80, 60))
    server = serve(tmp_path / "logs")
    until(lambda: len(server.points("run", "train/loss")) == 80)
    assert annotate(tmp_path / "logs" / "run").marks["loss-collapse-to-zero"] == 1
    mark = "run/lossdoctor/loss-collapse-to-zero"
    until(lambda: server.points(mark, "train/loss"))
    for chart in (browser.time_series(server, "train/loss"), browser.scalars(server, "train/loss")):
        assert [round(step) for step, _ in chart.lines["run"]][-1] == 80
        assert chart.dots[mark] == [pytest.approx((60, 0.0), abs=0.1)] and chart.inside(chart.dots[mark][0])
    said = browser.description(server, "train/loss")
    assert f"For run {mark}:" in said and "is exactly 0.0 from step 60 on" in said
    (card,) = [card for card in browser.texts(server) if "lossdoctor/findings" in card["heading"]]
    assert (
        "Critical" in card["entries"][-1] and "gradient-not-finite" in card["entries"][-1] and "Not judged" in card["entries"][-1]
    )
    assert not browser.errors()


@pytest.mark.slow
def test_marks_of_spikes_are_in_the_picture_and_not_joined(tmp_path: Path, serve: Any, browser: Any) -> None:
    """Two losses of 60 on a loss near 2, which TensorBoard cuts off: their marks stand at the foot, and no line leads over."""
    write(tmp_path / "logs" / "run", spiked(600, 120, 400))
    annotate(tmp_path / "logs" / "run")
    server = serve(tmp_path / "logs")
    mark = "run/lossdoctor/loss-spike"
    until(lambda: len(server.points(mark, "train/loss")) == 3 and len(server.points("run", "train/loss")) >= 600)
    chart = browser.time_series(server, "train/loss")
    shown = sorted(chart.dots.get(mark, []) + chart.triangles.get(mark, []))
    places = {120, 400}
    assert {min(places, key=lambda place: abs(place - step)) for step, _ in shown} == places
    assert all(chart.inside(point) and point[1] < 10 for point in shown)
    drawn = [step for step, _ in chart.lines.get(mark, [])]
    assert not drawn or max(drawn) - min(drawn) < 20, "a line joins the marks"
    assert not browser.errors()


@pytest.mark.slow
def test_marks_come_and_go_while_tensorboard_runs(tmp_path: Path, serve: Any) -> None:
    """More rows, other marks: those of before are replaced in what TensorBoard hands out, and undoing empties it."""
    folder = tmp_path / "logs" / "run"
    path = write(folder, spiked(600, 120))
    server = serve(tmp_path / "logs")
    annotate(folder)
    mark = "run/lossdoctor/loss-spike"
    assert [step for step, _ in until(lambda: server.points(mark, "train/loss"))] == [120]
    later = write(tmp_path / "later", spiked(600, 120, 400))
    path.write_bytes(later.read_bytes())
    annotate(folder)
    assert until(lambda: [step for step, _ in server.points(mark, "train/loss")] == [120, 121, 400])
    undo(folder)
    until(lambda: mark not in server.json("data/runs"))


@pytest.mark.slow
def test_the_trainers_own_curve_is_whole_while_both_write(train: Any, tmp_path: Path, serve: Any, browser: Any) -> None:
    """A training of 80 steps breaks at 40: at step 60 TensorBoard has the mark, in the end the curve has all of its 80 points."""
    from trainers import NanLoss
    from transformers import TrainerCallback

    from lossdoctor import LossDoctorCallback

    (tmp_path / "out").mkdir()
    server = serve(tmp_path / "out")
    seen: list[str] = []

    def marked() -> list[str]:
        return [run for run in server.json("data/runs") if "/lossdoctor/" in run and server.points(run, "train/loss")]

    class Wait(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 60:
                seen.extend(until(marked))

    train(
        NanLoss,
        nan_in=lambda batch: batch >= 40,
        doctor=LossDoctorCallback(),
        callbacks=[Wait()],
        max_steps=80,
        report_to=["tensorboard"],
    )
    run = seen[0].partition("/lossdoctor/")[0]
    steps = until(lambda: [step for step, _ in server.points(run, "train/loss")][79:] and server.points(run, "train/loss"))
    assert [step for step, _ in steps] == list(range(1, 81))
    assert len(list((tmp_path / "out" / run).glob("*tfevents*"))) == 1, (
        "a second file beside the Trainer's would freeze its curve"
    )
    chart = browser.time_series(server, "train/loss")
    dots = [point for mark in seen for point in chart.dots.get(mark, []) + chart.triangles.get(mark, [])]
    assert dots and all(38 <= step <= 46 for step, _ in dots) and not browser.errors()
