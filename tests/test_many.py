"""Many runs: all below a folder are found, each is judged once, by any executor, and nothing that goes wrong stops the rest."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import ROOT, write_state
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor import LossDoctorError, analyze, analyze_many, find_runs
from lossdoctor.analysis import find
from lossdoctor.base import Detector
from lossdoctor.many import Outcome
from lossdoctor.model import Log, Record, Report, Run, Symptom
from lossdoctor.readers import tree
from lossdoctor.reports import FORMATS, Look, jsonl, save
from lossdoctor.reports.progress import followed
from lossdoctor.same_run import Fingerprint, Known, fingerprint, groups, same
from lossdoctor.vitals import Vitals

OK, FINDINGS, UNUSABLE, NOTHING = 0, 1, 2, 3


def history(seed: int, rows: int = 40, broken: bool = False) -> list[dict[str, Any]]:
    """A run with numbers of its own; a broken one has lost its gradients in the last third."""
    noise = random.Random(seed)
    log: list[dict[str, Any]] = []
    for row in range(1, rows + 1):
        loss = 1.5 + 2 * 0.93**row + noise.gauss(0, 0.03)
        lost = broken and row > rows * 2 // 3
        log.append(
            {
                "step": 10 * row,
                "epoch": row / 20,
                "loss": 0.0 if lost else loss,
                "grad_norm": float("nan") if lost else 1 + noise.random(),
                "learning_rate": 1e-4 * (1 - row / (rows + 1)),
            }
        )
    return log


def printed(log: list[dict[str, Any]]) -> str:
    """The same as release 5 prints it: texts of four significant digits, without steps."""
    rows = ({name: f"{value:.4g}" for name, value in row.items() if name != "step"} for row in log)
    return "".join(f"{row}\n" for row in rows)


def many(folder: Path, count: int, broken: int = 0, rows: int = 12) -> Path:
    """A folder with so many runs, of which the first ones are broken."""
    for seed in range(count):
        write_state(folder / f"run-{seed:04}", history(seed, 36 if seed < broken else rows, seed < broken))
    return folder


def command(*words: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`lossdoctor analyze` as a process of its own."""
    variables = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "lossdoctor", "analyze", *map(str, words)]
    return subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False)


def lines_of(text: str) -> list[dict[str, Any]]:
    """Strict JSON lines, each of which conforms to the schema."""
    found = [json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) for line in text.splitlines()]
    for line in found:
        jsonschema.validate(line, jsonl.schema())
    return found


# --- Trees ------------------------------------------------------------------------------------------------------------


def test_every_run_below_a_folder_is_found_and_nothing_else(tmp_path: Path) -> None:
    """Output folders by their checkpoints or state, logs by their content; settings, weights and notes are no runs."""
    write_state(tmp_path / "a", history(1))
    write_state(tmp_path / "deep" / "er" / "b" / "checkpoint-400", history(2))
    (tmp_path / "nohup.out").write_text(printed(history(3)))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "run-without-ending").write_text("".join(json.dumps(row) + "\n" for row in history(4)))
    for name in ("config.json", "adapter_config.json", "all_results.json", "README.md", "notes.txt", "a/model.safetensors"):
        (tmp_path / name).write_text('{"learning_rate": "2e-5", "epochs": 3}')
    (tmp_path / "deep" / "weights.dat").write_bytes(bytes(100_000))
    write_state(tmp_path / ".cache" / "c", history(5))
    found = [[os.path.relpath(path, tmp_path) for path in unit] for unit in find_runs(tmp_path)]
    assert found == [["nohup.out"], ["a"], ["deep/er/b"], ["logs/run-without-ending"]]


def test_what_lies_in_an_output_folder_may_be_of_its_run(tmp_path: Path) -> None:
    """A log beside the checkpoints is judged together with them, not as a run of its own."""
    log = history(1)
    for steps in (10, 20, 40):
        write_state(tmp_path / "x" / "out" / f"checkpoint-{10 * steps}", log[:steps])
    (tmp_path / "x" / "out" / "train.log").write_text(printed(log))
    (tmp_path / "x" / "other.log").write_text(printed(history(2)))
    assert [len(unit) for unit in find_runs(tmp_path)] == [1, 2]


