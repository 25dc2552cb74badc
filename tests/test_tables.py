"""Tables with steps in their rows: from notebooks, model cards and pages, whole or as people paste them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SHARED, needs_shared
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import FORMS

from lossdoctor.analysis import analyze, load
from lossdoctor.model import Log, LossDoctorError, NothingToAnalyse
from lossdoctor.parsing.cells import blank, columns, decimal_commas, held, number
from lossdoctor.parsing.table_logs import measured_once
from lossdoctor.readers import Source, read_file
from lossdoctor.readers.html_table import of_html

LOGS = ROOT / "tests" / "logs"
HEALTHY = (
    *("notebook_table/healthy.txt", "notebook_table/epochs.txt", "notebook_table/spaces.txt", "markdown_table/healthy.md"),
    "markdown_table/embeddings.md",
    *("markdown_table/epochs.md", "markdown_table/drawn.txt", "html_table/healthy.html", "jupyter_notebook/healthy.ipynb"),
    *("jupyter_notebook/epochs.ipynb", "jupyter_notebook/printed.ipynb"),
)
BROKEN = (
    "notebook_table/collapsed.txt",
    "markdown_table/collapsed.md",
    "html_table/page.html",
    "jupyter_notebook/two_runs.ipynb",
)


def read(text: str) -> list[Log]:
    """The runs in a text, by whichever reader recognises it."""
    return read_file(Source("log", None, text))


def only(text: str) -> Log:
    """The one run in a text."""
    (log,) = read(text)
    return log


def series(log: Log, name: str) -> dict[int, float]:
    """A column by its steps."""
    return {record.step: record.values[name] for record in log.records if name in record.values}


def table(*rows: str, header: str = "Step\tTraining Loss\tValidation Loss") -> str:
    """A table as it is pasted."""
    return "\n".join((header, *rows)) + "\n"


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_table_gives_no_alarm(name: str):
    """No run in it is critical."""
    assert [report.verdict for report in analyze(LOGS / name) if report.verdict == "critical"] == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_critical(name: str):
    """The last run in it is: its loss is zero or NaN for good."""
    assert analyze(LOGS / name)[-1].verdict == "critical"


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *(("1,234", 1234.0), ("1,234,567.5", 1234567.5), ("1.2e-5", 1.2e-5), ("**0.5**", 0.5), ("`7`", 7.0), ("-1", -1.0)),
        *(("\u22121.5", -1.5), ("45%", 0.45), ("inf", math.inf), (".5", 0.5), ("2.", 2.0), ("+3", 3.0)),
        *(("No log", None), ("", None), ("1_000", None), ("0x10", None), ("1,23", None), ("12:30", None), ("nine", None)),
    ],
)
def test_cells_are_numbers_as_people_write_them(cell: str, value: float | None):
    """With thousands, in bold, as shares, with a real minus; what is no number is none."""
    assert number(cell) == value


def test_remarks_behind_a_number_cost_no_row():
    """People mark the best row, write a step among all, and Markdown ends lines with a backslash."""
    rows = "".join(f"| Epoch {n}/5 | 0.{9 - n} ✓ | **0.{9 - n}** (best) | ok |\n" for n in (1, 2, 3))
    (log,) = read("| Epoch | Train Loss | Val Loss | Status |\n|---|---|---|---|\n" + rows)
    assert [dict(record.values) for record in log.records[:2]] == [{"loss": 0.8}, {"eval_loss": 0.8}]
    (log,) = read("``` python\nStep     Training Loss \\\n50       1.5 \\\n100      1.25\\\n150      1.0\n```\n")
    assert [(record.step, record.values["loss"]) for record in log.records] == [(50, 1.5), (100, 1.25), (150, 1.0)]
    assert held("loss", "3 of 10") is None and held("accuracy", "0.5 (best)") is None and held("loss", "1,5 ✓", comma=True) == 1.5


def test_commas_stand_before_decimals_where_no_thousands_can_be_meant():
    """One cell decides for its table."""
    assert decimal_commas(["1,234", "0,25"]) and not decimal_commas(["1,234", "2,500"]) and not decimal_commas(["1.5", "7"])
    assert (
        number("1.234,5", comma=True) == 1234.5 and number("1.000", comma=True) == 1000 and number("nan", comma=True) is not None
    )


def test_what_says_that_nothing_was_measured_is_blank():
    """The Trainer's words, dashes, and what pandas writes."""
    assert all(map(blank, ("No log", "no log", "", " - ", "—", "N/A", "None", "<NA>"))) and not blank("nan")


