"""CSV files: of Lightning, exported from W&B, of any origin; and bare columns of numbers."""

from __future__ import annotations

import math
import time

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossdoctor.analysis import analyze, load
from lossdoctor.model import Log, LossDoctorError
from lossdoctor.parsing.column_names import column
from lossdoctor.readers import Source, read_file, text_table

LOGS = ROOT / "tests" / "logs"
HEALTHY = (
    *("lightning_csv/healthy.csv", "lightning_csv/plain.csv", "wandb_csv/sampled.csv", "plain_csv/decimal_commas.csv"),
    *("plain_csv/tabs.tsv", "bare_columns/losses.txt", "plain_csv/runs.csv", "plain_csv/splits.csv", "plain_csv/long.csv"),
    *("plain_csv/parts.csv", "text_table/healthy.txt", "text_table/epochs.txt"),
)
BROKEN = (
    *("lightning_csv/nan.csv", "wandb_csv/two_runs.csv", "plain_csv/nan.csv", "plain_csv/broken_epochs.csv"),
    *("bare_columns/nan.txt", "text_table/nan.txt"),
)


def read(text: str) -> list[Log]:
    """The runs in a text, by whichever reader recognises it."""
    return read_file(Source("log", None, text))


def only(text: str, kind: str) -> Log:
    """The one run in a text of that kind."""
    (log,) = read(text)
    assert log.run.kind == kind
    return log


def series(log: Log, name: str) -> dict[int, float]:
    """A column by its steps."""
    return {record.step: record.values[name] for record in log.records if name in record.values}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_file_gives_no_alarm(name: str):
    """No run in it is critical."""
    assert [report.verdict for report in analyze(LOGS / name) if report.verdict == "critical"] == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_critical(name: str):
    """The last run in it is: its loss is NaN, or stays far above its best."""
    assert analyze(LOGS / name)[-1].verdict == "critical"


def test_rows_of_lightning_are_merged_by_their_step():
    """Learning rate, gradient norm and loss of one step stand in two rows; steps are counted from 0, epochs as numbers."""
    (log,) = load(LOGS / "lightning_csv/healthy.csv")
    first, last = log.records[0], log.records[-1]
    assert (first.step, first.epoch, first.kind) == (5, 0.1562, "train")
    assert first.values == {"learning_rate": 0.0188, "grad_norm": 0.7096630334854126, "loss": 1.3300142288208008}
    assert (last.step, last.epoch, last.kind) == (128, 4.0, "eval")
    assert last.values == {"eval_acc": 0.984375, "eval_loss": 0.28087925910949707, "train_loss_epoch": 0.2832883894443512}
    assert log.run.facts["logging_nan_inf_filter"].value is False and log.run.facts["framework"].value == "lightning"


def test_a_mean_of_an_epoch_is_the_loss_where_no_step_has_one():
    """`train_loss_epoch` alone is all that was logged of training."""
    text = "epoch,step,train_loss_epoch,val_loss\n0,9,,1.5\n0,9,1.6,\n1,19,,1.2\n1,19,1.3,\n"
    log = only(text, "lightning_csv")
    assert series(log, "loss") == {10: 1.6, 20: 1.3} and series(log, "eval_loss") == {10: 1.5, 20: 1.2}
    assert [record.epoch for record in log.records] == [1.0, 1.0, 2.0, 2.0]


def test_columns_of_lightning_in_another_order_are_the_same():
    """Older releases write them as they come, and end in the middle of a row while they run."""
    text = "lr-SGD/pg1,epoch,step,train_loss_step\n0.1,,4,\n,0,4,2.5\n0.1,,9,\n,0,9,2.4\n0.1,,14"
    log = only(text, "lightning_csv")
    assert series(log, "loss") == {5: 2.5, 10: 2.4} and series(log, "learning_rate") == {5: 0.1, 10: 0.1}
    assert log.records[0].epoch is None


