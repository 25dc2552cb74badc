"""Logs as people really keep them: every quirk met in the field, and folders of every shape."""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import math
import os
import weakref
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lossdoctor.analysis import analyze, load
from lossdoctor.model import Log, LossDoctorError, NothingToAnalyse, Record
from lossdoctor.parsing.rows import records

ROW = {"epoch": 0.1, "grad_norm": 1.5, "learning_rate": 5e-05, "loss": 2.5, "step": 10}
SUMMARY = {"epoch": 1.0, "step": 20, "total_flos": 1e15, "train_loss": 2.1, "train_runtime": 12.5}


def write(folder: Path, content: Any, name: str = "trainer_state.json", encoding: str = "utf-8") -> Path:
    """A file with this text, or with this value as JSON in the form of the Trainer."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content, indent=2, sort_keys=True) + "\n"
    path.write_bytes(text.encode(encoding))
    return path


def state(*rows: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A trainer state with these rows."""
    return {"epoch": 1.0, "global_step": 20, "is_world_process_zero": True, "log_history": list(rows), "max_steps": 20, **more}


def lines(*rows: Mapping[str, Any]) -> str:
    """The rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def only(path: Path) -> Log:
    """The one run at a path."""
    (log,) = load(path)
    return log


def read_state(folder: Path, *rows: Mapping[str, Any], **more: Any) -> tuple[Record, ...]:
    """The records of a state with these rows."""
    return only(write(folder, state(*rows, **more))).records


def read_lines(folder: Path, *rows: Mapping[str, Any]) -> tuple[Record, ...]:
    """The records of JSON lines with these rows."""
    return only(write(folder, lines(*rows), "log.jsonl")).records


BOTH = pytest.mark.parametrize("read", [read_state, read_lines])


# Numbers


@BOTH
def test_a_bare_nan_is_a_number(tmp_path, read):
    """`NaN`, which strict JSON forbids and Python writes, is read as the number it is."""
    (record,) = read(tmp_path, {**ROW, "grad_norm": math.nan})
    assert math.isnan(record.values["grad_norm"])


@BOTH
@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_a_bare_infinity_is_a_number(tmp_path, read, value):
    """`Infinity` and `-Infinity` are read with their sign."""
    (record,) = read(tmp_path, {**ROW, "grad_norm": value})
    assert record.values["grad_norm"] == value


@BOTH
def test_a_negative_zero_is_a_zero(tmp_path, read):
    """A loss of `-0.0`, as GRPO logs it, equals zero."""
    (record,) = read(tmp_path, {**ROW, "loss": -0.0})
    assert record.values["loss"] == 0.0


@BOTH
@pytest.mark.parametrize(
    ("text", "number"), [("0.91", 0.91), ("3.094e-07", 3.094e-07), ("nan", math.nan), ("inf", math.inf), (" 1.5 ", 1.5)]
)
def test_a_number_written_as_text_is_a_number(tmp_path, read, text, number):
    """transformers 5 prints its numbers as strings; they count as the numbers they say."""
    (record,) = read(tmp_path, {**ROW, "loss": text, "epoch": "0.66"})
    assert record.values["loss"] == pytest.approx(number, nan_ok=True)
    assert record.epoch == 0.66


@BOTH
def test_what_is_no_number_is_left_out(tmp_path, read):
    """Nulls, booleans, texts, lists and mappings in a row neither stop the reader nor become values."""
    noise = {"eval": None, "best": True, "elapsed_time": "1:05:51", "shape": [1, 2], "inner": {"loss": 3.0}}
    (record,) = read(tmp_path, {**ROW, **noise})
    assert set(record.values) == {"grad_norm", "learning_rate", "loss"}


@BOTH
def test_an_integer_too_large_for_a_float_is_left_out(tmp_path, read):
    """A column with an integer of four hundred digits does not stop the reader."""
    (record,) = read(tmp_path, {**ROW, "tokens": 10**400})
    assert record.values["loss"] == 2.5 and "tokens" not in record.values


def test_a_null_loss_leaves_the_rest_of_the_row(tmp_path):
    """A null loss is no loss; the gradient norm beside it stays."""
    (record,) = read_state(tmp_path, {**ROW, "loss": None})
    assert (record.kind, dict(record.values)) == ("train", {"grad_norm": 1.5, "learning_rate": 5e-05})


# Columns


@pytest.mark.parametrize("missing", ["grad_norm", "learning_rate", "epoch"])
def test_a_log_without_a_usual_column_is_read(tmp_path, missing):
    """Logs older than 4.38 have no `grad_norm`, some no `learning_rate`, some no `epoch`."""
    row = {name: value for name, value in ROW.items() if name != missing}
    (record,) = read_state(tmp_path, row)
    assert record.kind == "train" and missing not in record.values
    assert (record.epoch is None) is (missing == "epoch")


@BOTH
def test_the_columns_of_preference_and_rl_trainers_are_kept(tmp_path, read):
    """Names with slashes, as TRL writes them, are kept as they are."""
    more = {"rewards/chosen": 0.1, "kl": 0.02, "completions/mean_length": 81.0, "mean_token_accuracy": 0.6, "entropy": 1.1}
    (record,) = read(tmp_path, {**ROW, **more})
    assert more.items() <= record.values.items()


@pytest.mark.parametrize(
    ("given", "known"), [("lr", "learning_rate"), ("gnorm", "grad_norm"), ("gradient_norm", "grad_norm"), ("loss", "loss")]
)
def test_other_names_of_a_column_are_translated(tmp_path, given, known):
    """`lr` is the learning rate, and so on; rows may mix both spellings."""
    first, second = read_lines(tmp_path, {"step": 1, "loss": 3.0, given: 0.5}, ROW)
    assert first.values[known] == 0.5 and known in second.values


# Kinds of rows


def test_a_run_without_a_summary_row_is_read(tmp_path):
    """A run that was stopped early ends in a training row."""
    assert [r.kind for r in read_state(tmp_path, ROW, {**ROW, "step": 20})] == ["train", "train"]


def test_the_last_row_with_the_averages_is_a_summary(tmp_path):
    """The row with `train_loss` and `train_runtime` is no training row: its loss is an average."""
    assert [r.kind for r in read_state(tmp_path, ROW, SUMMARY)] == ["train", "summary"]


def test_prediction_rows_without_a_step_are_summaries_of_the_step_before(tmp_path):
    """`predict_*` rows carry no step; they belong to the last step that was logged."""
    *_, last = read_state(tmp_path, ROW, {"predict_loss": 1.25, "predict_runtime": 3.0, "epoch": 1.0})
    assert (last.kind, last.step) == ("summary", 10)


def test_many_evaluation_sets_are_one_evaluation_row(tmp_path):
    """`eval_g0_loss` … without a plain `eval_loss` is an evaluation row with all of them."""
    losses = {f"eval_g{i}_loss": 1.0 + i for i in range(6)}
    _, record = read_state(tmp_path, ROW, {"epoch": 0.1, "step": 10, "eval_g0_runtime": 2.0, **losses})
    assert record.kind == "eval" and losses.items() <= record.values.items()


def test_a_log_of_evaluation_rows_alone_is_read(tmp_path):
    """Only evaluation rows and no loss: they are read, and no training row is made up."""
    rows = [{"step": 10 * i, "epoch": i / 10, "eval_loss": 2.0 - i / 10, "eval_accuracy": 0.5} for i in range(1, 5)]
    assert [(r.kind, r.step) for r in read_state(tmp_path, *rows)] == [("eval", 10), ("eval", 20), ("eval", 30), ("eval", 40)]


@BOTH
def test_a_row_with_both_losses_becomes_two_records(tmp_path, read):
    """A row with `loss` and `eval_loss` is a training row and an evaluation row of the same step."""
    train, evaluation = read(tmp_path, {**ROW, "eval_loss": 2.75, "eval_runtime": 1.0})
    assert (train.kind, train.step, train.values["loss"]) == ("train", 10, 2.5)
    assert (evaluation.kind, evaluation.step, dict(evaluation.values)) == ("eval", 10, {"eval_loss": 2.75, "eval_runtime": 1.0})
    assert "eval_loss" not in train.values


def test_an_evaluation_row_with_progress_columns_is_no_training_row(tmp_path):
    """LLaMA-Factory writes how far it is into every row; that alone makes an evaluation row no training row."""
    progress = {"current_steps": 10, "total_steps": 30, "epoch": 1.0, "percentage": 33.33, "elapsed_time": "0:01:02"}
    found = read_lines(tmp_path, {**progress, "loss": 1.5, "lr": 1e-5}, {**progress, "eval_loss": 1.4})
    assert [r.kind for r in found] == ["train", "eval"]


def test_a_log_of_epoch_averages_has_training_rows(tmp_path):
    """Several rows with `train_loss` and no `loss` are one row an epoch, not many summaries."""
    rows = [{"epoch": i, "train_loss": 3.0 - i, "eval_loss": 3.1 - i} for i in (1, 2)]
    found = read_lines(tmp_path, *rows)
    assert [(r.kind, r.values.get("loss")) for r in found] == [("train", 2.0), ("eval", None), ("train", 1.0), ("eval", None)]


@BOTH
def test_rows_that_are_no_rows_are_passed_over(tmp_path, read):
    """Lists, texts, nulls and empty mappings among the rows are left out."""
    assert len(read(tmp_path, ROW, [1, 2], "text", None, {}, {**ROW, "step": 20})) == 2  # type: ignore[arg-type]


# Steps


def test_the_order_of_the_rows_is_the_order_in_the_file(tmp_path):
    """Rows are neither sorted nor merged: a repeated step stays two rows."""
    steps = [10, 20, 20, 30, 40]
    assert [r.step for r in read_state(tmp_path, *({**ROW, "step": s} for s in steps))] == steps


def test_a_resumed_log_may_go_backwards(tmp_path):
    """LLaMA-Factory appends a resumed run to `trainer_log.jsonl`: what led to the final weights is kept, and it is said."""
    steps = [5, 10, 15, 10, 15, 20]
    rows = [{"current_steps": s, "total_steps": 20, "loss": 1.0, "eval_loss": None, "lr": 1e-5, "epoch": s / 10} for s in steps]
    found = read_lines(tmp_path, *rows)
    assert [(r.step, r.kind) for r in found] == [(s, "train") for s in (5, 10, 15, 20)]
    assert "the steps go back from 15 to 10" in only(write(tmp_path, lines(*rows), "log.jsonl")).run.notes[0]
    assert all("grad_norm" not in r.values and r.values["learning_rate"] == 1e-5 for r in found)


@pytest.mark.parametrize(
    ("steps", "kept", "resumed_at"),
    [
        ([5, 10, 15], [5, 10, 15], ()),
        ([10, 10, 20], [10, 10, 20], ()),
        ([5, 10, 15, 10, 15, 20], [5, 10, 15, 20], (10,)),
        ([10, 20, 30, 20, 30, 40, 30, 50], [10, 20, 30, 50], (20, 30)),
        ([10, 20, 30, 40, 30, 40, 20, 30], [10, 20, 30], (20,)),
        ([10, 20, 30, 20, 30, 20, 30], [10, 20, 30], (20,)),
        ([10, 20, 5, 15], [5, 15], (5,)),
    ],
    ids=["never", "a-repeated-step", "once", "twice", "further-back", "to-the-same-place", "from-the-start"],
)
@pytest.mark.parametrize("content", [state, lines, lambda *rows: list(rows)], ids=["state", "lines", "array"])
def test_the_steps_at_which_a_log_was_resumed_are_known(tmp_path, content, steps, kept, resumed_at):
    """The run carries the first step of every branch that is left in the rows; an abandoned branch leaves no trace but a note."""
    log = only(write(tmp_path, content(*({**ROW, "step": step} for step in steps))))
    assert [r.step for r in log.records] == kept
    assert log.run.resumed_at == resumed_at
    assert len(log.run.notes) == sum(later < earlier for earlier, later in pairwise(steps))


def test_evaluation_rows_of_an_abandoned_branch_go_with_it():
    """What an evaluation says of weights that were given up is left out; one at an earlier step stays."""
    rows = [ROW, {"step": 10, "eval_loss": 2.0}, {**ROW, "step": 20}, {"step": 20, "eval_loss": 1.0}, {**ROW, "step": 15}]
    found = records(rows)
    assert [(r.kind, r.step) for r in found.records] == [("train", 10), ("eval", 10), ("train", 15)]
    assert found.resumed_at == (15,)


@pytest.mark.timeout(20)
def test_a_log_that_was_resumed_all_the_time_is_read_in_one_pass():
    """Three steps on and two back, thirty thousand times: no work that grows with the square of the returns."""
    found = records([{"step": start + i, "loss": 1.0} for start in range(1, 30_001) for i in range(3)])
    assert [r.step for r in found.records] == list(range(1, 30_003))
    assert found.resumed_at == tuple(range(2, 30_001))
    assert len(found.notes) == len(found.resumed_at)


@pytest.mark.parametrize("steps", [[1, 10, 20, 30], [3, 7, 50, 51], [1, 2, 3]])
def test_steps_may_be_uneven(tmp_path, steps):
    """`logging_first_step` and gaps of any size keep their steps."""
    assert [r.step for r in read_state(tmp_path, *({**ROW, "step": s} for s in steps))] == steps


@pytest.mark.parametrize("name", ["step", "global_step", "current_steps"])
@pytest.mark.parametrize("value", [7, 7.0, "7"])
def test_a_step_has_several_names_and_spellings(tmp_path, name, value):
    """The step may be a whole float or a text, and go by the names that other trainers use."""
    (record,) = read_lines(tmp_path, {"loss": 1.5, name: value})
    assert record.step == 7 and set(record.values) == {"loss"}


@pytest.mark.parametrize("value", [None, -5, math.nan, math.inf, 2**60, "soon", [1], True])
def test_a_senseless_step_is_the_step_before(tmp_path, value):
    """A step that is no step leaves the row where the log stands."""
    assert [r.step for r in read_state(tmp_path, ROW, {**ROW, "step": value})] == [10, 10]


def test_rows_without_any_step_are_numbered(tmp_path):
    """Without a step in the whole log, training rows count from 1, evaluation rows join the row before, and a note says so."""
    log = only(write(tmp_path, lines({"loss": 3.0}, {"loss": 2.0}, {"eval_loss": 2.1}, {"loss": 1.0}), "log.jsonl"))
    assert [(r.step, r.kind) for r in log.records] == [(1, "train"), (2, "train"), (2, "eval"), (3, "train")]
    assert log.run.notes == ("the rows have no step: they are numbered from 1",)


# Rows and memory


class Row(dict[str, Any]):
    """A row whose end can be seen."""


@pytest.mark.parametrize("first", [ROW, {"step": 5, "eval_loss": 2.0}], ids=["training", "evaluation"])
def test_a_row_is_let_go_of_once_it_is_a_record(first):
    """Of a huge log only the records stay: rows that nobody else holds are gone when the next ones are asked for."""
    held: list[weakref.ref[Row]] = []

    def rows() -> Iterator[Row]:
        yield Row(first)
        for step in range(10, 60):
            row = Row({**ROW, "step": step})
            held.append(weakref.ref(row))
            yield row
            del row
            assert sum(r() is not None for r in held) <= 2

    assert len(records(rows()).records) == 51


def test_the_rows_of_a_caller_stay_as_they_are():
    """The callback hands over the history of the Trainer, which is saved later: nothing in it may change."""
    history = [{**ROW, "lr": 1e-4, "eval_loss": 2.5}, {"train_loss": 2.0, "step": 20}, None, {**ROW, "step": 5}]
    before = copy.deepcopy(history)
    records(history)  # type: ignore[arg-type]
    assert history == before


def test_one_value_that_is_no_number_changes_what_its_row_is(tmp_path):
    """Rows with the same columns need not be of the same kind: a null or a text is no measurement."""
    rows = [{"loss": 1.0, "eval_loss": None}, {"loss": None, "eval_loss": 1.0}, {"loss": 1, "eval_loss": "2"}]
    found = read_lines(tmp_path, *({"step": step, **row} for step, row in enumerate(rows, 1)))
    assert [(r.step, r.kind, dict(r.values)) for r in found] == [
        (1, "train", {"loss": 1.0}),
        (2, "eval", {"eval_loss": 1.0}),
        (3, "train", {"loss": 1.0}),
        (3, "eval", {"eval_loss": 2.0}),
    ]


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("content", [state(ROW), "{"], ids=["a-log", "broken"])
def test_the_garbage_collector_is_left_as_it_was(tmp_path, content, on):
    """It pauses while a log is read; afterwards, also after an error, it runs or rests as before."""
    path = write(tmp_path, content)
    was = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        with contextlib.suppress(LossDoctorError):
            load(path)
        assert gc.isenabled() is on
    finally:
        (gc.enable if was else gc.disable)()


# The state around the rows


def test_a_state_without_settings_is_read(tmp_path):
    """Old states have no `logging_steps` and no `train_batch_size`: the facts are missing, not guessed."""
    facts = only(write(tmp_path, {"log_history": [ROW]})).run.facts
    assert not facts


@pytest.mark.parametrize("value", [10, 10.0, 0.1])
def test_logging_steps_may_be_a_float(tmp_path, value):
    """`logging_steps` is 10 in one version, 10.0 in another, and a share below 1 in a third."""
    run = only(write(tmp_path, state(ROW, logging_steps=value))).run
    assert run.get("logging_steps") == value
    assert run.facts["logging_steps"].source == "trainer_state"


def test_epochs_of_an_iterable_data_set_are_unknown(tmp_path):
    """The largest integer stands for "no number of epochs": it is no fact."""
    assert only(write(tmp_path, state(ROW, num_train_epochs=9223372036854775807))).run.get("num_train_epochs") is None
    assert only(write(tmp_path, state(ROW, num_train_epochs=3))).run.get("num_train_epochs") == 3.0


@pytest.mark.parametrize("name", ["num_train_epochs", "logging_steps", "max_steps", "save_steps", "train_batch_size"])
@pytest.mark.parametrize("value", [None, "text", [], {}, True, -1, math.nan, math.inf, pytest.param(10**400, id="huge")])
def test_a_senseless_setting_of_the_state_does_not_stop_the_reader(tmp_path, name, value):
    """Whatever stands where a setting should: the rows are read."""
    assert read_state(tmp_path, ROW, **{name: value})[0].values["loss"] == 2.5


@pytest.mark.parametrize("after", ["\n# copied from the cluster\n", "\nprint('hello')\n", "}"])
def test_what_stands_after_a_state_is_ignored(tmp_path, after):
    """A state that was pasted into a `.py` file, or with a bracket too many, is read up to its end."""
    path = write(tmp_path, json.dumps(state(ROW), indent=2) + after, "log.py")
    assert only(path).records[0].step == 10


def test_the_name_of_a_file_does_not_matter(tmp_path):
    """A source is recognised by its content."""
    assert only(write(tmp_path, state(ROW), "notes.txt")).run.kind == "trainer_state"
    assert only(write(tmp_path, lines(ROW), "trainer_state.json")).run.kind == "json_lines"


@pytest.mark.parametrize("history", [[], [{}], [[1], "x", None], [{"step": 3, "epoch": 1.0}]])
def test_a_history_without_a_number_is_nothing_to_analyse(tmp_path, history):
    """An empty history is a log without a row, which is not the same as no log."""
    with pytest.raises(NothingToAnalyse, match=r"trainer_state\.json has .*nothing to analyse"):
        load(write(tmp_path, state() | {"log_history": history}))


@pytest.mark.parametrize("history", [None, {"loss": 1.0}, "text", 3])
def test_a_history_that_is_no_list_is_refused(tmp_path, history):
    """A `log_history` of another shape is named as what it is."""
    with pytest.raises(LossDoctorError, match="log_history that is not a list"):
        load(write(tmp_path, state() | {"log_history": history}))


def test_a_git_lfs_pointer_is_named_with_the_command_that_helps(tmp_path):
    """A pointer is told from a broken file, and the message says how to fetch the log."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    with pytest.raises(LossDoctorError, match=r"Git LFS pointer.*git lfs pull"):
        load(write(tmp_path, pointer))