def test_columns_of_an_evaluation_have_the_names_of_the_trainers_log():
    """The Trainer's tables leave out `eval_` and write words in capitals."""
    names = columns(
        ["Training Loss", "Epoch", "Step", "Validation Loss", "Rouge1", "Gen Len", "Rewards/chosen", "G0 Loss", "num_tokens"]
    )
    assert names == (
        *(
            "loss",
            "epoch",
            "step",
            "eval_loss",
            "eval_rouge1",
            "eval_gen_len",
            "eval_rewards/chosen",
            "eval_g0_loss",
            "num_tokens",
        ),
    )
    assert columns(["Step", "Train Loss", "Val Acc", "LR", "rewards / x / mean"]) == (
        *("step", "train_loss", "eval_Acc", "learning_rate", "rewards/x/mean"),
    )


def test_the_settings_and_the_summary_around_a_table_are_read():
    """The progress bar has the steps and epochs, the source the arguments, and what `train()` returned is the summary."""
    (log,) = load(LOGS / "notebook_table/healthy.txt")
    assert {name: fact.value for name, fact in log.run.facts.items()} == {
        "max_steps": 60,
        "num_train_epochs": 3,
        "learning_rate": 0.003,
        "per_device_train_batch_size": 8,
        "trainer": "TrainingArguments",
    }
    assert len(series(log, "loss")) == len(series(log, "eval_loss")) == 12 and series(log, "loss")[60] == 2.512481
    assert log.records[-1].kind == "summary" and log.records[-1].values["train_runtime"] == 0.7249 and not log.run.notes


def test_a_table_that_was_cut_by_text_is_one_run():
    """Its steps go on after the sentence in between."""
    (log,) = load(LOGS / "notebook_table/collapsed.txt")
    assert list(series(log, "loss")) == list(range(4, 61, 4))
    again = only(table("10\t2.5\t2.6", "20\t2.4\t2.5") + "then\n" + table("30\t2.3\t2.4", "40\t2.2\t2.3"))
    assert list(series(again, "loss")) == [10, 20, 30, 40]


def test_tables_whose_steps_begin_anew_are_several_runs():
    """Each is told apart by its number."""
    first, second = load(LOGS / "notebook_table/spaces.txt")
    assert (first.run.name, second.run.name) == ("run 1 of 2", "run 2 of 2")
    assert series(first, "loss")[5] == 3.708388 and series(second, "eval_loss")[60] == 2.572318


def test_a_table_that_was_drawn_anew_counts_once():
    """Some frontends keep every state of the table that grows; NaN is equal to itself there."""
    rows = [f"{10 * i}\t{'nan' if i == 2 else 3 - i / 10}\t{3 - i / 10}" for i in range(1, 6)]
    log = only(table(*rows[:2]) + table(*rows[:4]) + table(*rows))
    assert list(series(log, "eval_loss")) == [10, 20, 30, 40, 50] and log.run.name == ""


def test_the_evaluation_after_a_training_is_no_run():
    """`trainer.evaluate()` shows one more row with the last step."""
    text = table("10\t2.5\t2.6", "20\t2.4\t2.5") + table("2.4\t2.5\t20", header="Training Loss\tValidation Loss\tStep")
    assert list(series(only(text), "eval_loss")) == [10, 20]
    assert len(load(LOGS / "jupyter_notebook/healthy.ipynb")) == 1