def test_a_folder_with_a_log_of_its_own_is_that_run(tmp_path: Path) -> None:
    """What lies further down does not turn an output folder into a tree, and one run in a tree is told as that run."""
    write_state(tmp_path / "top" / "out", history(1))
    write_state(tmp_path / "top" / "out" / "older", history(2))
    assert find_runs(tmp_path / "top" / "out") == [(str(tmp_path / "top" / "out"),)]
    (tmp_path / "top" / "out" / "older" / "trainer_state.json").unlink()
    alone, below = (command(tmp_path / "top" / name).stdout for name in ("out", ""))
    assert alone == below and alone.startswith(str(tmp_path / "top" / "out"))


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A circle of links ends, and a run behind a link is found where it is."""
    write_state(tmp_path / "runs" / "a", history(1))
    (tmp_path / "runs" / "circle").symlink_to(tmp_path / "runs")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "log.jsonl").write_text(json.dumps({"loss": 1.0}))
    (tmp_path / "runs" / "log.jsonl").symlink_to(tmp_path / "elsewhere" / "log.jsonl")
    assert find_runs(tmp_path / "runs") == [(str(tmp_path / "runs" / "a"),)]


def test_a_tree_has_bounds_and_says_when_it_meets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too deep or too much is not looked at, with a word."""
    write_state(tmp_path / "a", history(1))
    write_state(tmp_path.joinpath(*"bcdefghijklmnopqrstuv"), history(2))
    found = find([str(tmp_path)])
    assert [len(unit) for unit in found.runs] == [1] and f"more than {tree.DEEPEST} folders deep" in found.notes[0]
    monkeypatch.setattr(tree, "MOST_ENTRIES", 3)
    assert "more than 3 files and folders" in find([str(tmp_path)]).notes[0]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_entered_is_noted(tmp_path: Path) -> None:
    """The others are judged."""
    many(tmp_path, 2)
    (tmp_path / "run-0000").chmod(0)
    try:
        found = find([str(tmp_path)])
    finally:
        (tmp_path / "run-0000").chmod(0o700)
    assert len(found.runs) == 1 and "permission denied" in found.notes[0]


def test_ten_thousand_files_are_looked_through_quickly(tmp_path: Path) -> None:
    """Weights and settings are passed over by their names; text is looked into."""
    for folder in range(100):
        inside = tmp_path / f"f{folder}"
        inside.mkdir()
        for place in range(98):
            (inside / f"part-{place}.{('txt', 'safetensors', 'json', 'py')[place % 4]}").write_bytes(
                b"nothing of interest\n" * 20
            )
        write_state(inside / "out", history(folder, 8))
    start = time.perf_counter()
    found = find([str(tmp_path)])
    assert len(found.runs) == 100 and not found.notes
    assert time.perf_counter() - start < 20


def test_a_folder_without_any_log_is_refused_as_ever(tmp_path: Path) -> None:
    """One line, and exit code 2; beside others it does not stop them."""
    (tmp_path / "empty").mkdir()
    done = command(tmp_path / "empty")
    assert done.returncode == UNUSABLE and "holds no trainer_state.json" in done.stderr
    write_state(tmp_path / "a", history(1))
    done = command(tmp_path / "empty", tmp_path / "a", "--output-format", "json")
    assert len(json.loads(done.stdout)["reports"]) == 1


# --- The same run -----------------------------------------------------------------------------------------------------

LOSSES = st.lists(st.floats(0.0, 50.0, exclude_min=True).map(lambda v: v + 1e-3), min_size=8, max_size=60, unique=True)
FORMS: dict[str, Any] = {
    "full": lambda v: v,
    "4 digits": lambda v: float(f"{v:.4g}"),
    "4 decimals": lambda v: round(v, 4),
    "32 bits": lambda v: float(f"{v:.7g}"),
}


def log_of(losses: list[float], form: str = "full", numbered: bool = False, first: int = 1) -> Log:
    """A log whose losses are written in this form."""
    rows = enumerate(losses, first)
    step = 1 if numbered else 10
    return Log(Run(numbered=numbered), tuple(Record(step * n, None, "train", {"loss": FORMS[form](v)}) for n, v in rows))


def print_of(*words: Any, **more: Any) -> Fingerprint:
    found = fingerprint(log_of(*words, **more))
    assert found is not None
    return found


