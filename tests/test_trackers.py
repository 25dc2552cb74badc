"""Alerts and a summary reach the trackers that a Trainer reports to, once each; a tracker that fails disturbs nobody."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lossdoctor.base import Detector
from lossdoctor.engine import Engine, Event, examine
from lossdoctor.model import Log, Record, Symptom
from lossdoctor.readers import Source, read_file
from lossdoctor.sinks import alerts
from lossdoctor.sinks.console import Console
from lossdoctor.sinks.news import News
from lossdoctor.sinks.trackers import TRACKERS, trackers
from lossdoctor.vitals import Vitals

SCRIPT = Path(__file__).parent / "tracker_runs.py"
#: What the values of a summary are called in each tracker; trackio has none.
PREFIX = {"wandb": "lossdoctor/", "mlflow": "lossdoctor.", "comet_ml": "lossdoctor/", "clearml": "lossdoctor_", "dvclive": ""}
#: The readers of what they keep on disk.
STORED = {"wandb": "wandb_run", "trackio": "trackio_store", "mlflow": "mlflow_store", "dvclive": "dvclive"}
Outcomes = Callable[[str], dict[str, Any]]

# --- Without any tracker ----------------------------------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class Planned(Detector):
    """Symptoms as the column `fault` has them: a letter for each that is open, in capitals where it is critical.

    ## What it watches
    ## Why it matters
    ## What it misses
    """

    says = "planned"

    def __init__(self, plan: str, letter: str) -> None:
        self.plan, self.letter, self.state = plan.split(), letter, ""
        self.slug = f"planned-{letter}"

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        now = next((c for c in self.plan[record.step - 1] if c.lower() == self.letter), "")
        before, self.state = self.state, now
        if now == before:
            return None
        severity: Any = "critical" if (now or before).isupper() else "warning"
        self.onset = record.step if not before else self.onset
        return Symptom(self.slug, "loss", severity, self.onset, record.step, bool(now), f"planned {self.letter}")


def told(plan: str, *sinks: Any) -> Engine:
    """An engine that has gone through the rows of a plan, such as `. a aB B .`, and told its sinks."""
    engine = Engine(detectors=[Planned(plan, letter) for letter in "ab"], causes=[], sinks=sinks, strict=True)
    for step in range(1, len(plan.split()) + 1):
        engine.observe(Record(step, None, "train", {"loss": 1.0}))
    engine.finish()
    return engine


class Heard:
    """A sink that notes what is news, and at which row."""

    def __init__(self) -> None:
        self.news, self.words = News(), []  # type: ignore[var-annotated]

    def __call__(self, event: Event) -> None:
        if word := self.news.of(event):
            self.words.append((word, event.report().last_step))


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (". . .", []),
        (". a a .", [("begun", 2), ("over", 4)]),
        (". a ab b .", [("begun", 2), ("over", 5)]),
        (". a aB a A .", [("begun", 2), ("critical", 3), ("over", 6)]),
        (". aB aB . B", [("begun", 2), ("over", 4), ("begun", 5)]),
        ("a . a . a . a . A .", [("begun", 1), ("over", 2), ("begun", 3), ("over", 4), ("begun", 5), ("over", 6)]),
    ],
)
def test_what_is_news(plan: str, words: list[tuple[str, int]]) -> None:
    """The beginning of an incident, its turn from warning to critical and its end, for three incidents; nothing else."""
    heard = Heard()
    told(plan, heard)
    assert heard.words == words


def test_what_is_explained_as_normal_is_no_news() -> None:
    """It is the report that says how bad a run is: a symptom that a cause expects alarms nobody."""
    report = told(". A").report()
    calm = replace(report, verdict="healthy")
    assert News().of(Event("opened", report.symptoms[0], lambda: calm)) is None
    assert News().of(Event("opened", report.symptoms[0], lambda: report)) == "begun"


def test_the_console_and_the_trackers_tell_of_the_same(capfd: Any) -> None:
    """One message for what is one alert; the end of an incident is told on the console alone."""
    heard = Heard()
    told(". a aB . a .", Console(), heard)
    error = capfd.readouterr().err
    assert error.count("lossdoctor ▲ WARNING") == 2 and error.count("lossdoctor ✖ CRITICAL") == 1
    assert error.count("healed by step") == 2 == sum(word == "over" for word, _ in heard.words)


def test_names_that_nobody_knows_are_left_out() -> None:
    """`report_to` may name what there is no sink for, name one twice, be a single name, or nothing."""
    names = ["azure_ml", "wandb", "codecarbon", "wandb", "mlflow", "none"]
    assert [sink.name for sink in trackers(names)] == ["wandb", "mlflow"]  # type: ignore[attr-defined]
    assert len(trackers("clearml")) == 1
    assert trackers([]) == trackers(None) == trackers("none") == []


@pytest.mark.parametrize("loaded", [False, True])
def test_a_tracker_without_a_run_is_told_nothing(loaded: bool, monkeypatch: Any, capfd: Any) -> None:
    """Neither one that is not imported, which it never becomes by this, nor one in which no run is open."""
    nobody = SimpleNamespace(
        run=None,
        context_vars=SimpleNamespace(current_run=SimpleNamespace(get=lambda: None)),
        active_run=lambda: None,
        get_global_experiment=lambda: None,
        Task=SimpleNamespace(current_task=lambda: None),
    )
    for name in TRACKERS:
        if loaded:
            monkeypatch.setitem(sys.modules, name, nobody)
        else:
            monkeypatch.delitem(sys.modules, name, raising=False)
    sinks = trackers(TRACKERS)
    told(". a aB .", *sinks)
    assert [sink.failure for sink in sinks] == [None] * 6  # type: ignore[attr-defined]
    assert capfd.readouterr().err == ""
    assert loaded or not set(TRACKERS) & set(sys.modules)


def test_a_tracker_that_fails_is_switched_off_alone(monkeypatch: Any, capfd: Any) -> None:
    """It is said in one line, once; the tracker beside it goes on, and the report knows nothing of it."""
    calls: list[str] = []

    class Broken:
        def alert(self, **message: Any) -> None:
            calls.append("broken")
            raise ConnectionError("no route\nto host" + "!" * 9999)

    sound = SimpleNamespace(active_run=lambda: 1, set_tag=lambda name, text: calls.append(name), set_tags=calls.append)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=Broken()))
    monkeypatch.setitem(sys.modules, "mlflow", sound)
    report = told(". a aB .", *trackers(["wandb", "mlflow"])).report()
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and len(error) < 400
    assert error.startswith("lossdoctor: switched off for wandb (ConnectionError: no route to host!")
    assert error.rstrip().endswith("wandb itself and training go on")
    assert calls.count("broken") == 1
    assert {"lossdoctor.alert.warning_at_2", "lossdoctor.alert.critical_at_3"} <= {c for c in calls if isinstance(c, str)}
    assert not any(item.what.startswith("sink") for item in report.not_judged)


def test_not_even_a_closed_stderr_lets_a_failure_out(monkeypatch: Any) -> None:
    """What cannot be said is kept."""
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=1))
    monkeypatch.setattr(sys, "stderr", None)
    (sink,) = trackers("wandb")
    told(". a .", sink)
    assert sink.failure.startswith("AttributeError")  # type: ignore[attr-defined]


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_random_states_are_those_from_before(ends: str, monkeypatch: Any) -> None:
    """Whatever a tracker draws from the generators that training shares, and however its call ends."""
    torch = pytest.importorskip("torch")

    class Drawing:
        calls = 0

        def alert(self, **message: Any) -> None:
            Drawing.calls += 1
            random.random(), np.random.rand(3), torch.rand(3)
            if ends == "badly":
                raise RuntimeError("planted")

        summary: Any = SimpleNamespace(update=lambda values: None)

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=Drawing()))
    np.random.rand(7), np.random.randn(1)  # one number of a pair is kept aside
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    told(". a aB .", *trackers("wandb"))
    assert Drawing.calls == (2 if ends == "well" else 1)
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[2])
    assert pickle.dumps(np.random.get_state()) == pickle.dumps(before[1])


def test_a_sink_can_be_copied_and_sent_to_another_process() -> None:
    """The Trainer stays behind, and is not kept alive by the sink."""

    class Trainer:
        callback_handler = SimpleNamespace(callbacks=[lambda: None])

    trainer = Trainer()
    (sink,) = trackers("dvclive", trainer)
    for other in (copy.deepcopy(sink), pickle.loads(pickle.dumps(sink))):
        told(". a .", other)
        assert other.failure is None
    del trainer
    told(". a .", sink)
    assert sink.failure is None  # type: ignore[attr-defined]


def test_a_title_has_the_global_step_and_fits() -> None:
    """However long the slug is: W&B takes fewer than 64 characters."""
    found: list[alerts.Alert] = []

    def sink(event: Event) -> None:
        if event.transition == "opened" and event.symptom is not None:
            symptom = Symptom("opening-loss-above-chance-of-somebody-else", "loss", "critical", 1_234_567, 1_234_567, True, "x")
            other = replace(event.report(), symptoms=(symptom,))
            found.extend([alerts.alert(event), alerts.alert(Event("opened", symptom, lambda: other))])

    told("A", sink)
    assert found[0].title == "lossdoctor: critical from step 1: planned-a" and found[0].severity == "critical"
    assert found[0].text.startswith("lossdoctor ✖ CRITICAL  Planned a.") and found[0].step == 1
    assert len(found[1].title) < 64 and "from step 1,234,567: opening-loss" in found[1].title


def test_a_summary_has_every_name_every_time() -> None:
    """A value of an earlier summary never stays behind; only the first critical step is missing until there is one."""
    fine, bad = (alerts.summary(told(plan).report()) for plan in (". . . . . .", ". . A A A A"))
    assert fine.values == {"verdict": "healthy", "symptoms": "none", "cause": "none", "last_good_step": 6}
    expected = {"verdict": "critical", "symptoms": "planned-a", "cause": "none", "last_good_step": 2, "first_critical_step": 3}
    assert bad.values == expected
    assert bad.words.startswith("lossdoctor ✖ CRITICAL  Planned a. 6 rows judged.") and "\n" not in bad.words


# --- With the real ones, in real trainings ----------------------------------------------------------------------------

slow = pytest.mark.slow
every = pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in TRACKERS])


def offline(folder: Path) -> dict[str, str]:
    """What keeps each tracker in that folder, and off the network."""
    return {
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "WANDB_CONSOLE": "off",
        "WANDB_SILENT": "true",
        "TRACKIO_DIR": str(folder / "trackio"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "COMET_START_ONLINE": "false",
        "COMET_OFFLINE_DIRECTORY": str(folder / "comet"),
        "COMET_DISABLE_AUTO_LOGGING": "1",
        "CLEARML_OFFLINE_MODE": "1",
        "CLEARML_LOG_MODEL": "False",
        "CLEARML_VCS_REPO_URL": "none",  # else it runs git beside its own threads, which hangs now and then
        "CLEARML_CACHE_DIR": str(folder / "clearml"),
        "DVC_NO_ANALYTICS": "1",
        "HF_HUB_OFFLINE": "1",
    }


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: Any) -> Outcomes:
    """What a tracker kept of the trainings in `tracker_runs.py`; they run once, in a process of their own."""
    known: dict[str, dict[str, Any]] = {}

    def of(name: str) -> dict[str, Any]:
        for package in ("transformers", name):
            try:
                importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                pytest.skip(f"{package} is not installed: make trackers")
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            command = ["timeout", "-k", "5", "240", sys.executable, str(SCRIPT), name, str(folder)]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=260, check=False, env={**os.environ, **offline(folder)}
            )
            if not (folder / "outcomes.json").exists():
                pytest.fail(f"exit {done.returncode}: {done.stderr[-3000:]}")
            known[name] = json.loads((folder / "outcomes.json").read_text())
        return known[name]

    return of


@slow
@every
def test_a_healthy_run_gets_a_summary_and_no_alert(outcomes: Outcomes, name: str) -> None:
    """Its verdict stands where runs are filtered; trackio, which has only alerts, is left alone."""
    healthy = outcomes(name)["healthy"]
    assert healthy["alerts"] == [] and not healthy.get("tags")
    assert healthy["report"] == ["healthy", 30] and healthy["failure"] is None
    expected = {"verdict": "healthy", "symptoms": "none", "cause": "none", "last_good_step": 30}
    assert summary(healthy, name) == (expected if name in PREFIX else {})


def summary(outcome: dict[str, Any], name: str) -> dict[str, str | int]:
    """The values of a summary by their short names; numbers of those trackers that keep strings are read."""
    values = {key.removeprefix(PREFIX.get(name, "")): value for key, value in outcome["summary"].items()}
    return {key: int(value) if str(value).isdigit() else value for key, value in values.items()}


@slow
@every
def test_a_lost_run_gets_one_alert(outcomes: Outcomes, name: str) -> None:
    """Several symptoms of one incident, one alert: critical, with the global step, and with what was found and what to do."""
    lost = outcomes(name)["lost"]
    ((severity, text),) = lost["alerts"]
    title, _, rest = text.partition("\n")
    assert severity == "critical" and title.startswith("lossdoctor: critical from step 13: ") and len(title) < 64
    if name != "dvclive":  # it has room for titles only
        assert "CRITICAL  The loss, 4.198 before, is exactly 0.0 from step 13 on." in rest
        assert "→ Look at the examples of step 13" in rest and "Last good step: 12." in rest
        assert "\x1b" not in rest
    if name in ("comet_ml", "clearml"):
        assert lost["tags"] == ["lossdoctor:critical"]


@slow
@every
def test_a_lost_run_can_be_found_by_its_summary(outcomes: Outcomes, name: str) -> None:
    """Verdict, first critical step, symptoms, cause and last good step are values of the run; trackio gets one line as a note."""
    lost = outcomes(name)["lost"]
    if name == "trackio":
        ((title, words),) = lost["summary"].items()
        assert title == "lossdoctor: the run ended critical" and words.endswith("30 rows judged. Last good step: 12.")
        return
    values = summary(lost, name)
    assert "loss-collapse-to-zero" in str(values.pop("symptoms")).split(", ")
    assert values == {"verdict": "critical", "cause": "none", "last_good_step": 12, "first_critical_step": 13}


@slow
@every
def test_an_incident_that_turns_critical_gets_a_second_alert(outcomes: Outcomes, name: str) -> None:
    """A warning, then what is worse; each with the step in which it began."""
    worse = outcomes(name)["worse"]
    assert [severity for severity, _ in worse["alerts"]] == ["warning", "critical"]
    titles = [text.partition("\n")[0] for _, text in worse["alerts"]]
    assert titles[0].startswith("lossdoctor: warning from step 8: ") and titles[1].startswith(
        "lossdoctor: critical from step 21: "
    )


@slow
@every
def test_what_was_told_before_a_resume_is_not_told_again(outcomes: Outcomes, name: str) -> None:
    """A fault that had healed by then gets no alert in the new run; the summary has it."""
    resumed = outcomes(name)["resumed"]
    assert resumed["alerts"] == [] and resumed["steps"] == 20
    assert "loss-intermittent-zero" in str(resumed["summary"]) or name == "trackio"


@slow
@every
def test_sinks_that_a_user_chose_leave_the_trackers_out(outcomes: Outcomes, name: str) -> None:
    """`sinks=[Console()]` tells the console, and nobody else."""
    alone = outcomes(name)["console alone"]
    assert alone["alerts"] == [] and alone["summary"] == {} and not alone.get("tags")
    assert alone["stderr"].count("lossdoctor ✖ CRITICAL") == 2


@slow
@every
def test_training_does_not_notice_the_trackers(outcomes: Outcomes, name: str) -> None:
    """Weights and random states are the same to the last bit, though the tracker draws from every generator at an alert."""
    with_alerts, without = outcomes(name)["lost"], outcomes(name)["console alone"]
    assert with_alerts["calls"] >= 1
    for what in ("weights", "states", "steps"):
        assert with_alerts[what] == without[what]
    assert outcomes(name)["healthy"]["weights"] != with_alerts["weights"]


@slow
@every
def test_a_failure_of_a_tracker_is_said_once_and_harms_nobody(outcomes: Outcomes, name: str) -> None:
    """One line on stderr; the doctor goes on, and training ends with the weights that it would have had."""
    fails, without = outcomes(name)["fails"], outcomes(name)["console alone"]
    line = f"lossdoctor: switched off for {name} (RuntimeError: planted); {name} itself and training go on"
    assert fails["stderr"].count(line) == fails["stderr"].count("switched off") == fails["calls"] == 1
    assert fails["stderr"].count("lossdoctor ✖ CRITICAL") == 2
    assert fails["failure"] is None and fails["report"] == ["critical", 12]
    for what in ("weights", "states", "steps"):
        assert fails[what] == without[what]
    assert summary(fails, name) == {}


#: Of trackers that send alerts: what in a request is one.
ALERTS = {"wandb": "NotifyScriptableRunAlert", "trackio": '"level": "error"', "comet_ml": "/notification/experiment"}


@slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ALERTS])
def test_online_the_alert_is_sent_once(tmp_path: Path, name: str) -> None:
    """To a server on this machine, by the package's own client: one alert, with its title, and the words or the summary."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed: make trackers")
    script = SCRIPT.with_name("tracker_servers.py")
    done = subprocess.run(
        ["timeout", "-k", "5", "120", sys.executable, str(script), name, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (tmp_path / "sent.json").exists(), done.stderr[-3000:]
    kept = json.loads((tmp_path / "sent.json").read_text())
    assert kept["failure"] is None
    title = "lossdoctor: critical from step 21: loss-collapse-to-zero"
    (alert,) = [text for path, text in kept["sent"] if ALERTS[name] in path + text and title in text]
    texts = "".join(text for _, text in kept["sent"])
    assert "is exactly 0.0 from step 21 on" in (texts if name == "comet_ml" else alert)
    assert name == "trackio" or "lossdoctor/verdict" in texts


@slow
@pytest.mark.parametrize("label", ["healthy", "lost", "worse", "resumed"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in STORED])
def test_what_a_tracker_keeps_reads_as_what_its_trainer_saved(outcomes: Outcomes, name: str, label: str) -> None:
    """The rows of training are those of trainer_state.json to the last bit, and so are the verdict and the symptoms."""
    outcome = outcomes(name)[label]
    (state,) = read_file(Source.open(Path(outcome["state"])))
    (kept,) = (log for log in read_file(Source.open(Path(outcome["store"]))) if log.run.name in (label, ""))
    assert kept.run.kind == STORED[name] and kept.run.get("max_steps") == state.run.get("max_steps")
    since = kept.records[0].step
    assert since == (11 if label == "resumed" else 1)  # a run that was resumed has a store of its own, and the whole state
    assert repr(trained(kept)) == repr([row for row in trained(state) if row[0] >= since])
    if label != "resumed":
        one, other = (examine(log.records, kept.run) for log in (kept, state))
        assert (one.verdict, one.last_good_step) == (other.verdict, other.last_good_step)
        assert [(s.slug, s.onset, s.severity) for s in one.symptoms] == [(s.slug, s.onset, s.severity) for s in other.symptoms]


def trained(log: Log) -> list[tuple[Any, ...]]:
    """Step, epoch and values of each row of training."""
    return [(r.step, r.epoch, sorted(r.values.items())) for r in log.records if r.kind == "train"]
