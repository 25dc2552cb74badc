"""Databases of MLflow and trackio: those that they wrote themselves, while they are written, broken, hostile and too large."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossdoctor.analysis import analyze, load
from lossdoctor.model import Log, LossDoctorError, NothingToAnalyse, Record
from lossdoctor.parsing import sqlite, tracked
from lossdoctor.readers import Source, mlflow_store, trackio_store

LOGS = ROOT / "tests" / "logs"
TRAINER, OWN, PROJECT = (
    LOGS / "mlflow_store" / "trainer.db",
    LOGS / "mlflow_store" / "own_names.db",
    LOGS / "trackio_store" / "project.db",
)
RUNS = "create table runs (run_uuid text, name text, start_time int, lifecycle_stage text)"
METRICS = "create table metrics (key text, value float, timestamp int, run_uuid text, step int, is_nan bool)"
CALLS = "create table metrics (id integer primary key, run_id text, run_name text, step int, metrics text)"
FINITE = st.floats(allow_nan=False, min_value=-1e300, max_value=1e300)
NAMES = st.sampled_from(["grad_norm", "learning_rate", "rewards/chosen", "kl"])


def made(path: Path, *statements: str, rows: Iterable[tuple[Any, ...]] = ()) -> Path:
    """A database with these tables, and rows for its metrics."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("pragma synchronous = off")
        for statement in statements:
            store.execute(statement)
        for row in rows:
            store.execute(f"insert into metrics values ({','.join('?' * len(row))})", row)
    return path


def mlflow(folder: Path, rows: Iterable[tuple[Any, ...]], *more: str) -> Path:
    """A store with one run, and rows (key, value, step)."""
    run = "insert into runs values ('r', 'only', 1, 'active')"
    return made(folder / "m.db", RUNS, METRICS, run, *more, rows=((k, v, i, "r", s, 0) for i, (k, v, s) in enumerate(rows)))