@pytest.mark.parametrize("other", [{"epoch": 3, "best_model": "x"}, {"trainer": {"state": []}}, {}])
def test_the_state_of_another_program_is_told_apart(tmp_path, other):
    """A `trainer_state.json` without a history belongs to another program."""
    with pytest.raises(
        LossDoctorError, match=r"another program's file; expected a log of a training, such as a trainer_state\.json"
    ):
        load(write(tmp_path, other))


def test_a_state_cut_at_any_place_is_called_cut_off(tmp_path):
    """Wherever a half-written state ends, also within a word or an escape, the message says that it is cut off."""
    whole = json.dumps(state({**ROW, "grad_norm": math.nan, "note": 'é "x"', "best": None}), indent=2).rstrip()
    called = {}
    for end in range(whole.index("[") + 1, len(whole)):
        path = write(tmp_path, whole[:end])
        with pytest.raises(LossDoctorError) as caught:
            load(path)
        called[whole[:end][-12:]] = "is cut off" in str(caught.value)
    assert [end for end, cut in called.items() if not cut] == []


def test_json_that_is_broken_in_the_middle_names_the_place(tmp_path):
    """A missing comma is not a cut: the message gives the character."""
    with pytest.raises(LossDoctorError, match="is broken JSON at character 30;"):
        load(write(tmp_path, '{"log_history": [{"loss": 1.0 "step": 2}], "epoch": 1.0}'))


