"""A headless Chromium and real TensorBoards: what the tests of what people see in their browser start and read."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = Path(__file__).with_suffix(".js")
#: Without 3D, TensorBoard draws its charts as SVG, whose points can be read.
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-3d-apis", "--window-size=1400,1000")
#: The release besides the one of this environment, whose own environment `make` installs.
OLDER = "2.17.1"
LOADERS = {"fast": "auto", "python": "false"}

Point = tuple[float, float]
Found = TypeVar("Found")


def until(look: Callable[[], Found], seconds: float = 40) -> Found:
    """What `look` gives, as soon as it is something.

    Raises:
        AssertionError: it was still nothing after that many seconds.
    """
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"still {found!r} after {seconds} s"
        time.sleep(0.2)
    return found


@dataclass(frozen=True)
class Chart:
    """What one card shows: points as (step, value) by run, and the lowest and the highest value inside its frame."""

    lines: dict[str, list[Point]]
    dots: dict[str, list[Point]]
    triangles: dict[str, list[Point]]
    low: float
    high: float
    legend: list[list[str]] = field(default_factory=list)

    def inside(self, point: Point) -> bool:
        """Whether a point is in the frame rather than cut off above or below."""
        return self.low <= point[1] <= self.high


@dataclass(frozen=True)
class Server:
    """A TensorBoard that runs: its address without a slash at the end, and the file of what it prints."""

    url: str
    version: str
    printed: Path

    def json(self, path: str) -> Any:
        """What it answers at a path, read as JSON."""
        with urlopen(f"{self.url}/{path}", timeout=30) as answer:
            return json.load(answer)

    def points(self, run: str, tag: str) -> list[Point]:
        """The points of one curve as (step, value), as TensorBoard hands them to its charts; none while it has not read them."""
        tags = self.json("data/plugin/scalars/tags")
        if tag not in tags.get(run, {}):
            return []
        found = self.json(f"data/plugin/scalars/scalars?run={quote(run, safe='')}&tag={quote(tag, safe='')}")
        return [(step, value) for _, step, value in found]


class Browser:
    """One Chromium for many tests."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Loads a page anew."""
        self.driver.switch_to.default_content()
        self.driver.get("about:blank")  # another place on the same page would not be loaded
        self.driver.get(url)

    def run(self, code: str, *arguments: Any) -> Any:
        """The value of JavaScript in the page or frame."""
        return self.driver.execute_script(code, *arguments)

    def errors(self) -> list[str]:
        """The errors in the console since the last call, of all pages."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def screenshot(self, path: Path) -> None:
        """A PNG of the window."""
        assert self.driver.save_screenshot(str(path))

    def time_series(self, server: Server, tag: str) -> Chart:
        """The chart of a tag in the dashboard Time Series, without smoothing, once lines or dots are in it."""
        self.open(f"{server.url}/?tagFilter={quote(f'^{tag}$', safe='')}&smoothing=0#timeseries")
        return self._chart("timeSeries", tag)

    def scalars(self, server: Server, tag: str) -> Chart:
        """The chart of a tag in the dashboard Scalars, without smoothing, once lines or dots are in it."""
        self._open_scalars(server, tag)
        return self._chart("scalars", tag)

    def description(self, server: Server, tag: str) -> str:
        """What the (i) of a tag's card in the dashboard Scalars opens."""
        self._open_scalars(server, tag)
        return str(until(lambda: self._read("description", tag)))

    def texts(self, server: Server) -> list[dict[str, Any]]:
        """The cards of the dashboard Text: `heading` (tag and run), `steps`, and `entries` as they are read on the screen."""
        self.open(f"{server.url}/#text")
        return until(lambda: [card for card in self._read("texts") if any(card["entries"])])

    def _open_scalars(self, server: Server, tag: str) -> None:
        self.open(f"{server.url}/#scalars&tagFilter={quote(f'^{tag}$', safe='')}&_smoothingWeight=0")

    def _read(self, function: str, *arguments: str) -> Any:
        return self.run(f"{SCRIPT.read_text(encoding='utf-8')}\nreturn {function}(...arguments);", *arguments)

    def _chart(self, function: str, tag: str) -> Chart:
        before: Any = None

        def settled() -> Any:
            """What is drawn, once it is the same twice: lines move when a chart is laid out."""
            nonlocal before
            last, before = before, self._read(function, tag)
            return before if before and before["shapes"] and before == last else None

        return _chart(until(settled))


