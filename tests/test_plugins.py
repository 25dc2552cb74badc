"""Detectors and causes of other people: passed by hand, or found in installed packages; a broken one disturbs nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, slugs, write_state

import lossdoctor
from lossdoctor import Cause, Chart, Detector, Engine, LossDoctorError, Opinion, Record, Remedy, Symptom, Vitals, plugins
from lossdoctor.parsing.rows import records

ROWS = [{"loss": 2.0 - s / 50, "mean_token_accuracy": 0.7 if s < 12 else 0.5, "epoch": s / 40, "step": s} for s in range(1, 31)]


@dataclass(eq=False, repr=False)
class LossAboveLimit(Detector):
    """The loss is above a limit."""

    says = "the loss is {value:.3g}"
    limit: float = 1.0

    def __post_init__(self) -> None:
        self._told = False

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if self._told or record.values.get("loss", 0.0) <= self.limit:
            return None
        self._told = True
        return self.symptom("warning", record.step, record.step, value=record.values["loss"])


@dataclass(eq=False, repr=False)
class WrongLimit(Cause):
    """The limit is wrong."""

    title = "The limit is wrong"

    def weigh(self, chart: Chart) -> Opinion | None:
        seen = chart.seen("loss-above-limit")
        return Opinion((seen,), 6, ["it was seen"]) if seen else None

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        return (Remedy("Lower it", "it is wrong", {"seed": 1}),)


def install(folder: Path, entry: str, **modules: str) -> Path:
    """A package as an installer leaves it: its modules, and what it declares."""
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
    info = folder / "some_plugin-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[console_scripts]\nx = y:z\n\n[lossdoctor.plugins]\n{entry}\n\n[other]\na = b\n")
    return folder


def command(where: Path | None, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own that also sees the packages in a folder."""
    environment = {**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    if where is not None:
        environment["PYTHONPATH"] = str(where)
    line = [sys.executable, "-m", "lossdoctor", *words]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package in examples/own_detector, built and unpacked as pip does it."""
    pytest.importorskip("hatchling")
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("site")
    wheel = next(WheelBuilder(str(ROOT / "examples" / "own_detector")).build(directory=str(folder / "x"), versions=["standard"]))
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


# Passed by hand


def test_own_detectors_and_causes_work_beside_ours(tmp_path: Path) -> None:
    """An instance and a class, passed to analyze, see and explain what they are made for."""
    path = write_state(tmp_path, ROWS)
    (report,) = lossdoctor.analyze(path, plugins=[LossAboveLimit(limit=1.5), WrongLimit])
    assert "loss-above-limit" in slugs(report) and report.diagnoses[0].slug == "wrong-limit"
    assert report.suggestions["seed"].slug == "wrong-limit"
    (without,) = lossdoctor.analyze(path)
    assert "loss-above-limit" not in slugs(without)


def test_an_instance_serves_many_runs() -> None:
    """What it saw in one run does not follow it into the next one."""
    mine = LossAboveLimit()
    for _ in range(2):
        engine = Engine(plugins=[mine], strict=True)
        for record in records(ROWS)[0]:
            engine.observe(record)
        assert "loss-above-limit" in slugs(engine.report())


def test_a_class_takes_its_thresholds_from_the_settings() -> None:
    """`settings` hold for plugins as for our own; an instance keeps what it was made with."""
    settings = {"loss-above-limit": {"limit": 99}}
    for plugin, seen in ((LossAboveLimit, False), (LossAboveLimit(), True)):
        engine = Engine(plugins=[plugin], settings=settings)
        for record in records(ROWS)[0]:
            engine.observe(record)
        assert ("loss-above-limit" in slugs(engine.report())) is seen
    with pytest.raises(LossDoctorError, match="loss-above-limit has no threshold 'limt'; it has: limit"):
        Engine(plugins=[LossAboveLimit], settings={"loss-above-limit": {"limt": 1}})


def test_the_callback_takes_plugins(tmp_path: Path) -> None:
    """A run in a Trainer is watched by them as well, and what cannot be used is said when the callback is made."""
    transformers = pytest.importorskip("transformers")
    doctor = lossdoctor.LossDoctorCallback(sinks=[], plugins=[LossAboveLimit])
    args, state = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True), transformers.TrainerState()
    for _ in range(2):
        doctor.on_train_begin(args, state, None)
        doctor.on_log(args, state, None, logs={"loss": 3.0})
        assert doctor.failure is None and "loss-above-limit" in slugs(doctor.report)
    with pytest.raises(LossDoctorError, match="must be a class that inherits Detector or Cause, found <class 'int'>"):
        lossdoctor.LossDoctorCallback(plugins=[3])  # type: ignore[list-item]


def test_names_are_not_taken_twice() -> None:
    """A plugin cannot take the place of one of ours, and no name stands for two."""

    @dataclass
    class LossSpike(Detector):
        pass

    with pytest.raises(LossDoctorError, match="lossdoctor has a loss-spike of its own; choose another name for LossSpike"):
        Engine(plugins=[LossSpike()])
    with pytest.raises(LossDoctorError, match="loss-above-limit is there twice"):
        Engine(plugins=[LossAboveLimit, LossAboveLimit(limit=2)])


class Undecorated(Detector):
    pass


@dataclass
class NoWeigh(Cause):
    title = "x"


@dataclass
class Untitled(Cause):
    def weigh(self, chart: Chart) -> Opinion | None:
        return None


@dataclass
class NoDefault(Detector):
    limit: float


@dataclass
class WordyThreshold(Detector):
    limit: str = "high"


@dataclass
class Unmade(Detector):
    def __post_init__(self) -> None:
        raise OSError("no such file")


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        (Undecorated, "Undecorated must be a dataclass"),
        (NoWeigh, "NoWeigh does not define weigh"),
        (Untitled, "Untitled has no title"),
        (NoDefault, "NoDefault.limit is a threshold and needs a number as its default"),
        (WordyThreshold, "WordyThreshold.limit is a threshold"),
        (Unmade, "Unmade() fails: OSError: no such file"),
        (dict, "must be a class that inherits Detector or Cause"),
    ],
)
def test_what_is_wrong_with_a_plugin_is_said(plugin: Any, words: str) -> None:
    """Each way to get it wrong has a line that says what would be right."""
    assert words in (plugins.fault(plugin) or "")


FAILING: dict[str, tuple[str, Any]] = {
    **{name: (name, lambda *_: 1 / 0) for name in ("update", "finish", "blind", "weigh", "remedies", "check")},
    "settled": ("settled", property(lambda _: 1 / 0)),
    "update returns text": ("update", lambda *_: "text"),
    "update returns a severity of its own": ("update", lambda *_: Symptom("failing", "loss", "fatal", 1, 1, True, "")),  # type: ignore[arg-type]
    "update returns words as evidence": ("update", lambda *_: Symptom("failing", "loss", "info", 1, 1, True, "", {"a": "b"})),  # type: ignore[dict-item]
    "finish returns None": ("finish", lambda *_: None),
    "weigh returns points": ("weigh", lambda *_: 3),
}


def _failing(where: str) -> Any:
    """A detector or cause that fails in one of its methods, or gives what nobody can use."""
    name, method = FAILING[where]
    is_cause = name in ("weigh", "remedies", "check")
    members = {
        "__module__": __name__,
        "title": "x",
        "update": lambda *_: None,
        "weigh": lambda *_: Opinion((), 6, ["always"]),
        name: method,
    }
    return dataclass(type("Failing", (Cause if is_cause else Detector,), members))


@pytest.mark.parametrize("where", FAILING)
def test_a_plugin_that_fails_is_noted_and_disturbs_nobody(where: str) -> None:
    """Wherever it fails, the report is made, in every format, and says which one and why."""
    from lossdoctor.reports import FORMATS, Look

    engine = Engine(plugins=[_failing(where)])
    for record in records(ROWS)[0]:
        engine.observe(record)
    report = engine.report()
    assert "failing" in {note.what for note in engine.report().not_judged}
    for render in FORMATS.values():
        assert render([report], Look(color=False, width=80))


# Installed


def test_the_example_is_found_when_it_is_installed(example: Path, tmp_path: Path) -> None:
    """list, explain, analyze and the thresholds in pyproject.toml know it as they know ours."""
    write_state(tmp_path, ROWS)
    listed = command(example, "list", cwd=tmp_path)
    assert "token-accuracy-falling" in listed.stdout and "sources-in-order" in listed.stdout and not listed.stderr
    page = command(example, "explain", "token-accuracy-falling", cwd=tmp_path).stdout
    assert "What it misses" in page and "[tool.lossdoctor.token-accuracy-falling]" in page and "`drop`: 0.05" in page
    done = command(example, "analyze", "trainer_state.json", "--suggest", "x.yaml", cwd=tmp_path)
    assert "token accuracy fell from 70.0% to 50.0% in step 14" in " ".join(done.stdout.split())
    assert "sources-in-order" in done.stdout and "shuffle_dataset: true" in (tmp_path / "x.yaml").read_text()
    (tmp_path / "lossdoctor.toml").write_text("[token-accuracy-falling]\ndrop = 0.3\n")
    quiet = command(example, "analyze", "trainer_state.json", cwd=tmp_path)
    assert quiet.returncode == 0 and "token accuracy fell" not in quiet.stdout
    (tmp_path / "lossdoctor.toml").write_text("[token-accuracy-falling]\ndorp = 0.3\n")
    wrong = command(example, "analyze", "trainer_state.json", cwd=tmp_path)
    assert wrong.returncode == 2 and "has no threshold 'dorp'; it has: drop, rows" in wrong.stderr


def test_without_the_package_nothing_of_it_is_there(tmp_path: Path) -> None:
    """The list of a plain installation names nothing of other people's."""
    assert "token-accuracy-falling" not in command(None, "list", cwd=tmp_path).stdout


def test_the_pages_of_the_example_have_the_headings_of_ours(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people copy is right: the same headings, sources for its remedies, settings that have an owner."""
    from importlib import import_module

    from lossdoctor.explain import CAUSE_HEADINGS, DETECTOR_HEADINGS
    from lossdoctor.settings import owner

    monkeypatch.syspath_prepend(str(example))
    found = import_module("token_accuracy")
    for page, headings in ((found.TokenAccuracyFalling, DETECTOR_HEADINGS), (found.SourcesInOrder, CAUSE_HEADINGS)):
        assert plugins.fault(page) is None
        assert [w.strip()[3:] for w in page.__doc__.splitlines() if w.strip().startswith("## ")] == list(headings)
    (remedy,) = found.SourcesInOrder().remedies(None)
    assert remedy.sources and [owner(name) for name in remedy.settings] == ["SFTConfig"]


def test_the_example_tells_when_the_accuracy_recovers(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its symptom opens once and closes once."""
    from importlib import import_module

    monkeypatch.syspath_prepend(str(example))
    detector = import_module("token_accuracy").TokenAccuracyFalling()
    accuracies = [0.7] * 8 + [0.5] * 8 + [0.7] * 8
    seen = [detector.update(Record(s, None, "train", {"mean_token_accuracy": a}), None) for s, a in enumerate(accuracies, 1)]
    assert [(s.onset, s.last, s.open) for s in seen if s] == [(11, 11, True), (11, 19, False)]


BROKEN = {
    "bad = gone:Thing": ("ModuleNotFoundError", {}),
    "bad = broken:Thing": ("ZeroDivisionError", {"broken": "1 / 0\n"}),
    "bad = leaving:Thing": ("SystemExit", {"leaving": "raise SystemExit(3)\n"}),
    "bad = empty:Thing": ("AttributeError", {"empty": "\n"}),
    "bad = number:Thing": ("must be a class that inherits Detector or Cause, found 3", {"number": "Thing = 3\n"}),
    "bad = listed:ALL": ("found 'text'", {"listed": "ALL = ['text']\n"}),
    "bad =": ("ValueError", {}),
    "bad = spike:LossSpike": (
        "lossdoctor has a loss-spike of its own",
        {
            "spike": "from dataclasses import dataclass\nfrom lossdoctor import Detector\n"
            "@dataclass\nclass LossSpike(Detector):\n    pass\n"
        },
    ),
}


@pytest.mark.parametrize("entry", BROKEN)
def test_a_broken_package_is_noted_and_stops_nothing(entry: str, tmp_path: Path) -> None:
    """The report is the same with a note more, list says it in one line on stderr, and help knows nothing of it."""
    words, modules = BROKEN[entry]
    site = tmp_path / "site"
    site.mkdir()
    install(site, entry, **modules)
    write_state(tmp_path, ROWS)
    plain = json.loads(command(None, "analyze", "trainer_state.json", "--output-format", "json", cwd=tmp_path).stdout)
    done = command(site, "analyze", "trainer_state.json", "--output-format", "json", cwd=tmp_path)
    (report,) = json.loads(done.stdout)["reports"]
    (note,) = [n for n in report["not_judged"] if n["what"] == "plugin bad"]
    assert done.returncode == 0 and not done.stderr and words in note["why"] and "\n" not in note["why"]
    report["not_judged"].remove(note)
    assert report == plain["reports"][0]
    listed = command(site, "list", cwd=tmp_path)
    assert listed.returncode == 0 and len(listed.stderr.splitlines()) == 1 and words in listed.stderr
    assert not command(site, "--help", cwd=tmp_path).stderr


def test_thresholds_of_a_broken_package_are_left_alone(tmp_path: Path) -> None:
    """A table for a plugin that cannot be imported today does not stop the analysis."""
    site = tmp_path / "site"
    site.mkdir()
    install(site, "bad = gone:Thing")
    write_state(tmp_path, ROWS)
    (tmp_path / "lossdoctor.toml").write_text("[token-accuracy-falling]\ndrop = 0.3\n")
    assert command(site, "analyze", "trainer_state.json", cwd=tmp_path).returncode == 0
    assert command(None, "analyze", "trainer_state.json", cwd=tmp_path).returncode == 2


def test_the_search_finds_what_the_standard_library_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the files ourselves gives the entry points of importlib.metadata: the first of two packages of one name counts."""
    from importlib.metadata import entry_points

    for place, entry in (("first", "one = a.b:C\ntwo = d:E.F [extra]\n# no = x:y"), ("second", "three = g:H")):
        (tmp_path / place).mkdir()
        install(tmp_path / place, entry)
    egg = tmp_path / "second" / "Old_Plugin.egg-info"
    egg.mkdir()
    (egg / "entry_points.txt").write_text("[lossdoctor.plugins]\nold=o:P\n")
    (egg / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: Old-Plugin\nVersion: 1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second"), str(tmp_path / "gone"), ""])
    ours = set(plugins.declared())
    assert ours == {("one", "a.b:C"), ("two", "d:E.F"), ("old", "o:P")}
    assert {name for name, _ in ours} == {point.name for point in entry_points(group=plugins.GROUP)}


def test_help_does_not_search() -> None:
    """`lossdoctor --help` and `import lossdoctor` look for no plugin, and analysing does without importlib.metadata."""
    code = "from lossdoctor.cli import main\ntry: main({})\nexcept SystemExit: pass\nimport sys; print(*sys.modules)"
    for words, unwanted in ((["--help"], "lossdoctor.plugins"), (["demo"], "importlib.metadata")):
        done = subprocess.run([sys.executable, "-c", code.format(words)], capture_output=True, text=True, check=True)
        assert unwanted not in done.stdout.splitlines()[-1].split()