def test_rows_that_are_epochs_get_their_steps_from_the_summary_or_the_bar():
    """240 steps in 12 epochs; without either the rows are numbered, and both is said."""
    (log,) = load(LOGS / "notebook_table/epochs.txt")
    assert list(series(log, "eval_loss")) == list(range(20, 241, 20)) and not log.run.numbered
    assert "the rows are epochs: their steps are told from the summary" in log.run.notes
    assert log.run.facts["eval_strategy"].value == "epoch"
    rows = table("1\tNo log\t2.6", "2\t2.5\t2.5", "3\t2.3\t2.4", header="Epoch\tTraining Loss\tValidation Loss")
    told = only("[30/60 00:09 < 00:09, 3.3 it/s, Epoch 3/6]\n" + rows)
    assert list(series(told, "eval_loss")) == [10, 20, 30] and told.run.facts["max_steps"].value == 60
    assert told.run.notes == ("the rows are epochs: their steps are told from the progress bar",)
    bare = only(rows)
    assert list(series(bare, "eval_loss")) == [1, 2, 3] and bare.run.numbered
    assert bare.run.notes == ("the rows have no step: they are numbered from 1",)


def test_a_bar_without_a_known_number_of_epochs_tells_the_steps_alone():
    """An iterable data set leaves the largest integer there."""
    log = only(" [20/20 00:05, Epoch 0/9223372036854775807]\n" + table("10\t2.5\t2.6", "20\t2.4\t2.5"))
    assert {name: fact.value for name, fact in log.run.facts.items()} == {"max_steps": 20}


def test_half_a_row_at_the_end_is_left_out():
    """A paste that was cut, Windows line ends, colours: all that is whole is read."""
    text = table("10\t2.5\t2.6", "20\t\x1b[31m2.4\x1b[0m\t2.5", "30\t2.").replace("\n", "\r\n")
    assert series(only(text), "loss") == {10: 2.5, 20: 2.4}


def test_a_table_of_reinforcement_learning_keeps_its_own_columns():
    """Rewards and KL divergence are columns of training; slashes that were set apart are joined again."""
    text = table(
        "1\t0.0\t0.5\t0.01\t0.4", "2\t0.1\t0.6\t0.02\t0.5", header="Step\tTraining Loss\treward\tkl\trewards / right / mean"
    )
    assert only(text).records[1].values == {"loss": 0.1, "reward": 0.6, "kl": 0.02, "rewards/right/mean": 0.5}


def test_sparse_rows_of_pandas_have_no_nan():
    """A frame of the Trainer's history says NaN where nothing was measured; a loss that is NaN for good stays so."""
    text = "".join(f"| {i} | {3 - i / 100} | nan |\n| {i + 1} | nan | {3 - i / 100} |\n" for i in range(10, 50, 10))
    log = only("| step | loss | eval_loss |\n|---:|---:|---:|\n" + text)
    assert not any(math.isnan(value) for record in log.records for value in record.values.values())
    broken = only("| step | loss | eval_loss |\n|---|---|---|\n| 10 | 2.5 | 2.4 |\n| 20 | nan | nan |\n")
    assert math.isnan(broken.records[-1].values["eval_loss"]) and math.isnan(series(broken, "loss")[20])


def test_a_loss_that_stands_in_several_rows_of_a_card_counts_once():
    """Logged every 10 steps and evaluated every 4: five losses stand in 13 rows, and none of them looks frozen."""
    (log,) = load(LOGS / "markdown_table/healthy.md")
    assert series(log, "loss") == {12: 3.6091, 20: 3.2144, 32: 2.9112, 40: 2.721, 52: 2.5992, 60: 2.5415}
    assert len(series(log, "eval_loss")) == 15 and series(log, "eval_accuracy")[60] == 0.2
    assert log.run.notes == ("7 rows repeat the training loss before them: each loss counts once",)


def test_losses_that_are_equal_but_measured_stay():
    """Where every row has a new loss, zeros for good are measurements; so are all of a table that never says "No log"."""
    rows = [{"step": i, "loss": loss, "eval_loss": 1.0} for i, loss in enumerate((3.1, 2.5, 2.1, 0.0, 0.0, 0.0, 0.0))]
    assert measured_once(rows) == (rows, 0)
    zeros = [{"step": i, "loss": 0.0, "eval_loss": math.nan} for i in range(5)]
    assert measured_once(zeros) == (zeros, 0)
    (log,) = load(LOGS / "markdown_table/collapsed.md")
    assert list(series(log, "loss").values())[-9:] == [0.0] * 9