def test_a_state_nested_without_end_is_refused(tmp_path):
    """A hundred thousand brackets give an error of ours, not one of Python."""
    with pytest.raises(LossDoctorError, match="nested too deeply"):
        load(write(tmp_path, '{"log_history": [' + "[" * 100_000))


# Encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("content", [state(ROW), lines(ROW), [ROW]], ids=["state", "lines", "array"])
def test_windows_encodings_are_read(tmp_path, encoding, content):
    """A byte order mark, and the UTF-16 that a Windows shell writes, change nothing."""
    assert only(write(tmp_path, content, encoding=encoding)).records[0].values["loss"] == 2.5


@pytest.mark.parametrize("mark", ["utf-16-le", "utf-16-be"])
def test_both_byte_orders_of_utf_16_are_read(tmp_path, mark):
    """UTF-16 has two byte orders, told by the mark."""
    assert only(write(tmp_path, "\ufeff" + lines(ROW), encoding=mark)).records[0].step == 10


def test_windows_line_ends_are_read(tmp_path):
    """CRLF ends a line."""
    assert len(only(write(tmp_path, lines(ROW, ROW).replace("\n", "\r\n"), "log.jsonl")).records) == 2


# JSON lines and arrays


def test_a_json_array_is_read(tmp_path):
    """A bare list of rows, as `json.dump(trainer.state.log_history)` writes it, is a log."""
    log = only(write(tmp_path, [ROW, {**ROW, "step": 20}, SUMMARY], "history.json"))
    assert [(r.step, r.kind) for r in log.records] == [(10, "train"), (20, "train"), (20, "summary")]