def test_runs_side_by_side_in_an_export_are_told_apart_by_name():
    """Each with the steps of the Trainer; blank cells are no rows, and least and most no columns."""
    first, second = load(LOGS / "wandb_csv/two_runs.csv")
    assert (first.run.name, second.run.name) == ("tiny-gpt2-lr1e-4", "tiny-gpt2-lr5e-3")
    assert len(first.records) == 40 and len(second.records) == 35 and first.records[0].step == 10
    assert first.records[0].values == {"loss": 3.981283726} and not first.run.notes


def test_an_export_that_is_a_sample_says_so():
    """Uneven steps, and values whose least and most differ; a name may have the dash in it."""
    (log,) = load(LOGS / "wandb_csv/sampled.csv")
    assert log.run.name == "sweep - 3" and len(series(log, "eval_loss")) == 6
    assert log.run.notes == (
        "W&B exports a sample of the rows: what is between them is not seen",
        "a value in the export stands for several steps: its least and its most differ",
    )


def test_an_export_over_wall_time_is_numbered():
    """It has no step at all."""
    log = only(
        '"Relative Time (Process)","a - train/loss","a - train/loss__MIN"\n"1.5","3","3"\n"2.5","2.5","2.5"\n', "wandb_csv"
    )
    assert series(log, "loss") == {1: 3.0, 2: 2.5} and log.run.numbered


def test_semicolons_and_decimal_commas_are_told_by_content():
    """With a mark at the start and Windows line ends; rows of epochs are numbered, and `train_loss` is the loss of training."""
    (log,) = load(LOGS / "plain_csv/decimal_commas.csv")
    assert series(log, "loss")[1] == 2.4957 and series(log, "eval_loss")[20] == 0.8183
    assert log.run.numbered and log.run.notes == ("the rows have no step: they are numbered from 1",)


def test_tabs_and_thousands_are_told_by_content():
    """`1,000` is a step."""
    (log,) = load(LOGS / "plain_csv/tabs.tsv")
    assert series(log, "loss")[1000] == 2.42612
    assert series(log, "learning_rate")[100] == 1e-4 and not log.run.numbered


def test_the_history_that_is_taken_from_w_and_b_has_its_count_of_calls():
    """`_step` is the step where there is no other; the Trainer's own is better."""
    assert series(only("_runtime,_step,train/loss\n1.5,3,2.5\n2.5,7,2.4\n", "plain_csv"), "loss") == {3: 2.5, 7: 2.4}
    both = only("_step,train/global_step,train/loss\n3,10,2.5\n7,20,2.4\n", "plain_csv")
    assert series(both, "loss") == {10: 2.5, 20: 2.4}


@pytest.mark.parametrize(
    ("name", "known"), [("run-a-tag-train_loss.csv", "loss"), ("tag-eval_loss.csv", "eval_loss"), ("x.csv", "loss")]
)
def test_what_tensorboard_downloads_is_named_by_its_file(name: str, known: str):
    """Its columns say `Value`; what that is taken for is said."""
    (log,) = read_file(Source(name, None, "Wall time,Step,Value\n1.7e9,10,2.5\n1.7e9,20,2.4\n"))
    assert series(log, known) == {10: 2.5, 20: 2.4}
    assert log.run.notes == (f"the column Value is taken for {known}",)


def test_several_runs_in_one_file_begin_where_the_steps_do():
    """Back at the first step it is another run."""
    text = "step,loss\n" + "".join(f"{step},{run - step / 100}\n" for run in (3, 4) for step in (10, 20, 30))
    first, second = read(text)
    assert (first.run.name, second.run.name) == ("run 1 of 2", "run 2 of 2") and series(second, "loss")[10] == 3.9


def test_a_line_that_is_cut_off_is_left_out_and_said():
    """The file is being written; half a number would be another one."""
    log = only('"step","loss","lr"\n10,2.5,1e-4\n20,2.4,1e-4\n30,2.', "plain_csv")
    assert series(log, "loss") == {10: 2.5, 20: 2.4} and log.run.notes == ("the last line is cut off and was left out",)