@settings(max_examples=150, deadline=None)
@given(LOSSES, st.sampled_from(sorted(FORMS)), st.sampled_from(sorted(FORMS)), st.booleans(), st.integers(5, 60))
def test_a_run_is_known_again_in_any_form_and_by_its_beginning(
    losses: list[float], one: str, other: str, numbered: bool, rows: int
) -> None:
    """Whichever of the two comes first, and also among many: both are one run, however little of it one of them has."""
    whole, part = fingerprint(log_of(losses, one)), fingerprint(log_of(losses[:rows], other, numbered))
    if whole is None or part is None:
        assert len({FORMS[form](v) for form in (one, other) for v in losses[:rows]}) < 16  # too few that differ to be known by
        return
    assert same(whole, part) and same(part, whole)
    for first, second in ((whole, part), (part, whole)):
        known = Known()
        known.add(first)
        assert known.find(second) == 0


@settings(max_examples=100, deadline=None)
@given(LOSSES, st.data())
def test_a_branch_is_another_run(losses: list[float], data: st.DataObject) -> None:
    """Two that agree up to a row and differ after it are two; what both began as belongs to one of them."""
    place = data.draw(st.integers(0, len(losses) - 1))
    branch = [*losses[:place], *(v * 1.01 + 0.01 for v in losses[place:])]
    for form in FORMS:
        one, other = fingerprint(log_of(losses, form)), fingerprint(log_of(branch))
        assert one is None or other is None or not same(one, other)
    prints = [fingerprint(log_of(rows)) for rows in (losses, branch, losses[:place] or losses)]
    assert len(groups(prints)) >= 2


def test_steps_that_are_counted_from_zero_in_one_source_are_the_same_run() -> None:
    """Event files of Lightning do, what is read of its CSV does not; a branch is another run all the same."""
    losses = [row["loss"] for row in history(1)]
    one, other, branch = (
        fingerprint(Log(Run(), tuple(Record(5 * n + first, None, "train", {"loss": v}) for n, v in enumerate(of))))
        for first, of in ((4, losses), (5, losses), (5, [*losses[:20], *(v + 0.1 for v in losses[20:])]))
    )
    assert groups([one, other, branch]) == [[1, 0], [2]]


def test_other_seeds_and_other_rates_are_other_runs() -> None:
    """A sweep in which even every loss is the same to four digits is a sweep: the learning rates differ."""
    rows = history(1)
    logs = [Log(Run(), tuple(Record(r["step"], None, "train", {"loss": r["loss"], "learning_rate": rate}) for r in rows))
            for rate in (1e-8, 2e-8)]  # fmt: skip
    assert len(groups([fingerprint(log) for log in logs])) == 2
    assert len(groups([print_of([row["loss"] for row in history(seed)]) for seed in range(100)])) == 100


@pytest.mark.parametrize("losses", [[0.0] * 50, [float("nan")] * 50, [2.5, 2.5, 2.0] * 10, [3.0, 2.9, 2.8, 2.7]])
def test_what_tells_nothing_apart_is_no_proof(losses: list[float]) -> None:
    """Two runs that collapsed at the first step, or with four rows, are not taken for one."""
    assert fingerprint(log_of(losses)) is None


def test_a_run_that_broke_is_known_again() -> None:
    """NaN and zeros agree with themselves."""
    losses = [*(row["loss"] for row in history(1)), float("nan"), 0.0, float("inf")]
    assert groups([print_of(losses), print_of(losses, "4 digits"), print_of([*losses[:-1], 1.0])]) == [[0, 1], [2]]


def test_the_best_source_goes_furthest_and_has_most() -> None:
    """Of two that end at the same step the one with more digits; a log without steps of its own comes last."""
    losses = [row["loss"] for row in history(1)]
    prints = [print_of(losses, "4 digits", True), print_of(losses[:20]), print_of(losses, "4 decimals"), print_of(losses)]
    assert groups(prints) == [[3, 2, 1, 0]]


def test_looking_a_run_up_takes_no_longer_for_more_of_them() -> None:
    """A sweep of 6,000 runs with one opening, each also in another form, is sorted out in seconds."""
    opening = [row["loss"] for row in history(0)][:10]
    prints = []
    for seed in range(3_000):
        losses = [*opening, *(row["loss"] for row in history(seed))]
        prints += [print_of(losses), print_of(losses, "4 digits")]
    start = time.perf_counter()
    assert len(groups(prints)) == 3_000
    assert time.perf_counter() - start < 20