def test_zeros_of_a_card_with_few_losses_count_as_often_as_they_were_logged():
    """Logged every third evaluation, 0.0 stands in six rows: it was measured twice."""
    losses = [None, None, 2.5, 2.5, 2.5, 2.1, 2.1, 2.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    rows = [{"step": i, "eval_loss": 1.0} | ({} if loss is None else {"loss": loss}) for i, loss in enumerate(losses, 1)]
    kept, repeated = measured_once(rows)
    assert [row["step"] for row in kept if "loss" in row] == [3, 6, 9, 12] and repeated == 8


def test_the_hyper_parameters_of_a_card_are_facts():
    """Also those that stand below its table."""
    (log,) = load(LOGS / "markdown_table/healthy.md")
    told = {name: fact.value for name, fact in log.run.facts.items()}
    assert told["learning_rate"] == 0.003 and told["num_train_epochs"] == 3 and told["lr_scheduler_type"] == "linear"
    assert told["transformers_version"] == "5.23.0" and told["model_name_or_path"] == "example/tiny-gpt2"


def test_losses_beside_that_of_training_are_those_of_evaluation_sets():
    """As Sentence Transformers has them: each with the name of its set, or none; metrics are of evaluations too."""
    (log,) = load(LOGS / "markdown_table/embeddings.md")
    evaluated = [record for record in log.records if record.kind == "eval"]
    assert [record.step for record in evaluated] == [300, 600, 900, 1200]
    assert set(evaluated[-1].values) == {"eval_pairs-dev_loss", "eval_sts-dev_spearman_cosine"}
    assert columns(["Epoch", "Step", "Training Loss", "loss"]) == ("epoch", "step", "loss", "eval_loss")
    assert columns(["Step", "Training Loss", "reward"]) == ("step", "loss", "reward")


def test_a_table_over_settings_is_no_log():
    """Its epochs are the same in every row; the table with steps beside it is one."""
    over = (
        "| learning rate | Epoch | Validation Loss |\n|---|---|---|\n| 1e-3 | 3 | 1.4 |\n| 1e-4 | 3 | 1.1 |\n| 1e-5 | 3 | 1.9 |\n"
    )
    with pytest.raises(LossDoctorError):
        read(over)
    (log,) = load(LOGS / "markdown_table/drawn.txt")
    assert len(log.records) == 16 and log.records[0].values["Accuracy"] == 0.3


def test_a_table_that_was_drawn_in_a_terminal_is_one_of_markdown():
    """Its bars and rulers are lines of boxes; rows of one step may be two, as pandas keeps them."""
    box = "┏━━━━━━┳━━━━━━━━┓\n┃ Step ┃ Loss   ┃\n┡━━━━━━╇━━━━━━━━┩\n│ 10   │ 2.5    │\n│ 20   │ 2.4    │\n└──────┴────────┘\n"
    assert series(only(box), "loss") == {10: 2.5, 20: 2.4}
    rows = "| 0 | 10 | 2.5 | |\n| 1 | 10 | | 2.6 |\n| 2 | 20 | 2.4 | |\n| 3 | 20 | | 2.5 |\n"
    frame = only("|   | step | loss | eval_loss |\n|--|--|--|--|\n" + rows)
    assert series(frame, "loss") == {10: 2.5, 20: 2.4} and series(frame, "eval_loss") == {10: 2.6, 20: 2.5}


def test_hostile_markup_hides_no_table_and_makes_none():
    """Tables in scripts and comments are not shown; tags need not be closed, and attributes may hold a ">"."""
    (log,) = load(LOGS / "html_table/page.html")
    assert list(series(log, "eval_loss")) == list(range(20, 321, 20)) and series(log, "eval_f1_score")[20] == 0.4
    assert math.isnan(series(log, "loss")[320]) and not {98.0, 99.0} & set(series(log, "loss").values())
    told = {"learning_rate": 2e-4, "max_steps": 320, "fp16": True, "trainer": "TrainingArguments"}
    assert {name: fact.value for name, fact in log.run.facts.items()} == told


@pytest.mark.parametrize(
    "piece", ["<table", "<table><td \"'", "<!--", "<script>", "<table><tr><th>Step<th>Loss", "&#x", "<td>\0"]
)
def test_markup_without_end_is_read_in_linear_time(piece: str):
    """A hundred thousand of them are done within the time limit of the tests."""
    text = "<table><tr><th>Step<th>Loss<tr><td>1<td>2" + piece * 100_000
    try:
        assert all(log.records for log in read(text))
    except LossDoctorError as error:
        assert "\n" not in str(error)


def notebook(*cells: Mapping[str, Any]) -> str:
    """A notebook of format 4 with these cells of code."""
    return json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": [], "outputs": [], **cell} for cell in cells]})


def test_every_cell_with_a_training_is_a_run_with_the_arguments_before_it():
    """The table of each is titled by its cell; the cells of text count as well."""
    healthy, broken = load(LOGS / "jupyter_notebook/two_runs.ipynb")
    assert (healthy.run.name, broken.run.name) == ("cell 3", "cell 6")
    assert healthy.run.facts["learning_rate"].value == 0.003 and healthy.run.facts["max_steps"].value == 60
    assert series(healthy, "loss")[60] == 2.525857 and series(broken, "loss")[60] == 0.0


def test_rows_that_a_cell_printed_are_read_by_their_own_dialect():
    """As dictionaries, in several pieces of one stream; the kind is that of the notebook."""
    (log,) = load(LOGS / "jupyter_notebook/printed.ipynb")
    assert log.run.kind == "jupyter_notebook" and series(log, "grad_norm")[4] == 0.9419
    assert list(series(log, "loss")) == list(range(4, 61, 4))


def test_a_notebook_of_format_3_is_read():
    """Its cells are in worksheets, and its outputs hold `text` and `html` themselves."""
    html = of_table(("10", "2.5"), ("20", "2.4"))
    cells = [{"cell_type": "code", "input": "", "outputs": [{"output_type": "display_data", "html": [html], "text": ["<HTML>"]}]}]
    log = only(json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}))
    assert series(log, "loss") == {10: 2.5, 20: 2.4}