@pytest.mark.parametrize(
    "text",
    [
        "name,age\nann,3\nben,4\n",
        "step,accuracy\n10,0.5\n20,0.6\n",
        "loss of life, in numbers\nwas, great\n",
        "profit,loss,year\na,b,c\nd,e,f\n",
        "1\n2\n3\n4\n5\n6\n",
        "10 2.5\n5 2.4\n20 2.3\n",
        "10 2.5\n20 2.4\nand so on\n",
        "2024-01-05 10\n2024-01-06 11\n",
        "0.5 0.25\n0.6 0.2\n0.7 0.1\n",
    ],
)
def test_what_is_no_log_is_left_alone(text: str):
    """No loss, no numbers, no rising steps: nobody claims it."""
    with pytest.raises(LossDoctorError) as raised:
        read(text)
    assert "\n" not in str(raised.value)


def test_losses_alone_are_numbered():
    """One column has no steps, and that is said."""
    (log,) = load(LOGS / "bare_columns/losses.txt")
    assert list(series(log, "loss")) == list(range(1, 41)) and log.run.numbered
    assert log.run.notes == ("the rows have no step: they are numbered from 1",)


def test_steps_with_losses_need_no_header():
    """Between blanks or any mark; NaN is a number, and half a line at the end is none."""
    (log,) = load(LOGS / "bare_columns/nan.txt")
    assert log.records[0].step == 76_800 and math.isnan(series(log, "loss")[77_380])
    assert series(only("10: 2.5\n20: nan\n30: 1e-3\n40:", "bare_columns"), "loss")[30] == 1e-3


@pytest.mark.parametrize(
    ("name", "known"),
    [
        *(("Training Loss", "loss"), ("Valid. Loss", "eval_loss"), ("val_acc", "eval_acc"), ("Learning Rate", "learning_rate")),
        *(
            ("Grad Norm", "grad_norm"),
            ("Iteration", "step"),
            ("train_step", "step"),
            ("train/loss", "loss"),
            ("mystery", "mystery"),
        ),
    ],
)
def test_human_headers_have_the_names_of_the_trainers_log(name: str, known: str):
    """What is not known stays as it is."""
    assert column(name) == known


LOSSES = st.one_of(st.floats(0, 1e4, allow_nan=False), st.just(math.nan), st.just(math.inf))
ROWS = st.lists(st.tuples(st.integers(1, 50), LOSSES), min_size=5, max_size=30)
FORMS = {
    "comma": ("step,loss\n", "{step},{loss}\n"),
    "semicolon": ("step;loss;lr\n", "{step};{comma};0,5\n"),
    "tab": ("Step\tLoss\tNote\n", '{step:,}\t{loss}\t"a, b"\n'),
    "lightning": ("epoch,step,train_loss,val_loss\n", "0,{before},{loss},\n"),
    "wandb": ('"Step","r - train/loss","r - train/loss__MIN"\n', '"{step}","{loss}","{loss}"\n'),
    "two columns": ("", "{step} {loss}\n"),
    "blanks": ("It says\nstep loss lr\n", "{step} {loss} 1e-4\n"),
    "long": ("step,metric,value\n", "{step},lr,0.5\n{step},loss,{loss}\n"),
    "split": ("step,split,loss\n", "{step},train,{loss}\n"),
}


@pytest.mark.parametrize("form", FORMS)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rows=ROWS)
def test_a_file_reads_back_as_it_was_written(form: str, rows: list[tuple[int, float]]):
    """Any losses at rising steps come back to the printed digits, NaN and infinity among them."""
    head, row = FORMS[form]
    steps = [sum(gap for gap, _ in rows[: place + 1]) for place in range(len(rows))]
    written = [(step, f"{loss:.6f}") for step, (_, loss) in zip(steps, rows, strict=True)]
    body = (row.format(step=step, before=step - 1, loss=loss, comma=loss.replace(".", ",")) for step, loss in written)
    (log,) = read(head + "".join(body))
    assert [(record.step, f"{record.values['loss']:.6f}") for record in log.records] == written


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text(alphabet=st.sampled_from('",;\t \n\r-#.0123456789eEnafitrslop_/\0é'), max_size=300))
def test_no_text_breaks_a_reader(text: str):
    """Whatever stands there, it is logs or one line of error."""
    for start in (
        "step,loss\n1,2\n",
        "epoch,step,train_loss,val_loss\n0,1,2,\n",
        "run,step,metric,value\na,1,loss,2\n",
        "so\nstep loss lr\n1 2 3\n2 2 3\n3 2 3\n",
        "epoch,split,step,train/a_loss,train/b_loss,test_loss\n1,val,1,2,3,4\n",
        '"Step","a - loss"\n1,2\n',
        "1 2.5\n2 2.4\n3 1\n",
        "",
    ):
        try:
            assert all(log.records for log in read(start + text))
        except LossDoctorError as error:
            assert "\n" not in str(error)


