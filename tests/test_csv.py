"""CSV files: of Lightning, exported from W&B, of any origin; and bare columns of numbers."""

from __future__ import annotations

import math

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossdoctor.analysis import analyze, load
from lossdoctor.model import Log, LossDoctorError
from lossdoctor.readers import Source, read_file
from lossdoctor.readers.column_names import column

LOGS = ROOT / "tests" / "logs"
HEALTHY = (
    *("lightning_csv/healthy.csv", "lightning_csv/plain.csv", "wandb_csv/sampled.csv", "plain_csv/decimal_commas.csv"),
    *("plain_csv/tabs.tsv", "bare_columns/losses.txt"),
)
BROKEN = ("lightning_csv/nan.csv", "wandb_csv/two_runs.csv", "plain_csv/nan.csv", "bare_columns/nan.txt")


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
        '"Step","a - loss"\n1,2\n',
        "1 2.5\n2 2.4\n3 1\n",
        "",
    ):
        try:
            assert all(log.records for log in read(start + text))
        except LossDoctorError as error:
            assert "\n" not in str(error)