def test_all_logs_of_one_run_give_one_report(tmp_path: Path) -> None:
    """State, checkpoints, what was printed and LLaMA-Factory's lines: the report is on the best and names the others."""
    log = history(1)
    write_state(tmp_path / "out" / "checkpoint-200", log[:20])
    write_state(tmp_path / "out", log)
    (tmp_path / "out" / "train.log").write_text(printed(log))
    lines = ({"current_steps": r["step"], "total_steps": 400, "loss": round(r["loss"], 4), "lr": r["learning_rate"]} for r in log)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "trainer_log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "elsewhere" / "checkpoint").mkdir()
    (tmp_path / "elsewhere" / "copy.json").write_bytes((tmp_path / "out" / "checkpoint-200" / "trainer_state.json").read_bytes())
    (report,) = json.loads(command(tmp_path, "--output-format", "json").stdout)["reports"]
    assert report["source"]["path"] == str(tmp_path / "out") and report["run"]["last_step"] == 400
    names = [os.path.relpath(path, tmp_path) for path in report["source"]["same"]]
    assert sorted(names) == ["elsewhere/copy.json", "elsewhere/trainer_log.jsonl", "out/train.log"]
    for name in ("text", "markdown", "html"):
        assert "The same run as in" in command(tmp_path, "--output-format", name).stdout


def test_event_files_of_a_run_are_that_run(tmp_path: Path) -> None:
    """What the Trainer wrote for TensorBoard beside its checkpoints is not a second run."""
    pytest.importorskip("tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for seed, name in enumerate("ab"):
        write_state(tmp_path / name, history(seed))
        writer = EventFileWriter(str(tmp_path / name / "runs" / "today"))
        for row in history(seed):
            for tag, column in (("train/loss", "loss"), ("train/learning_rate", "learning_rate")):
                value = Summary.Value(tag=tag, simple_value=row[column])
                writer.add_event(Event(step=row["step"], wall_time=1.0, summary=Summary(value=[value])))
        writer.close()
    outcomes = list(analyze_many(find_runs(tmp_path)))
    assert [len(outcome.reports) for outcome in outcomes] == [1, 1]
    assert [outcome.reports[0].run.same for outcome in outcomes] == [(str(tmp_path / n / "runs" / "today"),) for n in "ab"]


# --- Executors --------------------------------------------------------------------------------------------------------


def executor(kind: str) -> Executor:
    if kind == "threads":
        return ThreadPoolExecutor(4)
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(kind))


@pytest.mark.parametrize("kind", ["threads", "fork", "spawn"])
def test_any_executor_gives_what_analyze_gives(tmp_path: Path, kind: str) -> None:
    """One outcome a source, with the same findings; a file that is no log is an error and nothing else."""
    if kind != "threads" and kind not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {kind} here")
    units = find_runs(many(tmp_path, 20, 2))
    (tmp_path / "bad.json").write_bytes(b"PK\x03\x04\x00")
    paths = [*units, str(tmp_path / "bad.json"), tmp_path / "missing"]
    with executor(kind) as pool:
        found = {outcome.path: outcome for outcome in analyze_many(paths, pool)}
    assert len(found) == 22
    for path, outcome in found.items():
        if outcome.error is None:
            (report,), (alone,) = outcome.reports, analyze(path)
            assert jsonl.line(report) == jsonl.line(alone) and report.records == ()
    assert sum(outcome.error is not None for outcome in found.values()) == 2
    assert gc.isenabled()


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_order_is_that_of_the_paths_on_request(tmp_path: Path, jobs: int) -> None:
    """The table of the command line does not depend on who was quicker."""
    units = find_runs(many(tmp_path, 40))
    assert [outcome.sources for outcome in analyze_many(units, jobs=jobs, ordered=True)] == units


def test_a_hundred_thousand_paths_are_not_read_ahead(tmp_path: Path) -> None:
    """Paths are taken from a generator as results come: what waits is bounded."""
    path, taken = write_state(tmp_path, history(1, 6)), 0

    def paths() -> Iterator[Path]:
        nonlocal taken
        for _ in range(100_000):
            taken += 1
            yield path

    with ThreadPoolExecutor(2) as pool:
        outcomes = analyze_many(paths(), pool, in_flight=3)
        for _ in range(100):
            next(outcomes)
        assert taken <= 100 + 4 * 16
        outcomes.close()