def test_a_broken_json_array_is_refused(tmp_path):
    """An array that is cut off is an error with the name of the file."""
    with pytest.raises(LossDoctorError, match=r"history\.json is a broken JSON array"):
        load(write(tmp_path, '[{"loss": 1.5, "step": 1},', "history.json"))


def test_an_array_of_something_else_is_refused(tmp_path):
    """A list without a column of a training log is told apart."""
    with pytest.raises(LossDoctorError, match="a JSON array without loss, learning_rate or grad_norm"):
        load(write(tmp_path, [{"question": "2+2", "answer": "4"}], "data.json"))


def test_a_last_line_that_is_cut_off_is_left_out_with_a_note(tmp_path):
    """The log of a running job ends in half a line; the rest counts, and the report says what was left out."""
    log = only(write(tmp_path, lines(ROW, {**ROW, "step": 20}) + '{"loss": 2.4, "st', "log.jsonl"))
    assert [r.step for r in log.records] == [10, 20]
    assert log.run.notes == ("the last line is cut off and was left out",)


def test_lines_that_are_no_rows_are_left_out_with_a_note(tmp_path):
    """Text between the rows is passed over; the note gives the numbers of the first lines."""
    rows = [lines({**ROW, "step": step}) for step in (10, 20, 30)]
    text = f"{rows[0]}Killed by signal 9\n\n{rows[1]}[1]\n{rows[2]}"
    log = only(write(tmp_path, text, "log.jsonl"))
    assert [r.step for r in log.records] == [10, 20, 30]
    assert log.run.notes == ("2 line(s) are not JSON objects and were left out: 2, 5",)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085"])