def test_runs_are_told_apart_by_the_columns_that_name_them():
    """Rows of several runs may stand in any order; a number is told with the name of its column."""
    base, longer = load(LOGS / "plain_csv/runs.csv")
    assert (base.run.name, longer.run.name) == ("base seed 1", "long warm-up seed 2")
    assert list(series(base, "loss")) == list(series(longer, "loss")) == list(range(10, 250, 10))
    assert list(series(base, "eval_loss")) == [60, 120, 180, 240]


def test_a_column_that_names_one_run_names_nothing():
    """The same in every row, it is a setting."""
    assert only("model,step,loss\n" + "".join(f"tiny,{step},2.5\n" for step in range(9)), "plain_csv").run.name == ""


def test_rows_of_evaluations_are_told_by_their_split():
    """The validation loss of an epoch is none of training, and both are of one step."""
    (log,) = load(LOGS / "plain_csv/splits.csv")
    assert list(series(log, "loss")) == list(series(log, "eval_loss")) == list(range(1, 17))
    assert series(log, "eval_loss")[1] != series(log, "loss")[1] and "eval_accuracy" in log.records[1].values
    tested = only("step,phase,loss\n" + "".join(f"{s},train,2.5\n{s},val,2.6\n{s},test,2.7\n" for s in (1, 2, 3)), "plain_csv")
    assert series(tested, "eval_test_loss") == {1: 2.7, 2: 2.7, 3: 2.7} and series(tested, "eval_loss")[3] == 2.6


def test_a_row_for_each_value_is_a_row_for_each_step():
    """The long form, whose metrics come one after another or in turns; the runs of MLflow have an id beside."""
    (log,) = load(LOGS / "plain_csv/long.csv")
    assert list(series(log, "loss")) == list(series(log, "learning_rate")) == list(range(10, 250, 10))
    assert list(series(log, "eval_loss")) == [60, 120, 180, 240]
    rows = [(run, key, step) for run in ("a1", "b2") for key in ("learning_rate", "loss") for step in (10, 20, 30)]
    text = "run_id,key,value,step\n" + "".join(f"{run},{key},{0.5 + step},{step}\n" for run, key, step in rows)
    first, second = read(text)
    assert (first.run.name, second.run.name) == ("a1", "b2")
    assert first.records[0].values == {"learning_rate": 10.5, "loss": 10.5} and len(second.records) == 3


def test_steps_that_begin_anew_in_each_epoch_are_one_run():
    """They are counted on, and that is said; the loss broke in the third epoch, not in the first."""
    (log,) = load(LOGS / "plain_csv/broken_epochs.csv")
    assert [record.step for record in log.records] == list(range(0, 240, 10))
    assert log.run.notes == ("the steps begin anew in each epoch: they are counted on",)


def test_epochs_that_begin_anew_are_another_run():
    """Where there are no steps, as in a file to which each training of Keras was appended."""
    text = "epoch,loss,val_loss\n" + "".join(f"{epoch},{2.5 - epoch / 10},2.5\n" for _ in range(2) for epoch in range(5))
    assert [(log.run.name, len(series(log, "loss"))) for log in read(text)] == [("run 1 of 2", 5), ("run 2 of 2", 5)]


