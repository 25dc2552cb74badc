"""The LossDoctor tab in real TensorBoards: what it shows, and that nothing in it can keep TensorBoard from starting."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from conftest import ROOT, write_state

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from browser import Server, until
from test_event_files import Point, run, write

from lossdoctor.analysis import analyze

SOURCE = ROOT / "plugins" / "lossdoctor-tensorboard"
HOSTILE = "<img src=x onerror=alert(1)>"
TAB = "data/plugin/lossdoctor/"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built and unpacked as pip does it."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install .[dev]")
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("site")
    wheel = next(WheelBuilder(str(SOURCE)).build(directory=str(folder / "x"), versions=["standard"]))
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """An older run that is healthy, one that breaks, and what is no run of its own: marks, and a run without a loss."""
    folder = tmp_path / "logs"
    write(folder / HOSTILE, [point._replace(wall_time=point.wall_time - 500) for point in run(bad_from=99)])
    write(folder / "broken", run())
    write(folder / "broken/lossdoctor/loss-collapse-to-zero", [Point("train/loss", 40, 0.0, 1040.0)])
    write(folder / "other", [Point("accuracy", 1, 0.5, 2000.0)])
    return folder


@pytest.fixture
def show(serve: Any, site: Path, logs: Path) -> Callable[..., Server]:
    """Starts TensorBoard with the tab over the runs; `before` is Python that it runs first, `first` a folder to import from."""

    def start(*options: str, before: str = "", first: Path | None = None) -> Server:
        patches = logs.parent / "patches"
        patches.mkdir(exist_ok=True)
        (patches / "sitecustomize.py").write_text(before, encoding="utf-8")
        path = [str(folder) for folder in (first, patches, site, ROOT) if folder is not None]
        server: Server = serve(logs, *options, PYTHONPATH=os.pathsep.join(path))
        return server

    return start


def report_of(server: Server, name: str) -> str:
    """The page on a run."""
    with urlopen(f"{server.url}/{TAB}report?run={quote(name, safe='')}", timeout=60) as answer:
        return str(answer.read().decode())


def runs_of(server: Server, count: int) -> list[str]:
    """The runs that the tab lists, once there are so many."""
    return list(until(lambda: (found := server.json(f"{TAB}runs")["runs"]) and len(found) == count and found))


def works(server: Server) -> bool:
    """Whether TensorBoard answers as it does without us: the list of its dashboards, and the points of a curve."""
    points = until(lambda: server.points("broken", "train/loss"))
    return len(points) == 60 and server.json("data/plugins_listing")["timeseries"]["enabled"] is True


def frame(browser: Any) -> None:
    """Goes into the frame that TensorBoard gives a tab."""
    browser.driver.switch_to.default_content()
    browser.driver.switch_to.frame(until(lambda: browser.driver.find_elements("css selector", "iframe"))[0])


def shown(browser: Any) -> str:
    """What the tab says below its list of runs: the report, or a message."""
    script = """const page = [...document.querySelectorAll('iframe')].find((each) => each.style.display !== 'none');
        const shown = page && page.contentDocument.body || document.querySelector('p') || document.body;
        return shown.innerText;"""
    return str(browser.run(script))


one_loader = pytest.mark.parametrize("serve", [("newest", "fast"), ("2.17.1", "python")], ids="-".join, indirect=True)


# What it shows


@pytest.mark.slow
def test_the_tab_shows_the_report_on_the_chosen_run(show: Any, browser: Any) -> None:
    """Newest run first, with chart and marks; the other run can be chosen; a hostile name is a name; the console is clean."""
    server = show()
    assert runs_of(server, 2) == ["broken", HOSTILE]
    browser.open(f"{server.url}/#timeseries")
    tab = until(lambda: browser.driver.find_elements("xpath", "//*[@role='tab'][contains(., 'LossDoctor')]"))
    tab[0].click()
    frame(browser)
    assert "✖ CRITICAL" in until(lambda: "CRITICAL" in (text := shown(browser)) and text)
    marks = (
        "return document.querySelector('iframe').contentDocument.querySelectorAll('.lossdoctor-chart [data-line] path').length"
    )
    assert browser.run(marks) >= 2 and "loss-collapse-to-zero" in shown(browser)
    browser.run(
        "const run = document.querySelector('#run'); run.value = arguments[0]; run.dispatchEvent(new Event('change'))", HOSTILE
    )
    assert HOSTILE in until(lambda: "60 rows" in (text := shown(browser)) and "CRITICAL" not in text and text)
    browser.driver.refresh()
    frame(browser)
    until(lambda: HOSTILE in shown(browser))  # the choice is remembered
    assert browser.run("return document.querySelector('#run').value") == HOSTILE
    assert not browser.errors()


@one_loader
@pytest.mark.slow
def test_the_tab_is_dark_where_tensorboard_is(show: Any, browser: Any) -> None:
    """The mode of TensorBoard's page is that of the report, also when it changes."""
    server = show()
    runs_of(server, 2)
    browser.open(f"{server.url}/?darkMode=true#lossdoctor")
    ground = "return getComputedStyle(document.querySelector('iframe').contentDocument.body).backgroundColor"
    for dark, colour in ((True, "rgb(13, 17, 23)"), (False, "rgb(246, 247, 249)")):
        browser.driver.switch_to.default_content()
        browser.run("document.body.classList.toggle('dark-mode', arguments[0])", dark)
        frame(browser)
        until(lambda: "CRITICAL" in shown(browser))
        until(lambda colour=colour: browser.run(ground) == colour)
    assert not browser.errors()