def _chart(drawn: dict[str, Any]) -> Chart:
    """Pixels → steps and values, by the labels of the axes."""
    step, value = _scale(drawn["x"]), _scale(drawn["y"])
    shapes: dict[str, dict[str, list[Point]]] = {"line": {}, "dot": {}, "triangle": {}}
    for shape in drawn["shapes"]:
        (run,) = [name for name, colour in drawn["runs"].items() if colour == shape["colour"]]
        points = [(step(x), value(y)) for x, y in shape["points"]]
        if shape["kind"] == "triangle":
            points = [tuple(sum(numbers) / len(points) for numbers in zip(*points, strict=True))]  # type: ignore[list-item]
        shapes[shape["kind"]].setdefault(run, []).extend(points)
    return Chart(shapes["line"], shapes["dot"], shapes["triangle"], value(drawn["height"]), value(0), drawn["legend"])


def _scale(ticks: Sequence[tuple[float, str]]) -> Callable[[float], float]:
    (first, one), (last, other) = ticks[0], ticks[-1]
    low, high = _number(one), _number(other)
    return lambda pixel: low + (pixel - first) * (high - low) / (last - first)


def _number(label: str) -> float:
    match = re.fullmatch(r"(-?[\d.]+(?:e[-+]?\d+)?)([kM]?)", label.replace(",", "").replace("−", "-"))
    assert match, f"an axis is labelled {label!r}"
    return float(match[1]) * {"": 1, "k": 1e3, "M": 1e6}[match[2]]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that is closed in the end; the test is skipped where there is none."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    program = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("chromium or chromedriver is not installed: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = program
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = selenium.Chrome(options=options, service=Service(driver))
    try:
        opened.set_page_load_timeout(60)
        opened.set_script_timeout(30)
        yield Browser(opened)
    finally:
        opened.quit()


def program(version: str) -> str:
    """The tensorboard of this environment ("newest"), or that of an environment of its own; skips where it is missing."""
    older = ROOT / f".venv-tensorboard-{version}"
    found = (Path(sys.executable).parent if version == "newest" else older / "bin") / "tensorboard"
    if not found.is_file():
        where = "pip install tensorboard" if version == "newest" else f"make {older.name}/.ready"
        pytest.skip(f"tensorboard ({version}) is not installed: {where}")
    return str(found)


@contextmanager
def tensorboard(
    logs: Path, printed: Path, *options: str, version: str = "newest", loader: str = "fast", **environment: str
) -> Iterator[Server]:
    """A TensorBoard over a log directory on a port of its own; it is gone in the end, with its data server."""
    command = [program(version), "--logdir", str(logs), "--port", "0", "--reload_interval", "1"]
    command += [f"--load_fast={LOADERS[loader]}", *options]
    with printed.open("w", encoding="utf-8") as out:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env={**os.environ, **environment}
        )
    try:
        match = until(lambda: _address(printed, running), 90)
        yield Server(match[2].rstrip("/"), match[1], printed)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def _address(printed: Path, running: subprocess.Popen[bytes]) -> re.Match[str] | None:
    """The line in which TensorBoard says where it listens."""
    said = printed.read_text(encoding="utf-8")
    assert running.poll() is None, f"tensorboard ended with {running.returncode}:\n{said}"
    return re.search(r"TensorBoard (\S+) at (http://\S+)", said)