def test_a_line_separator_within_a_text_does_not_end_the_row(tmp_path, separator):
    """JSON lines end at a line feed; a completion logged beside the loss may hold any other separator."""
    row = json.dumps({**ROW, "completion": "aXb"}, ensure_ascii=False).replace("X", separator)
    assert len(only(write(tmp_path, f"{row}\n{row}\n", "log.jsonl")).records) == 2


def test_a_row_with_progress_as_a_fraction_is_read(tmp_path):
    """ms-swift writes "8280/11043" as a text beside the numbers, and a bare NaN."""
    row = '{"loss": 2.23302879, "acc": 0.26, "grad_norm": NaN, "learning_rate": 1.6e-05, "global_step/max_steps": "8280/11043"}\n'
    (record,) = only(write(tmp_path, row, "logging.jsonl")).records
    assert set(record.values) == {"loss", "acc", "grad_norm", "learning_rate"}


# Folders


def touch(path: Path, when: int) -> None:
    """Sets when a file was written."""
    os.utime(path, (when, when))


def last_step(path: Path) -> int:
    """The step of the last row of the state that was chosen."""
    return only(path).records[-1].step


def run_with_checkpoints(folder: Path, *steps: int) -> Path:
    """An output folder whose checkpoints hold the state up to their step."""
    for step in steps:
        rows = [{**ROW, "step": s} for s in range(10, step + 1, 10)]
        touch(write(folder / f"checkpoint-{step}", state(*rows)), 1_000_000 + step)
    return folder