@pytest.mark.slow
def test_the_tab_follows_a_training(show: Any, logs: Path, browser: Any) -> None:
    """New rows come into the report while it is open; what has not changed is not drawn again, also after a failure."""
    server = show()
    runs_of(server, 2)
    browser.open(f"{server.url}/#lossdoctor")
    frame(browser)
    until(lambda: "60 rows" in shown(browser))
    browser.run("const now = performance.now.bind(performance); performance.now = () => 10 * now()")  # hurries the clock
    browser.run("document.querySelector('iframe').contentWindow.before = true")
    browser.run("const all = fetch; window.fetch = () => { window.fetch = all; return Promise.reject(new Error('gone')); };")
    asked = "return performance.getEntriesByType('resource').filter((each) => each.name.includes('/state?')).length"
    until(lambda: browser.run(asked) >= 2)
    assert browser.run("return document.querySelector('iframe').contentWindow.before"), server.printed.read_text()
    write(logs / "broken", [point for point in run(70) if point.step > 60])
    until(lambda: "70 rows" in shown(browser))
    assert not browser.errors()


@one_loader
@pytest.mark.slow
def test_the_report_is_the_one_of_the_command_line(show: Any, logs: Path) -> None:
    """All points of the event files are judged, also behind a path prefix; the page names its script and allows no other."""
    write(logs / "long", [point for point in run(3000, bad_from=2990) if point.tag == "train/loss"])
    server = show("--path_prefix", "/some/where")
    assert "long" in runs_of(server, 3) and server.url.endswith("/some/where")
    (report,) = analyze(logs / "long")
    page = report_of(server, "long")
    assert f"{report.rows:,} rows, steps 1 to 3,000" in page and f"{report.verdict.upper()}" in page
    with urlopen(f"{server.url}/{TAB}report?run=long", timeout=30) as answer:
        policy = answer.headers["Content-Security-Policy"]
    (allowed,) = re.findall(r"script-src [^;]*('sha256-[^']+')", policy)
    assert allowed in page and "script-src" in page and "unsafe-inline" not in policy.partition("script-src")[2]