def trackio(folder: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """A project with one run, and what was logged."""
    return made(folder / "t.db", CALLS, rows=((i, "r", "only", i, json.dumps(row)) for i, row in enumerate(rows)))


# --- What is in them ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [TRAINER, PROJECT], ids=["mlflow", "trackio"])
def test_the_runs_of_a_trainer_have_their_steps_settings_and_names(path: Path) -> None:
    """Both runs in the order in which they were started, each with its own rows, settings and verdict."""
    healthy, broken = load(path)
    assert (healthy.run.name, broken.run.name) == ("healthy", "broken") and not healthy.run.notes and not broken.run.notes
    assert [r.step for r in healthy.records if r.kind == "train"] == list(range(2, 61, 2))
    assert [r.step for r in broken.records if r.kind == "eval"] == [10, 20, 30, 40]
    first = {"loss": 5.172465801239014, "grad_norm": 1.8061076402664185, "learning_rate": 0.0009833333333333332}
    assert healthy.records[0] == Record(2, 0.008333333333333333, "train", first)
    losses = {r.step: r.values["loss"] for r in broken.records if "loss" in r.values}
    assert not math.isnan(losses[24]) and all(math.isnan(losses[step]) for step in range(26, 41, 2))
    assert (healthy.run.get("max_steps"), broken.run.get("max_steps"), broken.run.get("learning_rate")) == (60, 40, 0.001)
    reports = analyze(path)
    assert [(r.verdict, r.last_good_step) for r in reports] == [("healthy", 60), ("critical", 24)]
    assert any(s.slug == "loss-not-finite" for s in reports[1].symptoms)


def test_names_with_a_slash_infinities_and_runs_of_one_name(tmp_path: Path) -> None:
    """`train/loss` is `loss`, `val_loss` is `eval_loss`; 1.8e308 is how MLflow writes infinity; ids tell the runs apart."""
    first, second = load(OWN)
    assert first.run.name.startswith("first ") and second.run.name.startswith("first ") and first.run.name != second.run.name
    assert first.records[0] == Record(5, 0.1, "train", {"loss": 4.9, "learning_rate": 0.001})
    assert [(r.step, r.values["eval_loss"]) for r in first.records if r.kind == "eval"][:2] == [(25, 4.0), (50, 3.5)]
    assert [r.values["loss"] for r in second.records if "loss" in r.values][-6:] == [math.inf] * 6
    assert math.isnan(second.records[-1].values["eval_loss"])
    assert not any("system" in name or "cpu" in name for r in first.records for name in r.values)
    assert (second.run.get("learning_rate"), second.run.get("num_train_epochs")) == (0.01, 2.0)


def test_a_deleted_run_is_left_out(tmp_path: Path) -> None:
    """MLflow only marks it."""
    shutil.copy(TRAINER, path := tmp_path / "m.db")
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("update runs set lifecycle_stage = 'deleted' where name = 'broken'")
    assert [log.run.name for log in load(path)] == ["healthy"]


def test_metrics_without_a_step_are_numbered(tmp_path: Path) -> None:
    """`log_metric` without a step gives them all step 0."""
    (log,) = load(mlflow(tmp_path, [("loss", 3.0, 0), ("loss", 2.0, 0), ("val_loss", 2.5, 0), ("loss", 1.0, 0)]))
    assert [(r.step, r.kind) for r in log.records] == [(1, "train"), (2, "train"), (2, "eval"), (3, "train")]
    assert log.run.numbered and log.run.notes == ("the rows have no step: they are numbered from 1",)


def test_a_resumed_run_is_its_last_branch(tmp_path: Path) -> None:
    """MLflow goes on in the same run, in the order of writing."""
    (log,) = load(mlflow(tmp_path, [("loss", float(9 - s), s) for s in (1, 2, 3, 4, 3, 4, 5)]))
    assert [r.step for r in log.records] == [1, 2, 3, 4, 5] and log.run.resumed_at == (3,)


def test_rows_that_were_written_late_are_in_their_place(tmp_path: Path) -> None:
    """MLflow writes in several threads: what was logged first may come last, and is no return to an earlier step."""
    run = "insert into runs values ('r', 'only', 1, 'active')"
    rows = [(name, 3.0, 1000 + step, "r", step, 0) for step in (10, 11, 9, 12) for name in ("loss", "grad_norm", "epoch")]
    (log,) = load(made(tmp_path / "m.db", RUNS, METRICS, run, rows=rows))
    assert [(r.step, len(r.values), r.epoch) for r in log.records] == [(step, 2, 3.0) for step in (9, 10, 11, 12)]
    assert log.run.resumed_at == () and not log.run.notes


def test_a_loop_of_its_own_has_the_steps_of_trackio(tmp_path: Path) -> None:
    """Without a global step the count of log calls is the step, and that is said; what is not finite is text."""
    rows = [{"loss": 3.0}, {"loss": "NaN", "lr": 0.1}, {"loss": "-Infinity", "table": {"a": 1}}]
    (log,) = load(trackio(tmp_path, rows))
    assert [r.step for r in log.records] == [0, 1, 2] and "count its log calls" in log.run.notes[0]
    assert math.isnan(log.records[1].values["loss"]) and log.records[1].values["learning_rate"] == 0.1
    assert log.records[2].values == {"loss": -math.inf}


def test_before_its_release_0_24_a_run_of_trackio_had_a_name_only(tmp_path: Path) -> None:
    """And its configuration the same."""
    path = made(
        tmp_path / "t.db",
        "create table metrics (id integer primary key, timestamp text, run_name text, step int, metrics text)",
        "create table configs (id integer primary key, run_name text, config text)",
        """insert into configs values (1, 'b', '{"learning_rate": 0.5, "_Username": "x"}')""",
        rows=[
            (1, "", "a", 0, '{"loss": 1}'),
            (2, "", "b", 0, '{"loss": 2}'),
            (3, "", "a", 1, '{"lo'),
            (4, "", "a", 2, '{"loss": 3}'),
        ],
    )
    first, second = load(path)
    assert (first.run.name, second.run.name, second.run.get("learning_rate")) == ("a", "b", 0.5)
    assert [(r.step, r.values["loss"]) for r in first.records] == [(0, 1.0), (2, 3.0)]


def test_without_a_number_there_is_nothing_to_analyse(tmp_path: Path) -> None:
    """As of a training that failed before it logged anything."""
    for path in (mlflow(tmp_path, []), trackio(tmp_path, []), trackio(tmp_path, [{"a": "b"}])):
        with pytest.raises(NothingToAnalyse, match="no run with a number"):
            load(path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.tuples(FINITE, st.dictionaries(NAMES, FINITE)), min_size=1, max_size=20))