def test_a_folder_means_the_newest_checkpoint_in_it(tmp_path):
    """The state of the highest step is read: by number, not by name."""
    assert last_step(run_with_checkpoints(tmp_path, 20, 100, 90)) == 100


@pytest.mark.parametrize(("written", "expected"), [(2_000_000, 50), (500_000, 30)])
def test_the_folders_own_state_is_read_unless_a_checkpoint_is_newer(tmp_path, written, expected):
    """After training the output folder has the last state; after a resume a checkpoint has."""
    run = run_with_checkpoints(tmp_path, 20, 30)
    touch(write(run, state({**ROW, "step": 50})), written)
    assert last_step(run) == expected


def test_a_checkpoint_without_a_state_is_passed_over(tmp_path):
    """A checkpoint that is being written has no state yet: the one before is read, and both are listed."""
    run = run_with_checkpoints(tmp_path, 20)
    (run / "checkpoint-30").mkdir()
    (run / "checkpoint-best").mkdir()
    (run / "checkpoint-40").write_text("a file")
    assert last_step(run) == 20
    assert [c.step for c in only(run).run.checkpoints] == [20, 30]


@pytest.mark.parametrize("inner", ["", "trainer_state.json"])
def test_a_checkpoint_given_directly_knows_its_sisters(tmp_path, inner):
    """The folder or the state of one checkpoint is read as asked, and the checkpoints beside it are known."""
    run = run_with_checkpoints(tmp_path, 20, 30, 40)
    log = only(run / "checkpoint-30" / inner)
    assert log.records[-1].step == 30
    assert [c.step for c in log.run.checkpoints] == [20, 30, 40]