def test_a_loss_in_parts_is_their_sum_and_that_is_said():
    """As YOLO writes it, with blanks before each cell and no total."""
    (log,) = load(LOGS / "plain_csv/parts.csv")
    first = log.records[0].values
    assert first["loss"] == first["box_loss"] + first["cls_loss"]
    assert "there is no total: loss is the sum of box_loss, cls_loss" in log.run.notes


def test_without_a_validation_a_test_is_the_evaluation():
    """Loops of PyTorch say so; beside a validation it keeps its name."""
    assert series(only("epoch,train_loss,test_loss\n0,2.5,2.6\n1,2.4,2.5\n", "plain_csv"), "eval_loss") == {1: 2.6, 2: 2.5}
    both = only("step,loss,val_loss,test_loss\n1,2.5,2.6,2.7\n2,2.4,2.5,2.6\n", "plain_csv")
    assert series(both, "eval_loss") == {1: 2.6, 2: 2.5} and series(both, "test_loss")[1] == 2.7


@pytest.mark.parametrize(
    "text",
    [
        "model,loss,accuracy\ntiny,0.5,0.9\nbase,0.4,0.9\nlarge,0.3,0.9\n",
        '"Name","State","Created","train/loss","train/global_step"\n"a","finished","2026","0.5","300"\n"b","crashed","2026","0.6","300"\n',
        "learning_rate,epochs,eval_loss\n1e-5,3,0.5\n2e-5,3,0.4\n5e-5,3,0.6\n",
    ],
)
def test_results_of_several_runs_are_no_log(text: str):
    """A row for each run, or for each choice of settings."""
    with pytest.raises(LossDoctorError):
        read(text)


def test_cells_that_are_too_many_and_broken_lines_cost_no_log():
    """A comma at the end of each row, a note of two lines in quotes."""
    assert series(only("step,loss\n10,2.5,\n20,2.4,\n30,2.3,\n", "plain_csv"), "loss")[30] == 2.3
    rows = [f'{step},2.5,"two\nlines, here"\n' if step == 30 else f"{step},2.5,\n" for step in range(10, 200, 10)]
    assert len(only("step,loss,note\n" + "".join(rows), "plain_csv").records) == 19


def test_columns_under_a_header_of_plain_names_are_a_table_wherever_they_stand():
    """Between single blanks, tabs, commas or semicolons, with text around; what is said of settings there is a fact."""
    (log,) = load(LOGS / "text_table/healthy.txt")
    assert list(series(log, "loss")) == list(range(25, 625, 25)) and series(log, "learning_rate")[600] == 0.0
    for mark in (" ", "\t", ",", ";", "   "):
        rows = "".join(f"{mark.join((str(step), '2.5', '1e-4'))}\n" for step in (10, 20, 30))
        found = only(f"It says:\n{mark.join(('step', 'loss', 'lr'))}\n{rows}Why?\n", "text_table")
        assert series(found, "loss") == {10: 2.5, 20: 2.5, 30: 2.5} and series(found, "learning_rate")[20] == 1e-4
    ruled = only("  step    loss\n------  ------\n    10    2.5\n    20    2.4\n    30    2.3\n", "text_table")
    assert series(ruled, "loss") == {10: 2.5, 20: 2.4, 30: 2.3}
    fast = load(LOGS / "text_table/epochs.txt")[0]
    assert len(series(fast, "loss")) == len(series(fast, "eval_loss")) == 16


@pytest.mark.parametrize("line", ["step loss lr\n", "the loss of a step\n", "step,loss\n10 x\n", "step loss\n1 2\n\n", "oss "])
def test_what_only_looks_like_a_header_is_passed_over_quickly(line: str):
    """Two megabytes of it; the bound is some hundred times what it takes."""
    begun = time.perf_counter()
    assert not text_table.recognise(Source("log", None, line * (2_000_000 // len(line))))
    assert time.perf_counter() - begun < 20


def test_prose_with_a_loss_and_numbers_is_no_table():
    """Words that are names of columns, and lines with numbers that are no rows."""
    with pytest.raises(LossDoctorError):
        read("The loss at each step is\n10 20 30 40\n5 4 3 2\n\nstep by step the loss rose\nfrom 1 to 2\n")
