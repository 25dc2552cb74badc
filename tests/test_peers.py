"""The comparison with peers is fair: names are understood as their tools mean them, and figures count what they say."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT

from lossdoctor import analyze
from lossdoctor.registry import all_detectors

sys.path.insert(0, str(ROOT / "benchmarks"))

import peers
from peer import environments, finetune_doctor, page, protocol, scoring, training_doctor, trainproof, trainpulse
from peer.kinds import FAMILIES, SIMULATED
from peer.protocol import Finding, Judgement, Tool
from peer.runs import Case, Group, labelled, of_truth, state_of, written
from peer.scoring import OURS, Cell, Line
from simulator import FAULTS, simulate

ADAPTERS: dict[str, Tool] = {name: importlib.import_module(f"peer.{name}").Adapter() for name in peers.NAMES}


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_name_can_mean_known_faults_only(name: str) -> None:
    """What an adapter says that a name means is one of the families, and every adapter says where it has its use from."""
    tool = ADAPTERS[name]
    assert {family for families in tool.families.values() for family in families} <= set(FAMILIES)
    assert tool.families and tool.title and tool.package
    assert name == OURS or tool.documentation.startswith("https://")


def test_every_fault_has_a_right_name() -> None:
    """Each simulated fault has families, lossdoctor's own symptoms for it among them."""
    assert set(SIMULATED) == set(FAULTS)
    for kind, slugs in FAULTS.items():
        for slug in slugs:
            assert ADAPTERS[OURS].speaks_of(Finding(slug, "warning"), SIMULATED[kind]), (kind, slug)


def test_lossdoctor_has_no_name_that_it_cannot_say() -> None:
    """The names in its adapter are those of its detectors."""
    told = set(all_detectors())
    assert set(ADAPTERS[OURS].families) <= told


def test_what_trainproof_says_is_understood() -> None:
    """FAIL is critical, WARN a warning, PASS no finding, and a log without losses no accusation."""
    levels = {"TP-NAN-GRAD": "FAIL", "TP-GRAD-SPIKE": "WARN", "TP-THROUGHPUT": "INFO", "TP-PASS": "PASS", "TP-NO-LOSS": "FAIL"}
    report = {
        "verdict": "FAIL",
        "findings": [{"id": i, "level": level, "message": "", "evidence": ""} for i, level in levels.items()],
    }
    found = trainproof.understood(report)
    assert [f[:2] for f in found] == [("TP-NAN-GRAD", "critical"), ("TP-GRAD-SPIKE", "warning"), ("TP-THROUGHPUT", "info")]


def test_what_finetune_doctor_says_is_understood() -> None:
    """Its checks that say several things go by their title; advice on evaluations is not counted."""
    told = [
        {"check": "loss_degenerate", "title": "NaN loss", "severity": "CRITICAL"},
        {"check": "overfitting", "title": "The model overfits", "severity": "WARNING"},
        {"check": "no_eval", "title": "No evaluation", "severity": "WARNING"},
        {"check": "lr_schedule", "title": "Training at zero learning rate", "severity": "INFO"},
    ]
    found = [f[:2] for f in finetune_doctor.understood(told)]
    assert found == [("NaN loss", "critical"), ("overfitting", "warning"), ("lr_schedule", "info")]


def test_what_trainpulse_says_is_understood() -> None:
    """Its one detector of gradients sees two faults; a slow step is no accusation."""

    def alert(detector: str, message: str, severity: str) -> Any:
        return SimpleNamespace(detector=detector, message=message, severity=SimpleNamespace(value=severity), step=7)

    found = trainpulse.understood(
        [
            alert("gradient", "Gradient explosion: norm=500.0000 (threshold=100.0)", "critical"),
            alert("gradient", "Vanishing gradient: norm=1.00e-09 (threshold=1.00e-07)", "warning"),
            alert("step_time", "Slow step: 3.00s (3.1x avg 0.97s)", "warning"),
            alert("plateau", "Loss plateau: no improvement for 100 steps (best=2.000000)", "warning"),
        ]
    )
    assert [f.name for f in found] == ["Gradient explosion", "Vanishing gradient", "plateau"]
    assert {f.name for f in found} <= set(ADAPTERS["trainpulse"].families)


def test_what_training_doctor_says_is_understood() -> None:
    """Its diagnoses go by the detector that made them."""
    told = SimpleNamespace(detector_name="lr_too_high", severity=SimpleNamespace(value="warning"), step=40)
    assert training_doctor.understood([told]) == [Finding("lr_too_high", "warning", 40)]


# --- What is counted --------------------------------------------------------------------------------------------------


class Standing(Tool):
    """Says of a log whether its last loss is above a limit."""

    families: Mapping[str, tuple[str, ...]] = {"high": ("divergence",)}

    def standing(self, state: Mapping[str, Any]) -> list[Finding]:
        return [Finding("high", "warning")] if state["log_history"][-1]["loss"] > 3 else []