@pytest.mark.parametrize("given", ["trainer_state.json", ".", "../checkpoint-30"])
def test_a_checkpoint_given_from_inside_knows_its_sisters(tmp_path, monkeypatch, given):
    """Standing in a checkpoint and giving a relative path finds the same checkpoints."""
    run = run_with_checkpoints(tmp_path, 20, 30, 40)
    monkeypatch.chdir(run / "checkpoint-30")
    assert [c.step for c in only(Path(given)).run.checkpoints] == [20, 30, 40]


def test_the_last_good_checkpoint_of_a_broken_run_is_named(tmp_path):
    """The report on a checkpoint names the sister that was written before the run broke."""
    run = run_with_checkpoints(tmp_path, 20, 60)
    good = [{**ROW, "step": s, "loss": 2.5 - s / 100} for s in range(2, 41, 2)]
    bad = [{**ROW, "step": s, "loss": 0.0, "grad_norm": math.nan} for s in range(42, 61, 2)]
    write(run / "checkpoint-60", state(*good, *bad))
    (report,) = analyze(run / "checkpoint-60")
    assert report.verdict == "critical"
    assert report.last_good_checkpoint == str(run / "checkpoint-20")


def test_runs_further_down_are_named_in_the_error(tmp_path):
    """A folder of runs is not a run; the error names the runs, not their checkpoints."""
    write(tmp_path / "first", state(ROW))
    run_with_checkpoints(tmp_path / "second", 10, 20)
    with pytest.raises(LossDoctorError, match=r"holds no trainer_state\.json itself.*: first, second; name one") as caught:
        load(tmp_path)
    assert "checkpoint-" not in str(caught.value)


@pytest.mark.parametrize("name", ["readme.md", "checkpoint-5/model.safetensors", "a/b/trainer_state.json"])
def test_a_folder_without_a_log_is_refused(tmp_path, name):
    """The error says what an output folder would hold."""
    write((tmp_path / name).parent, "text", Path(name).name)
    with pytest.raises(LossDoctorError, match=r"holds no trainer_state\.json, no checkpoint-N folder"):
        load(tmp_path)


def test_the_report_names_the_path_as_it_was_given(tmp_path):
    """A folder is reported under its own name, not under that of the state found in it."""
    assert only(run_with_checkpoints(tmp_path, 20)).run.path == str(tmp_path)