def test_an_outcome_is_small(tmp_path: Path) -> None:
    """What a worker sends back does not grow with the log, unless the rows are wanted."""
    write_state(tmp_path, history(1, 5_000))
    (outcome,), (whole,) = analyze_many([tmp_path]), analyze_many([tmp_path], rows=True)
    assert len(pickle.dumps(outcome)) < 16_000 and outcome.reports[0].rows == 5_000
    assert len(whole.reports[0].records) > 1_000


@dataclass
class Deadly(Detector):
    """Ends the process in which it meets a certain run.

    ## What it watches
    ## Why it matters
    ## What it misses
    """

    says = "deadly"
    code: int = 9

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if record.values.get("loss") == 66.0:
            os._exit(self.code)
        return None


def left_running() -> list[Any]:
    """Workers that are still there: they are told to leave at once, and do when the machine has a moment for them."""
    until = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < until:
        time.sleep(0.01)
    return multiprocessing.active_children()


@pytest.mark.parametrize("own", [True, False])
def test_a_worker_that_dies_costs_the_source_that_killed_it(tmp_path: Path, own: bool) -> None:
    """Also where the pool is broken for good: the others are judged, each once, and the error says what happened."""
    units = find_runs(many(tmp_path, 60))
    for seed in (7, 33):
        write_state(tmp_path / f"run-{seed:04}", [{"step": 1, "loss": 66.0}])
    pool = None if own else ProcessPoolExecutor(2)
    outcomes = list(analyze_many(units, pool, jobs=2, plugins=[Deadly]))
    assert sorted(outcome.sources for outcome in outcomes) == units
    lost = {outcome.path: str(outcome.error) for outcome in outcomes if outcome.error}
    assert {Path(path).name for path in lost} == {"run-0007", "run-0033"}
    assert all("was killed, or ran out of memory" in error for error in lost.values())
    assert not left_running()


def test_whoever_has_seen_enough_leaves_no_process_behind(tmp_path: Path) -> None:
    """Closing the generator ends its workers at once."""
    outcomes = analyze_many(find_runs(many(tmp_path, 60)), jobs=2)
    next(outcomes)
    assert multiprocessing.active_children()
    outcomes.close()
    assert not left_running()


