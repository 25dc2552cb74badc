"""What people see in TensorBoard, in a real browser: the newest and an older release, each with both of its loaders."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from browser import until

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

START = 1_700_000_000.0
#: A description of a plain value is shown by both loaders only where its plugin and the class of its data are said.
SPIKE = SummaryMetadata(
    plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"), data_class=1, summary_description="**Spike** at step 40"
)
TEXT = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"), data_class=2)


def loss(step: int) -> float:
    """A curve that falls, with a spike."""
    return 2 + math.exp(-step / 20) + (0.5 if step == 40 else 0)


def write(folder: Path, values: dict[int, Summary.Value]) -> None:
    """Values by their steps, through tensorboard's own writer."""
    writer = EventFileWriter(str(folder))
    for step, value in values.items():
        writer.add_event(Event(wall_time=START + step, step=step, summary=Summary(value=[value])))
    writer.close()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A run of 80 steps, and in sub-runs of it a mark on its curve and a text."""
    folder = tmp_path / "logs"
    write(folder / "run", {step: Summary.Value(tag="train/loss", simple_value=loss(step)) for step in range(1, 81)})
    mark = Summary.Value(tag="train/loss", simple_value=loss(40), metadata=SPIKE)
    write(folder / "run/lossdoctor/loss-spike", {40: mark})
    text = make_tensor_proto([b"# Findings\n\n**spike** at 40"], dtype="string")
    write(folder / "run/lossdoctor/text", {40: Summary.Value(tag="findings", tensor=text, metadata=TEXT)})
    return folder


@pytest.mark.slow
def test_an_error_in_the_console_is_noticed(browser: Any) -> None:
    """Where a test finds no error in the browser's console, there was none."""
    browser.open("data:text/html,<script>undefined_function()</script>")
    assert ["undefined_function is not defined" in error for error in browser.errors()] == [True] and not browser.errors()


@pytest.mark.slow
def test_a_point_of_a_sub_run_is_a_dot_on_the_curve_and_is_described(logs: Path, serve: Any, browser: Any) -> None:
    """The curve is whole up to its last step; the point is drawn where the curve passes; the (i) and the text can be read."""
    server = serve(logs)
    until(lambda: len(server.points("run", "train/loss")) == 80 and server.points("run/lossdoctor/loss-spike", "train/loss"))
    series, scalars = browser.time_series(server, "train/loss"), browser.scalars(server, "train/loss")
    assert [round(step) for step, _ in series.lines["run"]] == list(range(1, 81))
    for chart in (series, scalars):
        assert chart.lines["run"][-1] == pytest.approx((80, loss(80)), rel=0.01)
        assert chart.dots["run/lossdoctor/loss-spike"] == [pytest.approx((40, loss(40)), rel=0.01)]
        assert chart.inside(chart.dots["run/lossdoctor/loss-spike"][0])
    assert "For run run/lossdoctor/loss-spike:\n\nSpike at step 40" in browser.description(server, "train/loss")
    (card,) = browser.texts(server)
    assert "run/lossdoctor/text" in card["heading"] and card["entries"] == ["Findings\n\nspike at 40"]
    assert not browser.errors()