class Following(Standing):
    """The same, fed row by row."""

    standing = Tool.standing  # type: ignore[assignment]

    def follow(self) -> Callable[[protocol.Row], list[Finding]]:
        return lambda row: [Finding("high", "warning", row["step"])] if row["loss"] > 3 else []


def state(*losses: float) -> dict[str, Any]:
    return {"log_history": [{"loss": loss, "step": 10 * (row + 1)} for row, loss in enumerate(losses)]}


@pytest.mark.parametrize("tool", [Standing(), Following()], ids=["reads the log so far", "is fed rows"])
def test_a_delay_is_counted_from_the_onset(tool: Tool) -> None:
    """In training rows, to the first alarm of the right name at or after it; None without one, or with another name."""
    assert protocol.delay(tool, state(2, 2, 2, 2, 5), 2, ["divergence"]) == 2
    assert protocol.delay(tool, state(2, 2, 2, 2, 5), 4, ["divergence"]) == 0
    assert protocol.delay(tool, state(2, 5, 2, 2, 2), 2, ["divergence"]) is None
    assert protocol.delay(tool, state(2, 2, 2, 2, 5), 2, ["overfitting"]) is None


def test_an_alarm_that_stood_before_is_no_discovery() -> None:
    """What a tool said of the log before the onset already does not count as having found the fault."""
    assert protocol.delay(Standing(), state(2, 5, 5, 5), 2, ["divergence"]) is None


def test_evaluations_are_no_rows() -> None:
    """An alarm at an evaluation belongs to the training row before it."""
    history = [{"loss": 2.0, "step": 1}, {"loss": 2.0, "step": 2}, {"eval_loss": 9.0, "step": 2}, {"loss": 5.0, "step": 3}]
    assert (
        protocol.delay(Following(), {"log_history": [h | {"loss": h.get("loss", 9.0)} for h in history]}, 1, ["divergence"]) == 1
    )
    assert [protocol.is_training(h) for h in history] == [True, True, False, True]


@pytest.fixture
def group(tmp_path: Path) -> Group:
    """Three faults, one of them undated, and two healthy runs."""
    sorts = {"a": ("fault", 3), "b": ("fault", 5), "c": ("fault", None), "d": ("healthy", None), "e": ("healthy", None)}
    cases = [Case(i, i, sort, tmp_path / i, ("divergence",), onset) for i, (sort, onset) in sorts.items()]  # type: ignore[arg-type]
    return Group("made up", "", tuple(cases))


def answers(said: Mapping[str, tuple[str, str]], **delays: int | None) -> dict[str, Any]:
    return {i: {"findings": [[*f, None]] if f else [], "sick": bool(f), "delay": delays.get(i)} for i, f in said.items()}


def test_the_figures_of_a_group(group: Group) -> None:
    """Any loud finding is a find on a faulty run and an accusation on a healthy one; a missed fault is endlessly late."""
    tools = {OURS: Standing(), "rival": Standing()}
    careful = answers({"a": ("high", "warning"), "b": ("high", "info"), "c": ("other", "critical"), "d": (), "e": ()}, a=2)  # type: ignore[dict-item]
    careless = answers(dict.fromkeys("abcde", ("other", "critical")))
    found = {line.name: line.cells for line in scoring.lines(group, tools, {OURS: careful, "rival": careless})}
    assert found["faults found"][OURS].text == "2/3" and found["faults found"]["rival"].text == "3/3"
    assert found["faults rightly named"][OURS].text == "1/3" and found["faults rightly named"]["rival"].text == "0/3"
    assert found["healthy runs accused"][OURS].text == "0/2" and found["healthy runs accused"]["rival"].text == "2/2"
    assert (
        found["found less accused, in points"][OURS].text == "67" and found["found less accused, in points"]["rival"].text == "0"
    )
    late = found["rows from onset to the right name, median"]
    assert late[OURS].text == "2" and late["rival"].value == math.inf


def test_who_is_ahead_is_named_with_the_reason() -> None:
    """More is better or less is, a tool without a figure is not ahead, and a careless one is told so."""
    tools: dict[str, Tool] = {OURS: Standing(), "rival": Standing(), "third": Standing()}
    tools["rival"].title, tools["third"].title = "Rival", "Third"

    def line(name: str, better: Any, ours: float, theirs: float) -> Line:
        cells = {OURS: Cell(ours, f"{ours}"), "rival": Cell(theirs, f"{theirs}"), "third": Cell.none()}
        return Line("made up", name, better, cells)

    lines = [line("faults found", "more", 0.8, 1.0), line("healthy runs accused", "less", 0.0, 0.5), line("rows", "less", 3, 2)]
    assert [x.ahead() for x in lines] == [["rival"], [], ["rival"]]
    first, second = page.ahead(lines, tools)
    assert "Rival 1.0, lossdoctor 0.8" in first[0] and first[1] == "healthy runs accused: 0.5, lossdoctor 0.0"
    assert second[1] == "" and "**No reason known.**" in page.listed([second])