def test_what_was_logged_is_read(tmp_path: Path, rows: list[tuple[float, dict[str, float]]]) -> None:
    """Every number to its last bit, from either database."""
    calls = [{"loss": loss, **more} for loss, more in rows]
    points = [(name, value, step) for step, call in enumerate(calls, 1) for name, value in call.items()]
    (by_mlflow,) = load(mlflow(tmp_path, points))
    (by_trackio,) = load(
        trackio(tmp_path, [{f"train/{k}": v for k, v in c.items()} | {"train/global_step": s} for s, c in enumerate(calls, 1)])
    )
    expected = tuple(Record(step, None, "train", call) for step, call in enumerate(calls, 1))
    assert by_mlflow.records == expected == by_trackio.records


# --- While they are written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_database_that_is_being_written_is_read(tmp_path: Path, mode: str) -> None:
    """With what is committed by then, also where that lies in a log beside it; the writer goes on."""
    path = mlflow(tmp_path, [("loss", 3.0, 1)], f"pragma user_version = {len(mode)}")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute(f"pragma journal_mode = {mode}")
        writer.execute("insert into metrics values ('loss', 2.0, 9, 'r', 2, 0)")
        writer.commit()
        writer.execute("insert into metrics values ('loss', 1.0, 9, 'r', 3, 0)")
        (log,) = load(path)
        assert [r.step for r in log.records] == [1, 2]
        writer.commit()
        assert [r.step for r in load(path)[0].records] == [1, 2, 3]


def test_reading_leaves_nothing_behind(tmp_path: Path) -> None:
    """No file is made beside a database that has been closed, and none is changed: this one would have a log ahead."""
    shutil.copy(PROJECT, path := tmp_path / "project.db")
    assert path.read_bytes()[18:20] == b"\x02\x02"
    before = path.read_bytes()
    load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["project.db"] and path.read_bytes() == before


def test_a_database_that_stays_locked_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some seconds, not for ever."""
    monkeypatch.setattr(sqlite, "PATIENCE", 0.1)
    path = mlflow(tmp_path, [("loss", 3.0, 1)])
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("begin exclusive")
        with pytest.raises(LossDoctorError, match="cannot be read: database is locked"):
            load(path)


@pytest.mark.parametrize("name", ["a b?mode=rwc&x#y%41.db", "ünï'\".db"])
def test_any_name_of_a_file_is_a_name(tmp_path: Path, name: str) -> None:
    """A path is no part of the address that SQLite would take options from."""
    shutil.copy(TRAINER, path := tmp_path / name)
    assert len(load(path)) == 2 and [p.name for p in tmp_path.iterdir()] == [name]


# --- Hostile, broken and too large -------------------------------------------------------------------------------------

ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n)"


@pytest.mark.parametrize(
    "statements",
    [
        (RUNS, f"create view metrics as {ENDLESS} select 'loss' key, i value, i timestamp, 'r' run_uuid, i step from n"),
        (METRICS, f"create view runs as {ENDLESS} select i run_uuid, i name from n"),
        (RUNS, METRICS.replace("value float", "value as (hex(zeroblob(500000000)))")),
        (RUNS, "create virtual table metrics using fts5(key, value, timestamp, run_uuid, step)"),
        (f"create view metrics as {ENDLESS} select 'a' run_name, i step, '{{}}' metrics from n",),
    ],
    ids=["view of metrics", "view of runs", "computed column", "virtual table", "view of calls"],
)
def test_what_only_looks_like_a_table_is_not_asked(tmp_path: Path, statements: tuple[str, ...]) -> None:
    """A view, a computed column or a module would run what a stranger wrote: such a database is nobody's."""
    path = made(tmp_path / "x.db", *statements)
    source = Source.open(path)
    assert not mlflow_store.recognise(source) and not trackio_store.recognise(source)
    with pytest.raises(LossDoctorError, match="an SQLite database without the metrics of MLflow or trackio"):
        load(path)