def test_threads_leave_the_collector_as_it_was(tmp_path: Path) -> None:
    """It is paused for reading by one thread at a time, and on again after the last, whatever they raise."""
    path = write_state(tmp_path, history(1, 300))
    threads = [threading.Thread(target=lambda: list(analyze_many([path, tmp_path / "missing"] * 5))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gc.isenabled()
    gc.disable()
    try:
        analyze(path)
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("options", [{"jobs": 0}, {"in_flight": 0}])
def test_a_number_that_makes_no_sense_is_refused(options: dict[str, int]) -> None:
    """At once, not when the first result is asked for."""
    with pytest.raises(LossDoctorError, match="must be 1 or more, found 0"):
        analyze_many([], **options)  # type: ignore[arg-type]


# --- The command line -------------------------------------------------------------------------------------------------


def test_the_table_has_the_worst_first_and_counts_the_rest(tmp_path: Path) -> None:
    """Two broken runs among sixty are at the top and told in full; the healthy ones are a number."""
    done = command(many(tmp_path, 60, 2), "--jobs", 2)
    rows = [line for line in done.stdout.splitlines() if " run-00" in line and "analyze" not in line]
    assert [row.split()[:3] for row in rows] == [["✖", "critical", "run-0000"], ["✖", "critical", "run-0001"]]
    assert "60 runs: 2 critical, 58 healthy. The table has the worst 2." in done.stdout
    assert done.stdout.count("CRITICAL") == 2 and done.stderr == "" and done.returncode == FINDINGS


def test_with_many_ill_runs_the_table_says_how_to_see_one(tmp_path: Path) -> None:
    """Twelve full reports in a row are read by nobody."""
    done = command(many(tmp_path, 12, 12))
    assert "CRITICAL" not in done.stdout and f"In full: lossdoctor analyze {tmp_path}/run-0000" in done.stdout


def test_thousands_of_bad_files_are_counted_not_listed(tmp_path: Path) -> None:
    """Five are named on stderr, and how many more there are; the good one is judged."""
    bad = []
    for place in range(40):
        bad.append(tmp_path / f"bad-{place:02}.json")
        bad[-1].write_bytes(b"PK\x03\x04\x00")
    done = command(write_state(tmp_path / "good", history(1)), *bad)
    assert len(done.stderr.splitlines()) == 6 and "and 35 more" in done.stderr and done.returncode == UNUSABLE
    assert "HEALTHY" in done.stdout


def test_each_run_is_a_line_of_strict_json(tmp_path: Path) -> None:
    """Also those that cannot be read, and NaN in evidence; the same run elsewhere is marked."""
    units = many(tmp_path / "runs", 40, 3)
    write_state(tmp_path / "runs" / "the-last", history(5, 12))
    (tmp_path / "bad.json").write_bytes(b"PK\x03\x04\x00")
    done = command(units, tmp_path / "bad.json", "--output-format", "jsonl", "--jobs", 2)
    lines = lines_of(done.stdout)
    assert len(lines) == 42 and done.returncode == FINDINGS
    assert [line["source"]["path"] for line in lines if "error" in line] == [str(tmp_path / "bad.json")]
    assert [line["verdict"] for line in lines if "verdict" in line].count("critical") == 3
    doubles = [line["source"] for line in lines if "same_run_as" in line["source"]]
    assert [{source["path"], source["same_run_as"]} for source in doubles] == [{str(units / "run-0005"), str(units / "the-last")}]
    (document,) = json.loads(command(units / "run-0000", "--output-format", "json").stdout)["reports"]
    (line,) = [line for line in lines if line["source"]["path"] == str(units / "run-0000")]
    assert {**document, "source": 0} == {name: 0 if name == "source" else line[name] for name in document}


def test_the_schema_of_lines_refuses_what_is_none(tmp_path: Path) -> None:
    """A line without a verdict or an error, or with a field that nobody has heard of, does not conform."""
    line = json.loads(jsonl.line(analyze(write_state(tmp_path, history(1)))[0], size=1, modified="2026-01-01T00:00:00.000000Z"))
    jsonschema.validate(line, jsonl.schema())
    for wrong in ({**line, "more": 1}, {**line, "error": "x"}, {"source": line["source"]}, {**line, "source": {"path": "x"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, jsonl.schema())


def test_another_call_goes_on_where_the_first_one_ended(tmp_path: Path) -> None:
    """What is there and unchanged is not read again, half a line is cut, and what has changed is judged anew."""
    runs, out = many(tmp_path / "runs", 10, 1), tmp_path / "results.jsonl"
    assert command(runs, "-o", out).returncode == FINDINGS
    whole = out.read_text()
    assert len(lines_of(whole)) == 10
    first = whole.splitlines(keepends=True)
    out.write_text("".join(first[:6]) + first[6][:200])
    done = command(runs, "-o", out, "--resume")
    assert "6 of 10 sources are in" in done.stderr and done.returncode == FINDINGS
    assert sorted(out.read_text().splitlines()) == sorted(whole.splitlines())
    write_state(runs / "run-0003", history(3, 14))
    done = command(runs, "-o", out, "--resume")
    rows = {line["source"]["path"]: line["run"]["rows"] for line in lines_of(out.read_text())}
    assert "9 of 10" in done.stderr and len(rows) == 10 and rows[str(runs / "run-0003")] == 14


@pytest.mark.parametrize("content", ["hello\n", '{"a": 1}\n', "[]\nx\n", "hello"])
def test_a_file_of_somebody_else_is_not_gone_on_with(tmp_path: Path, content: str) -> None:
    """It stays as it is, and the line says why."""
    out = tmp_path / "results.jsonl"
    out.write_text(content)
    done = command(many(tmp_path / "runs", 2), "-o", out, "--resume")
    assert done.returncode == UNUSABLE and "not of lossdoctor" in done.stderr and out.read_text() == content


@pytest.mark.parametrize("options", [["--resume"], ["--resume", "-o", "x.html"], ["--resume", "--output-format", "jsonl"]])
def test_only_a_file_of_lines_can_be_gone_on_with(tmp_path: Path, options: list[str]) -> None:
    """Anything else is said in one line."""
    done = command(write_state(tmp_path, history(1)), *options, folder=tmp_path)
    assert done.returncode == UNUSABLE and "-o FILE.jsonl" in done.stderr and len(done.stderr.splitlines()) == 1


def test_ctrl_c_leaves_a_valid_file_and_no_process(tmp_path: Path) -> None:
    """The file ends with a whole line, stderr says how to go on, and going on gives all."""
    runs, out = many(tmp_path / "runs", 300, rows=60), tmp_path / "results.jsonl"
    line = [sys.executable, "-m", "lossdoctor", "analyze", str(runs), "-o", str(out), "--jobs", "2"]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while (not out.exists() or out.stat().st_size == 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in said and "--resume goes on" in said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    there = len(lines_of(out.read_text()))
    assert 0 < there < 300
    command(runs, "-o", out, "--resume")
    assert len({line["source"]["path"] for line in lines_of(out.read_text())}) == 300


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
def test_workers_go_when_the_process_that_started_them_is_killed(tmp_path: Path) -> None:
    """Nobody has to look for them afterwards."""
    runs, out = many(tmp_path / "runs", 300, rows=200), tmp_path / "results.jsonl"
    line = [sys.executable, "-m", "lossdoctor", "analyze", str(runs), "-o", str(out), "--jobs", "2"]
    process = subprocess.Popen(line, cwd=ROOT, start_new_session=True)
    while not out.exists() or out.stat().st_size == 0:
        time.sleep(0.01)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("workers are left")


def reports_of(folder: Path, count: int, broken: int) -> list[Report]:
    outcomes = analyze_many(find_runs(many(folder, count, broken)), rows=True, ordered=True)
    return [report for outcome in outcomes for report in outcome.reports]


def test_pages_of_many_runs_stay_readable(tmp_path: Path) -> None:
    """Every run is in the table of a page, and the worst are told in full; pictures are drawn of these alone."""
    reports = reports_of(tmp_path / "runs", 120, 30)
    reports += [replace(report, run=replace(report.run, path=f"{report.run.path}-again")) for report in reports] * 9
    for name in FORMATS:
        save(reports, tmp_path / f"report.{name}", name, Look(color=False))
    page, markdown = (tmp_path / "report.html").read_text(), (tmp_path / "report.markdown").read_text()
    assert page.count("<tr>") >= 1_200 and page.count("<header") == 50 and len(page) < 3_000_000
    assert markdown.count("\n## ") == 20 and len(list(tmp_path.glob("report-*.svg"))) == 20
    assert (tmp_path / "report.junit").stat().st_size < 1_000_000
    assert (tmp_path / "report.github").read_text().count("\n") == 301
    assert len(lines_of((tmp_path / "report.jsonl").read_text())) == 1_200


def test_runs_told_in_full_have_their_curves_among_many_too(tmp_path: Path) -> None:
    """Their rows are not kept for all; those of the worst are read once more."""
    done = command(many(tmp_path, 70, 2), "-o", tmp_path / "report.html", "--fail-on", "never")
    assert done.returncode == OK and (tmp_path / "report.html").read_text().count("<svg") == 2


def test_the_page_about_many_runs_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Its Python runs as it stands, and its SQL where DuckDB is installed; each finds the two broken runs."""
    page = (ROOT / "docs" / "many.md").read_text(encoding="utf-8")
    many(tmp_path / "runs", 8, 2)
    monkeypatch.chdir(tmp_path)
    assert command("runs/", "-o", "results.jsonl", folder=tmp_path).returncode == FINDINGS
    blocks = dict(re.findall(r"```python\n(import json|from lossdoctor)(.*?)```", page, re.S))
    pytest.importorskip("pandas")
    for first, rest in blocks.items():
        exec(compile(first + rest, "many.md", "exec"), {})
        assert capsys.readouterr().out.count("critical") >= 1
    assert len(blocks) == 2
    duckdb = pytest.importorskip("duckdb")
    (sql,) = re.findall(r"```sql\n(.*?)```", page, re.S)
    counted, causes = (duckdb.sql(query).fetchall() for query in sql.strip().split(";")[:2])
    assert ("critical", 2) in counted and len(causes) > 0


def test_the_bar_says_how_many_and_how_many_are_critical(tmp_path: Path) -> None:
    """Outcomes pass through as they come; a bar is drawn only where somebody looks."""
    from rich.console import Console

    reports = reports_of(tmp_path, 6, 2)
    outcomes = [Outcome((report.run.path,), (report,)) for report in reports] + [Outcome(("x",), error=LossDoctorError("x"))]
    shown = StringIO()
    console = Console(file=shown, force_terminal=True, width=100)
    assert list(followed(iter(outcomes), 7, console)) == outcomes
    assert "7/7" in shown.getvalue() and "2 critical" in shown.getvalue() and "1 unreadable" in shown.getvalue()