@one_loader
@pytest.mark.slow
def test_only_runs_that_tensorboard_lists_can_be_asked_for(show: Any, logs: Path) -> None:
    """Neither a path out of the log directory, nor our own marks, nor a run without a loss."""
    write(logs.parent / "secret", run())
    server = show()
    runs_of(server, 2)
    for name in (
        "../secret",
        str(logs.parent / "secret"),
        "broken/../../secret",
        "other",
        "",
        "broken/lossdoctor/loss-collapse-to-zero",
    ):
        assert json.loads(report_of(server, name))["message"].endswith(f"no run {name!r} with a training loss")


@pytest.mark.slow
def test_without_event_files_the_points_of_tensorboard_are_judged(show: Any, logs: Path) -> None:
    """A run whose folder has gone, as where TensorBoard runs elsewhere, has a report that says what it is from."""
    server = show("--reload_interval", "0")  # once: the next time TensorBoard would see that the folder has gone
    runs_of(server, 2)
    until(lambda: len(server.points("broken", "train/loss")) == 60)
    assert "cannot be read" not in report_of(server, "broken")
    shutil.move(logs / "broken", logs.parent / "gone")
    page = report_of(server, "broken")
    assert "the event files cannot be read from here: this is from the points that TensorBoard keeps, 60 of a curve" in page
    assert "CRITICAL" in page and "loss-collapse-to-zero" in page and "60 rows, steps 1 to 60" in page


@one_loader
@pytest.mark.slow
def test_an_older_state_file_beside_the_event_files_is_no_report_on_them(show: Any, logs: Path) -> None:
    """A Trainer that logs into its output folder leaves its state there, as old as the last checkpoint."""
    write_state(logs / "broken", [{"loss": 1.0, "step": step} for step in range(1, 8)])
    server = show()
    runs_of(server, 2)
    assert "60 rows" in report_of(server, "broken")


@one_loader
@pytest.mark.slow
def test_without_a_training_loss_there_is_no_tab(show: Any, logs: Path) -> None:
    """Other people's logs look as they always did."""
    shutil.rmtree(logs / "broken")
    shutil.rmtree(logs / HOSTILE)
    server = show()
    until(lambda: server.points("other", "accuracy"))
    listed = server.json("data/plugins_listing")
    assert listed["lossdoctor"]["enabled"] is False and listed["timeseries"]["enabled"] is True
    write(logs / "broken", run())
    until(lambda: server.json("data/plugins_listing")["lossdoctor"]["enabled"])


# What cannot happen

PATCH = """
import lossdoctor_tensorboard
load = lossdoctor_tensorboard.Loader.load
def patched(self, context):
    import copy
    context = copy.copy(context)
    context.data_provider = {provider}
    return load(self, context)
lossdoctor_tensorboard.Loader.load = patched
class Raising:
    def __getattr__(self, name):
        raise {error}("provider")
"""
ANALYZE = (
    "import lossdoctor.analysis\ndef analyze(*_):\n    raise {error}('analyze')\nlossdoctor.analysis.analyze_events = analyze"
)
MISSING = "import sys\nsys.modules['lossdoctor'] = None"
#: Python that TensorBoard runs before it starts, and what the tab then says; None where there is no tab.
SABOTAGE: dict[str, tuple[str, str | None]] = {
    "lossdoctor missing": (MISSING, "lossdoctor is not installed"),
    "analysis raises": (ANALYZE.format(error="ZeroDivisionError"), "could not be made: ZeroDivisionError: analyze"),
    "analysis exits": (ANALYZE.format(error="SystemExit"), "could not be made: SystemExit: analyze"),
    "analysis interrupts": (ANALYZE.format(error="KeyboardInterrupt"), "could not be made: KeyboardInterrupt: analyze"),
    "no provider": (PATCH.format(provider="None", error="OSError"), None),
    "provider raises": (PATCH.format(provider="Raising()", error="OSError"), None),
    "provider exits": (PATCH.format(provider="Raising()", error="SystemExit"), None),
    "no module": ("import sys\nsys.modules['lossdoctor_tensorboard.tab'] = None", None),
    "loading exits": (
        "import lossdoctor_tensorboard.tab as t\ndef exits(*_):\n    raise SystemExit('load')\nt.Tab = exits",
        None,
    ),
    "another TensorBoard": ("import lossdoctor_tensorboard.tab as t\ndel t.FrontendMetadata", None),
}
BROKEN_PACKAGES = (
    "raise OSError('import')",
    "raise SystemExit('import')",
    "raise KeyboardInterrupt('import')",
    "class Stop(BaseException): ...\nraise Stop('import')",
    "a b",
)