def of_table(*rows: tuple[str, str]) -> str:
    """An HTML table of steps and training losses."""
    cells = (("Step", "Training Loss"), *rows)
    return "<table>" + "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells) + "</table>"


def test_the_source_of_cells_is_no_log():
    """A table in a string of the source, or in a cell of text, was not put out by a training."""
    source = 'print("""Step\tTraining Loss\n10\t2.5\n20\t2.4""")'
    with pytest.raises(LossDoctorError, match="is a notebook without a log in its outputs") as raised:
        read(notebook({"source": source}, {"cell_type": "markdown", "source": source}))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", [notebook({})[:-9], '{"nbformat":4,"cells":' + "[" * 100_000, '{"nbformat":4,"cells":{}}'])
def test_a_broken_notebook_is_one_line_of_error(text: str):
    """Cut off, nested too deeply, or of another shape."""
    with pytest.raises(LossDoctorError) as raised:
        read(text)
    assert "\n" not in str(raised.value)


def test_arguments_of_a_later_cell_are_not_those_of_an_earlier_run():
    """Each run has what the source said up to its own cell."""
    table_of = {"outputs": [{"output_type": "display_data", "data": {"text/html": of_table(("10", "2.5"), ("20", "2.4"))}}]}
    first, second = read(
        notebook(
            {"source": 'args = TrainingArguments("out", learning_rate=1e-4)', **table_of},
            {"source": 'args = TrainingArguments("out", learning_rate=1e-5)', **table_of},
        )
    )
    assert first.run.facts["learning_rate"].value == 1e-4 and second.run.facts["learning_rate"].value == 1e-5


LOSSES = st.one_of(st.floats(0, 1e4, allow_nan=False), st.just(math.nan), st.just(math.inf))
ROWS = st.lists(st.tuples(st.integers(1, 50), LOSSES), min_size=2, max_size=30)


def in_markdown(rows: list[tuple[int, str]]) -> str:
    """Rows below a header and a ruler."""
    return "| Step | Training Loss |\n|---|---|\n" + "".join(f"| {step} | {loss} |\n" for step, loss in rows)


def in_notebook(rows: list[tuple[int, str]]) -> str:
    """What a cell has put out."""
    html = of_table(*((str(step), loss) for step, loss in rows))
    return notebook({"outputs": [{"output_type": "display_data", "data": {"text/html": html}}]})


@pytest.mark.parametrize(
    "form",
    [
        lambda rows: table(*(f"{step}\t{loss}" for step, loss in rows), header="Step\tTraining Loss"),
        lambda rows: table(*(f"{step}   {loss}" for step, loss in rows), header="Step   Training Loss"),
        in_markdown,
        lambda rows: of_table(*((f"{step:,}", loss) for step, loss in rows)),
        in_notebook,
    ],
    ids=["tabs", "blanks", "markdown", "html", "jupyter"],
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rows=ROWS)
def test_a_table_reads_back_as_it_was_written(form: Callable[[list[tuple[int, str]]], str], rows: list[tuple[int, float]]):
    """Any losses at rising steps come back to the printed digits, NaN and infinity among them."""
    steps = [sum(gap for gap, _ in rows[: place + 1]) for place in range(len(rows))]
    written = [(step, f"{loss:.6f}") for step, (_, loss) in zip(steps, rows, strict=True)]
    log = only(form(written))
    assert [(record.step, f"{record.values['loss']:.6f}") for record in log.records] == written


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text(alphabet=st.sampled_from("<>/tabletrdh\"'!-=| \n\tStep Training Loss0123.,:{}[]\\\0é"), max_size=300))
def test_no_text_breaks_a_reader(text: str):
    """Whatever stands there, it is logs or one line of error; of markup comes text."""
    for start in (
        "Step\tTraining Loss\n1\t2\n",
        "|Step|Loss|\n|-|-|\n|1|2|\n|2|1|\n",
        "<table><tr><th>Step<th>Loss<tr><td>1<td>2",
        "",
    ):
        try:
            assert all(log.records for log in read(start + text))
        except (LossDoctorError, NothingToAnalyse) as error:
            assert "\n" not in str(error)
    of_html(text)