def test_a_view_in_the_place_of_parameters_gives_no_facts(tmp_path: Path) -> None:
    """The runs are read all the same."""
    view = f"create view params as {ENDLESS} select 'max_steps' key, i value, 'r' run_uuid from n"
    (log,) = load(mlflow(tmp_path, [("loss", 3.0, 1)], view))
    assert log.run.facts == {} and len(log.records) == 1


def test_work_without_end_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a database makes of a query, there is a limit to its instructions."""
    monkeypatch.setattr(sqlite, "MOST_WORK", 10 * sqlite.COUNTED)
    path = mlflow(tmp_path, [("loss", 3.0, 1)])
    with pytest.raises(LossDoctorError, match="too much work"), sqlite.opened(path) as database:
        list(database.rows(f"{ENDLESS} select count(*) from n"))


def test_nothing_can_be_written(tmp_path: Path) -> None:
    """Not even by a mistake of ours."""
    path = mlflow(tmp_path, [("loss", 3.0, 1)])
    with pytest.raises(LossDoctorError, match="readonly database"), sqlite.opened(path) as database:
        list(database.rows("delete from metrics"))


@pytest.mark.parametrize("cut", [True, False], ids=["cut off", "overwritten"])
def test_a_damaged_database_is_an_error(tmp_path: Path, cut: bool) -> None:
    """As of a copy that was made while it was written: no one knows which rows are missing."""
    path = trackio(tmp_path, [{"loss": 3.0, "step": step} for step in range(5000)])
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + (b"" if cut else b"\xff" * 20_000 + data[half + 20_000 :]))
    with pytest.raises(LossDoctorError, match="cannot be read: database disk image is malformed"):
        load(path)


def test_an_error_does_not_steer_a_terminal(tmp_path: Path) -> None:
    """SQLite quotes what it does not understand."""
    path = mlflow(tmp_path, [("loss", 3.0, 1)])
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE runs", b"CREATE TABLE \x1b[31"))
    with pytest.raises(LossDoctorError, match="malformed") as caught:
        load(path)
    assert str(caught.value).isprintable()


def test_of_more_than_fits_into_memory_the_newest_runs_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is said that others were left out."""
    monkeypatch.setattr(tracked, "MOST_VALUES", 60)
    for path in (TRAINER, PROJECT):
        (log,) = load(path)
        assert log.run.name == "broken" and 10 <= len(log.records) < 20
        assert "the store is too large: older runs, or later rows, were left out" in log.run.notes


@pytest.mark.parametrize("path", [TRAINER, OWN, PROJECT], ids=lambda path: path.stem)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_bytes_are_a_traceback(tmp_path: Path, path: Path, data: st.DataObject) -> None:
    """Logs, or an error of one line, whatever is cut off, zeroed or overwritten."""
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(16, len(content) - 1))
        garbage = data.draw(st.one_of(st.binary(max_size=200), st.just(bytes(3000))))
        content[place : place + len(garbage)] = garbage
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(100, len(content))) :]
    (broken := tmp_path / "x.db").write_bytes(bytes(content))
    try:
        logs: list[Log] = load(broken)
    except LossDoctorError as error:
        assert "\n" not in str(error)
    else:
        assert all(log.records for log in logs)