def test_costs_that_hardly_differ_are_the_same() -> None:
    """A peer is not ahead for a share of noise."""
    cells = {OURS: Cell(100.0, "100"), "rival": Cell(98.0, "98")}
    assert Line("cost", "a file", "less", cells, noisy=True).ahead() == []
    assert Line("cost", "a file", "less", cells).ahead() == ["rival"]


def test_the_best_of_a_row_stands_out() -> None:
    """In bold, unless all are alike."""
    tools: dict[str, Tool] = {OURS: Standing(), "rival": Standing()}
    different = Line("", "found", "more", {OURS: Cell(0.5, "1/2"), "rival": Cell(1.0, "2/2")})
    alike = Line("", "named", "more", {OURS: Cell(1.0, "2/2"), "rival": Cell(1.0, "2/2")})
    table = page.table([different, alike], tools)
    assert "| found | 1/2 | **2/2** |" in table and "| named | 2/2 | 2/2 |" in table


# --- Runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["standard", "nan_masked", "overfit"])
def test_a_simulated_run_is_read_as_it_was_made(kind: str, tmp_path: Path) -> None:
    """What every tool is given has the rows of the curve, and of what lies around it only what the Trainer writes."""
    curve = simulate(kind, 30, 1)
    (report,) = analyze(written(tmp_path, "a run: 1", state_of(curve)))
    assert report.rows == sum(r.kind in ("train", "eval") for r in curve.records)
    stated = {name for name, fact in report.run.facts.items() if fact.source == "trainer_state"}
    assert stated <= {"max_steps", "num_train_epochs", "logging_steps", "per_device_train_batch_size"}


def test_labels_are_read(tmp_path: Path) -> None:
    """A verdict that is never calm is a fault, one that is never loud a healthy run, and what may be either is not counted."""
    path = written(tmp_path, "run", {"log_history": [{"loss": 2.0, "step": 10}, {"loss": 9.0, "step": 20}]})
    fault = of_truth({"name": "run", "verdict": ["critical"], "any_of": ["loss-spike"], "onset": 15}, path)
    assert (fault.sort, fault.onset, fault.wanted) == ("fault", 1, ("spike",))
    assert of_truth({"id": "run", "class": "trap", "verdict": ["healthy", "insufficient"], "any_of": []}, path).sort == "healthy"
    assert of_truth({"id": "run", "verdict": ["healthy", "warning"], "any_of": []}, path).sort == "either"


def test_a_folder_without_labels_is_only_looked_at(tmp_path: Path) -> None:
    """Its logs are found below it, and are neither faulty nor healthy."""
    written(tmp_path, "a", {"log_history": []})
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert [case.sort for case in labelled(tmp_path)] == ["unknown"]


def test_judging_by_protocol_is_in_order_of_the_requests(tmp_path: Path) -> None:
    """One answer per request; a run that a tool cannot read is an error and not the end."""
    good = written(tmp_path, "good", state_of(simulate("divergence", 30, 1)))
    requests = [
        {"id": "bad", "path": str(tmp_path / "none.json"), "healthy": False},
        {"id": "good", "path": str(good), "onset": 5, "wanted": ["divergence", "spike"], "healthy": True},
    ]
    given, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given.write_text("".join(json.dumps(request) + "\n" for request in requests), encoding="utf-8")
    command = [sys.executable, "-m", "peer.protocol", OURS, "judge", str(given), str(out)]
    subprocess.run(command, check=True, env={**environments.surroundings(), "PYTHONPATH": f"{ROOT / 'benchmarks'}:{ROOT}"})
    bad, answer = (json.loads(line) for line in out.read_text(encoding="utf-8").splitlines())
    assert bad["id"] == "bad" and bad["error"] and answer["sick"] and answer["alarmed"] and answer["delay"] >= 0
    assert Judgement.of([Finding("x", "info")]).sick is False


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_comparison_runs(tmp_path: Path) -> None:
    """lossdoctor and one peer, few runs and rounds: every section has rows, and trainings are the same in both environments."""
    for name in (OURS, "trainproof"):
        if not environments.ready(name, ADAPTERS[name]):
            pytest.skip(f"no environment for {name}: make peers makes it")
    written_to, figures = tmp_path / "peers.md", tmp_path / "peers.json"
    command = [sys.executable, "benchmarks/peers.py", "--quick", "--no-install", "--tools", "trainproof"]
    subprocess.run([*command, "--markdown", str(written_to), "--json", str(figures)], check=True, cwd=ROOT, capture_output=True)
    text = written_to.read_text(encoding="utf-8")
    assert "the same to the last digit in every environment" in text and "## Where a peer is ahead" in text
    sections = {line[0] for line in json.loads(figures.read_text(encoding="utf-8"))["lines"]}
    assert sections == {"simulated, known seeds", "simulated, fresh seeds", "trained", "live", "cost"}