@one_loader
@pytest.mark.slow
@pytest.mark.parametrize("sabotage", SABOTAGE)
def test_tensorboard_works_whatever_is_wrong_with_the_tab(show: Any, sabotage: str) -> None:
    """It starts, its dashboards answer, and the tab says in a line what is wrong, or is not there."""
    before, said = SABOTAGE[sabotage]
    server = show(before=before)
    assert works(server)
    tab = server.json("data/plugins_listing").get("lossdoctor", {"enabled": False})
    assert tab["enabled"] is (said is not None)
    if said is not None:
        assert said in until(lambda: server.json(f"{TAB}state?run=broken"))["message"]
        assert "Traceback" not in server.printed.read_text() and server.printed.read_text().count(said) <= 1


@one_loader
@pytest.mark.slow
@pytest.mark.parametrize("code", BROKEN_PACKAGES)
def test_tensorboard_works_with_a_broken_lossdoctor(show: Any, tmp_path: Path, code: str) -> None:
    """Whatever happens when lossdoctor is imported, up to an exit, happens in the tab alone."""
    (tmp_path / "first" / "lossdoctor").mkdir(parents=True)
    (tmp_path / "first" / "lossdoctor" / "__init__.py").write_text(code)
    server = show(first=tmp_path / "first")
    assert works(server)
    assert "could not be made" in server.json(f"{TAB}state?run=broken")["message"]
    assert works(server)


@pytest.mark.slow
def test_files_that_cannot_be_read_cost_their_own_report(show: Any, logs: Path) -> None:
    """A huge file, garbage after the first rows, and a folder in place of a file: TensorBoard and the other runs go on."""
    write(logs / "huge", run())
    write(logs / "garbage", run())
    server = show()
    runs_of(server, 4)
    with next((logs / "huge").glob("*tfevents*")).open("ab") as file:
        file.truncate(5 * 1024**3)  # zeros that take no room
    garbage = next((logs / "garbage").glob("*tfevents*"))
    garbage.write_bytes(os.urandom(100_000))
    assert "the points that TensorBoard keeps" in report_of(server, "huge")
    answer = report_of(server, "garbage")
    assert "nothing to analyse" in answer or "no scalar" in answer
    shutil.move(garbage, logs / "away")
    garbage.mkdir()
    assert "the points that TensorBoard keeps" in report_of(server, "garbage")
    assert "CRITICAL" in report_of(server, "broken") and works(server)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what TensorBoard imports
@pytest.mark.parametrize("names", [("TBLoader", "TBPlugin", "FrontendMetadata"), ("FrontendMetadata",), ("TBPlugin",)])
def test_another_base_plugin_leaves_the_tab_out(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    """The entry point loads in a TensorBoard whose names are others, and there is no tab."""
    import tensorboard.plugins.base_plugin as base

    monkeypatch.syspath_prepend(str(SOURCE))
    for name in names:
        monkeypatch.delattr(base, name)
    entry = importlib.reload(importlib.import_module("lossdoctor_tensorboard"))
    monkeypatch.delitem(__import__("sys").modules, "lossdoctor_tensorboard.tab", raising=False)
    assert entry.Loader().load(object()) is None
