"""Files of W&B: those that W&B wrote itself, and those that break off, are broken, or were written by other releases of it."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wandb_writer import START, configuration, framed, history, run, summary

from lossdoctor.analysis import analyze, find_runs, load
from lossdoctor.model import LossDoctorError, NothingToAnalyse, Record
from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.protobuf_wire import fields
from lossdoctor.parsing.wandb_blocks import BLOCK
from lossdoctor.readers import Source, read_file

LOGS = ROOT / "tests" / "logs" / "wandb_run"
LOOP = LOGS / "a_loop_of_its_own.wandb"


def read(folder: Path, data: bytes) -> Any:
    """The log in these bytes."""
    path = folder / "run-1.wandb"
    path.write_bytes(data)
    (log,) = load(path)
    return log


def row(step: int, **values: float) -> dict[str, float]:
    """A call of `log` by the Trainer's callback."""
    return {"_step": step // 10, "train/global_step": step, "train/loss": 3.0 - step / 1000, **values}


def test_a_run_of_the_trainer_has_its_steps_settings_and_name() -> None:
    """`train/global_step` is the step, not the count of log calls; evaluations have theirs, the summary is the last row."""
    (log,) = load(LOGS / "healthy.wandb")
    assert log.run.name == "healthy" and log.run.notes == ()
    assert [r.step for r in log.records if r.kind == "train"] == list(range(2, 61, 2))
    assert [r.step for r in log.records if r.kind == "eval"] == [10, 20, 30, 40, 50, 60]
    first = log.records[0]
    assert first.values == {"loss": 5.172465801239014, "grad_norm": 1.8061076402664185, "learning_rate": 0.0009833333333333332}
    assert first.epoch == 0.008333333333333333
    last = log.records[-1]
    assert (last.kind, last.step) == ("summary", 60) and last.values["train_runtime"] == 4.5845
    assert (log.run.get("max_steps"), log.run.get("learning_rate"), log.run.get("model_type")) == (60, 0.001, "gpt2")
    assert log.run.facts["max_steps"].source == "W&B" and "loss_type" not in log.run.facts  # that of the model's class


@pytest.mark.parametrize(("name", "verdict", "good"), [("healthy", "healthy", 60), ("broken", "critical", 24)])
def test_the_verdict_is_that_of_the_run(name: str, verdict: str, good: int) -> None:
    """A loss that is NaN from step 25 on is critical, and step 24 the last good one."""
    (report,) = analyze(LOGS / f"{name}.wandb")
    assert report.verdict == verdict and report.last_good_step == good
    assert (name == "broken") is any(s.slug == "loss-not-finite" and s.severity == "critical" for s in report.symptoms)


def test_a_loop_of_its_own_has_the_steps_of_wandb() -> None:
    """Without a global step the count of log calls is the step, and that is said; nested names, infinities and histograms too."""
    (log,) = load(LOOP)
    assert LOOP.stat().st_size > BLOCK  # a record stands in two blocks
    assert log.run.notes == ("no global step was logged: the steps are those of W&B, which count its log calls",)
    trained = [r for r in log.records if r.kind == "train"]
    assert len(trained) == 24 and [r.step for r in log.records] == list(range(28))
    assert trained[5] == Record(5, None, "train", {"loss": 4.5, "learning_rate": 0.001, "grad_norm": math.inf})
    assert next(r.values for r in log.records if r.kind == "eval") == {"eval_loss": 3.75}
    assert (log.run.get("learning_rate"), log.run.get("per_device_train_batch_size")) == (0.001, 4)


def test_the_folder_of_a_run_is_the_run(tmp_path: Path) -> None:
    """The file in it is found by its usual name; a link to another is left alone."""
    shutil.copy(LOGS / "broken.wandb", tmp_path / "run-abc.wandb")
    (tmp_path / "run-def.wandb").symlink_to(LOGS / "healthy.wandb")
    (log,) = read_file(Source.open(tmp_path))
    assert log.run.name == "broken"


def test_what_a_run_printed_beside_its_file_is_no_run_of_its_own(tmp_path: Path) -> None:
    """A folder such as `wandb` has one run for each folder in it, and so has the folder of a run that is named itself."""
    for name in ("broken", "healthy"):
        inner = tmp_path / "wandb" / f"run-20260203_101112-{name}"
        (inner / "files").mkdir(parents=True)
        (inner / "files" / "output.log").write_text("".join(f"{{'loss': {3 - n / 10}, 'epoch': {n}}}\n" for n in range(9)))
        shutil.copy(LOGS / f"{name}.wandb", inner / "run-1.wandb")
    assert [[Path(path).name[-7:] for path in unit] for unit in find_runs(tmp_path / "wandb")] == [["-broken"], ["healthy"]]
    assert [log.run.name for log in load(tmp_path / "wandb" / "run-20260203_101112-broken")] == ["broken"]


@pytest.mark.parametrize("form", ["nested", "plain", "number"])
def test_every_release_is_read(tmp_path: Path, form: str) -> None:
    """Names as one key or as several, values as JSON or as numbers."""
    log = read(tmp_path, framed(history(row(step, **{"train/lr": 0.5}), form) for step in (10, 20)))
    assert log.records == (
        Record(10, None, "train", {"loss": 2.99, "learning_rate": 0.5}),
        Record(20, None, "train", {"loss": 2.98, "learning_rate": 0.5}),
    )


def test_of_two_columns_of_one_name_the_plain_one_counts(tmp_path: Path) -> None:
    """W&B writes the values of a call in any order, so the order may not decide."""
    rows = [{"loss": 1.0, "train/loss": 2.0, "_step": 0}, {"train/loss": 2.0, "loss": 1.0, "_step": 1}]
    assert [r.values for r in read(tmp_path, framed(map(history, rows))).records] == [{"loss": 1.0}] * 2


def test_steps_that_were_given_are_no_count(tmp_path: Path) -> None:
    """`log(…, step=…)` leaves gaps in W&B's own step: nothing has to be said of it."""
    log = read(tmp_path, framed(history({"loss": 1.0, "_step": step}) for step in (0, 50, 100)))
    assert [r.step for r in log.records] == [0, 50, 100] and log.run.notes == ()


def test_a_name_is_one_line_without_what_steers_a_terminal(tmp_path: Path) -> None:
    """It may hold anything, and is printed."""
    log = read(tmp_path, framed([run("a\x1b[31m\nred   name" + "!" * 500), history(row(10))]))
    assert log.run.name.startswith("a[31m red name!") and len(log.run.name) <= 80


def test_settings_that_were_changed_later_count(tmp_path: Path) -> None:
    """A configuration may come in several records; what is no JSON in it is left out."""
    later = configuration({"max_steps": 70}).replace(b"70", b"7}")
    records = [configuration({"max_steps": 50, "seed": 1}), configuration({"seed": 2}), later, history(row(10))]
    log = read(tmp_path, framed(records))
    assert (log.run.get("max_steps"), log.run.get("seed")) == (50, 2)


def test_a_summary_without_the_end_of_training_is_no_row(tmp_path: Path) -> None:
    """W&B repeats every value in its summary."""
    log = read(tmp_path, framed([history(row(10)), summary({"train/loss": 2.9, "total_flos": 5.0})]))
    assert [r.kind for r in log.records] == ["train"]


def test_a_name_is_known_by_what_stands_before_its_value(tmp_path: Path) -> None:
    """Names of one beginning, that are the end of another, or of one item and many, are never taken for each other."""
    names = ("a", "a/b", "b", "ab", "loss", "train/loss_2", "x\x82\x01", "é\x01", "a" * 200)
    rows = [{name: place + step / 8 for place, name in enumerate(names)} for step in range(5)]
    log = read(tmp_path, framed(history(row | {"_step": step, "text": "2.5x", "none": None}) for step, row in enumerate(rows)))
    expected = [{column(name): value for name, value in row.items()} for row in rows]
    assert [dict(r.values) for r in log.records] == expected


@pytest.mark.parametrize("cut", [1, 6, 7, 50, 5000, BLOCK - 3, BLOCK + 3])
def test_a_file_that_is_still_being_written_is_read_as_far_as_it_is_whole(tmp_path: Path, cut: int) -> None:
    """Whatever is missing at its end: the rows before it are those of the whole file."""
    data = LOOP.read_bytes()
    whole = load(LOOP)[0].records
    log = read(tmp_path, data[:-cut])
    assert log.records == whole[: len(log.records)]
    assert len(log.records) < len(whole) or cut < 5000  # behind the last row there are the summary and the exit
    assert any("cut off" in note for note in log.run.notes)


def test_zeros_at_the_end_are_no_records(tmp_path: Path) -> None:
    """A machine that went down leaves them."""
    data = LOOP.read_bytes()
    assert read(tmp_path, data + bytes(100_000)).records == load(LOOP)[0].records


def test_what_stands_in_other_blocks_survives_a_broken_one(tmp_path: Path) -> None:
    """Each part has a checksum; what follows a wrong one in its block is left out, and that is said."""
    data = bytearray(framed(history(row(step)) for step in range(10, 20_000, 10)))
    data[BLOCK + 500] ^= 1
    log = read(tmp_path, bytes(data))
    steps = [r.step for r in log.records]
    assert log.run.notes == ("1 block(s) of the file are broken and were left out",)
    assert steps[0] == 10 and steps[-1] == 19_990 and 1500 < len(steps) < 1999 and steps == sorted(steps)


def test_a_record_of_which_a_part_is_broken_is_left_out(tmp_path: Path) -> None:
    """What came before and after its broken part is not put together."""
    rows = [row(10), row(20, text="x" * 3 * BLOCK), row(30)]  # type: ignore[arg-type]
    data = bytearray(framed(map(history, rows)))
    data[2 * BLOCK + 500] ^= 1
    assert [r.step for r in read(tmp_path, bytes(data)).records] == [10, 30]


def test_a_file_without_a_row_is_nothing_to_analyse(tmp_path: Path) -> None:
    """As of a run that failed before it logged anything."""
    for data in (START, START[:5], framed([run("x"), configuration({"seed": 1})]), framed([history({"a": "text"})])):
        with pytest.raises(NothingToAnalyse, match="no run with a number"):
            read(tmp_path, data)


FINITE = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.sampled_from(["train/grad_norm", "train/learning_rate", "train/rewards/chosen", "train/kl"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(FINITE, st.dictionaries(NAMES, FINITE)), min_size=1, max_size=30),
    form=st.sampled_from(["nested", "plain", "number"]),
    noise=st.integers(0, 3 * BLOCK),
)
def test_what_was_logged_is_read(tmp_path: Path, rows: list[tuple[float, dict[str, float]]], form: str, noise: int) -> None:
    """Every number to its last bit, also where a text that was logged beside it takes several blocks."""
    calls = [
        {"train/loss": loss, **more, "train/global_step": step, "_step": step, "text": "x" * (noise if step == 2 else 0)}
        for step, (loss, more) in enumerate(rows, 1)
    ]
    log = read(tmp_path, framed(history(call, form) for call in calls))
    expected = [{"loss": loss, **{k.removeprefix("train/"): v for k, v in more.items()}} for loss, more in rows]
    assert [r.values for r in log.records] == expected and [r.step for r in log.records] == list(range(1, len(rows) + 1))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(7, 20_000), garbage=st.binary(max_size=60), checked=st.booleans())
def test_no_bytes_are_a_traceback(tmp_path: Path, place: int, garbage: bytes, checked: bool) -> None:
    """A log, or an error of one line; also where the checksum of what is broken is right."""
    data = (LOGS / "broken.wandb").read_bytes()
    if checked:
        data = framed([history(row(10)), history(row(20))[: place % 40] + garbage, garbage, configuration({"seed": 1}) + garbage])
    else:
        data = data[:place] + garbage + data[place + len(garbage) // 2 :]
    try:
        log = read(tmp_path, data)
    except LossDoctorError as error:
        assert "\n" not in str(error)
    else:
        assert log.records


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_none(data: bytes) -> None:
    """No other error, no endless loop, and never more bytes out than in."""
    try:
        found = fields(data)
    except ValueError:
        return
    assert sum(len(value) for _, value in found if isinstance(value, bytes)) <= len(data)