NEEDED = ("loss", "eval_loss")
#: Of the runs in ../shared/runs so many give the same verdict and first cause from a table as from the whole state; the others
#: need a gradient norm or a learning rate for it.
AS_FROM_THE_STATE, RUNS = 36, 52


@needs_shared
def test_a_table_is_judged_as_the_losses_that_it_holds(tmp_path: Path):
    """Verdict and first cause of every labelled run are those of its state with the losses alone, in each form of table."""
    same = total = 0
    for path in sorted((SHARED / "runs").glob("*.json")):
        state = json.loads(path.read_text(encoding="utf-8"))
        rows = [row for row in state["log_history"] if any(name in row for name in NEEDED)]
        bare = [{name: value for name, value in row.items() if name in (*NEEDED, "step")} for row in rows]
        whole, losses = (
            judged(tmp_path, json.dumps({**state, "log_history": history})) for history in (state["log_history"], bare)
        )
        found = {form: judged(tmp_path, render(state)) for form, render in FORMS.items()}
        assert found == dict.fromkeys(FORMS, losses), path.name
        same += found["notebook_table"] == whole
        total += 1
    assert (same, total) == (AS_FROM_THE_STATE, RUNS)


def judged(folder: Path, text: str) -> tuple[str, str | None]:
    """The verdict on the one run in a text, and its first cause."""
    (folder / "log").write_text(text, encoding="utf-8")
    (report,) = analyze(folder / "log")
    return report.verdict, report.diagnoses[0].slug if report.diagnoses else None


@pytest.mark.parametrize("name", ["notebook_table/healthy.txt", "markdown_table/healthy.md", "html_table/healthy.html"])
def test_what_a_table_lacks_is_said(name: str):
    """What needs a learning rate or a gradient norm is among what was not judged."""
    (report,) = analyze(LOGS / name)
    blind = {slug: gap.why for gap in report.not_judged for slug in gap.what.split(", ")}
    assert "no learning rate was logged" in blind["learning-rate-zero"] and "no gradient norm" in blind["gradient-explosion"]
