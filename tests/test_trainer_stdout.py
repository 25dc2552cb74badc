"""What a Trainer printed: rows of versions 4 and 5 among bars, colours and tracebacks, and the steps that they do not name."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from conftest import ROOT, diagnose, slugs
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.analysis import analyze, load
from lossdoctor.engine import examine
from lossdoctor.model import Log, LossDoctorError, Record, Report
from lossdoctor.readers import Source, read_file, trainer_stdout

#: What four Trainers printed whose loss becomes NaN after step 22, and the states that they saved; `buffered` was printed by
#: a Python that keeps what it prints until a block is full, with its bars on another stream.
PRINTED = ROOT / "tests" / "logs" / "trainer_stdout"
SAVED = PRINTED.parent / "trainer_state"
RUNS = ("version_4_44", "version_4_57", "version_5", "buffered")
ROW = {"loss": 2.5, "grad_norm": 1.25, "learning_rate": 5e-05, "epoch": 0.5}


def source(text: str) -> Source:
    return Source("train.log", None, text)


def logs(text: str) -> list[Log]:
    return read_file(source(text))


def only(text: str) -> Log:
    (log,) = logs(text)
    return log


def bar(step: int, total: int = 100, description: str = "") -> str:
    """The bar that tqdm draws."""
    return f"\r{description}{100 * step // total:3}%|{'█' * (10 * step // total):10}| {step}/{total} [00:26<1:47:45, 26.07s/it]"


def version_5(row: Mapping[str, Any]) -> str:
    return str({name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()})


def printed(rows: Iterable[Mapping[str, Any]], total: int = 100, form: Any = version_5) -> str:
    """The rows as the Trainer prints them, each with the bar that is drawn anew below it."""
    text = ""
    for row in rows:
        shown = {name: value for name, value in row.items() if name != "step"}
        text += f"\r{' ' * 40}\r{form(shown)}\n{bar(row['step'], total)}"
    return text


def steps(log: Log, kind: str = "train") -> list[int]:
    return [record.step for record in log.records if record.kind == kind]


def first_cause(report: Report) -> str | None:
    return next((d.slug for d in report.diagnoses if not d.normal and not d.mechanism), None)


# The same run, printed and saved


@pytest.mark.parametrize("name", RUNS)
def test_what_was_printed_has_the_steps_of_what_was_saved(name):
    """Each row has the kind and the step that the Trainer's own state gives it, and the total is a fact."""
    (shown,), (saved,) = load(PRINTED / f"{name}.log"), load(SAVED / f"{name}.json")
    assert [(r.step, r.kind) for r in shown.records] == [(r.step, r.kind) for r in saved.records]
    for one, other in zip(shown.records, saved.records, strict=True):
        assert one.values.get("loss", 0.0) == pytest.approx(other.values.get("loss", 0.0), rel=1e-3, nan_ok=True)
    assert shown.run.get("max_steps") == saved.run.get("max_steps") == 60


@pytest.mark.parametrize("name", RUNS)
def test_what_was_printed_is_judged_like_what_was_saved(name):
    """Verdict, symptoms and the first cause are the same."""
    (shown,), (saved,) = analyze(PRINTED / f"{name}.log"), analyze(SAVED / f"{name}.json")
    assert (shown.verdict, slugs(shown), first_cause(shown)) == (saved.verdict, slugs(saved), first_cause(saved))
    assert shown.verdict == "critical"


def test_steps_that_are_estimated_are_said_to_be():
    """Where rows came late out of a buffer, a note tells that their steps are from the epochs; else there is none."""
    assert any("told from the epochs" in note for note in load(PRINTED / "buffered.log")[0].run.notes)
    assert load(PRINTED / "version_5.log")[0].run.notes == ()


@pytest.mark.slow
@pytest.mark.parametrize("broken", [True, False])
def test_a_real_training_is_judged_alike_from_both(tmp_path, train, capfd, broken):
    """A Trainer's state and its output, also with the numbers in the form of version 4, give one verdict and one first cause."""
    from trainers import NanLoss
    from transformers import Trainer

    options = {"nan_in": lambda batch: batch > 18, "logging_nan_inf_filter": False} if broken else {}
    train(NanLoss if broken else Trainer, doctor=None, disable_tqdm=False, max_steps=40, logging_steps=2, **options)
    out, err = capfd.readouterr()
    (tmp_path / "5.log").write_text(out + err)
    state = tmp_path / "out" / "trainer_state.json"
    history = json.loads(state.read_text())["log_history"]
    (tmp_path / "4.log").write_text(printed(history, 40, str))
    (tmp_path / "alone.json").write_text(state.read_text())  # without the facts that lie beside it
    saved, *shown = (analyze(tmp_path / name)[0] for name in ("alone.json", "4.log", "5.log"))
    assert (saved.verdict == "critical") is broken
    assert {(r.verdict, first_cause(r)) for r in shown} == {(saved.verdict, first_cause(saved))}
    assert [r.last_step for r in shown] == [saved.last_step] * 2


# Rows


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{'loss': 2.075, 'learning_rate': 0.00023, 'epoch': 0.04}", {"loss": 2.075, "learning_rate": 0.00023}),
        ("{'loss': '1.099', 'grad_norm': '0.6487', 'epoch': '0.625'}", {"loss": 1.099, "grad_norm": 0.6487}),
        ("{'loss': 0.0, 'grad_norm': nan, 'epoch': 0.31}", {"loss": 0.0, "grad_norm": math.nan}),
        ("{'loss': 'inf', 'grad_norm': -inf, 'epoch': 0.31}", {"loss": math.inf, "grad_norm": -math.inf}),
        ("[INFO|2024-12-08 01:09:59] callbacks:157 >> {'loss': 0.0000, 'epoch': 0.03}", {"loss": 0.0}),
        ("{'loss': 5.6332, 'lr': 0.0002, 'epoch': 0.09}", {"loss": 5.6332, "learning_rate": 0.0002}),
        ("{'loss': '0.71', 'memory/max_active (GiB)': '2.98', 'tokens/total': 512}", {"loss": 0.71, "tokens/total": 512.0}),
        ("{'loss': np.float64(0.5), 'grad_norm': tensor(1.5, device='cuda:0')}", {"loss": 0.5}),
        ("\x1b[32m{'loss': \x1b[1m1.5\x1b[0m, 'epoch': 0.1}\x1b[0m", {"loss": 1.5}),
        ("{'loss': 1.5, 'shape': [1, 2], 'name': \"it's\", 'best': True, 'none': None}", {"loss": 1.5}),
    ],
)
def test_a_row_is_read_in_every_form(text, values):
    """Numbers bare and as text, nan and inf, prefixes, colours, other columns; what is no number is left out."""
    (record,) = only(f"Loading model\n{text}\nSome warning: {{x}}\n").records
    assert record.kind == "train" and {name: record.values.get(name) for name in values} == pytest.approx(values, nan_ok=True)


def test_rows_of_evaluation_and_the_summary_are_told_apart():
    """`eval_loss` and `train_runtime` make records of their own kinds."""
    text = printed(
        [{**ROW, "step": 10}, {"eval_loss": 2.25, "epoch": 0.5, "step": 10}, {"train_runtime": 3.9, "epoch": 0.5, "step": 10}]
    )
    assert [(r.step, r.kind) for r in only(text).records] == [(10, "train"), (10, "eval"), (10, "summary")]


def test_what_else_is_printed_is_no_row():
    """Configurations, metrics of other tools and tracebacks in a log are passed over."""
    noise = (
        "{'learning_rate': 2e-05, 'output_dir': 'out', 'loss_type': 'sigmoid'}\n"
        "Traceback (most recent call last):\n  File \"train.py\", line 3, in <module>\n    raise KeyError({'loss': None})\n"
        "{'input_ids': [1, 2], 'labels': [3]}\n{'loss': 'sigmoid'}\n"
    )
    assert len(only(noise + printed([{**ROW, "step": 10}]) + noise).records) == 1


def test_a_row_that_is_just_being_written_is_left_out():
    """The last row is there in part only: the others are read, and a note says so."""
    log = only(printed([{**ROW, "step": 10}, {**ROW, "step": 20}]) + "\n{'loss': '2.3', 'grad_no")
    assert steps(log) == [10, 20]
    assert "1 row printed only in part was left out" in log.run.notes


def test_the_trainer_s_own_words_are_facts():
    """What the Trainer says when it begins, at the level of information, is known of the run."""
    head = "[INFO|trainer.py:2134] >> ***** Running training *****\n[INFO|trainer.py:2135] >>   Num examples = 1,920\n"
    head += "[INFO|trainer.py:2136] >>   Num Epochs = 3\n[INFO|trainer.py:2140] >>   Gradient Accumulation steps = 4\n"
    run = only(head + printed([{**ROW, "step": 10}])).run
    assert [run.get(n) for n in ("dataset_size", "num_train_epochs", "gradient_accumulation_steps", "max_steps")] == [
        1920,
        3,
        4,
        100,
    ]


# Steps


def test_the_bar_of_an_evaluation_is_not_taken_for_that_of_training():
    """The bar below another has other numbers, also where both have the same total."""
    text = ""
    for step in (10, 20, 30):
        below = "".join(f"\n{bar(part, 100)}\x1b[A" for part in (0, 40, 80))
        text += printed([{**ROW, "epoch": step / 100, "step": step}]) + below + f"\r   \r\x1b[A{bar(step)}"
        text += printed([{"eval_loss": 2.25, "epoch": step / 100, "step": step}])
    log = only(text)
    assert steps(log) == steps(log, "eval") == [10, 20, 30]


def test_a_bar_with_a_description_is_not_the_trainer_s():
    """Bars of data sets and of loading weights have numbers of their own."""
    rows = [{**ROW, "epoch": step / 100, "step": step} for step in (10, 20, 30)]
    text = "".join(bar(500, 1000, "Map: ") + printed([row]).replace("\n", f"\n{bar(7, 8, 'Saving: ')}") for row in rows)
    log = only(text)
    assert steps(log) == [10, 20, 30] and log.run.get("max_steps") == 100


def test_a_row_glued_to_its_bar_has_the_step_of_that_bar():
    """Logs pasted with print() have the bar first and the row on the same line."""
    text = "".join(f"{bar(step, 249)}{ {**ROW, 'epoch': step / 83} }\n" for step in (1, 2, 3))
    log = only(text)
    assert steps(log) == [1, 2, 3] and log.run.get("max_steps") == 249


def test_without_bars_the_summary_tells_the_steps():
    """Standard output alone has no bars: how long it took and how fast it went give the steps in an epoch."""
    rows = [{**ROW, "epoch": round(step / 16, 2), "step": step} for step in range(5, 65, 5)]
    text = "".join(f"{ {n: v for n, v in row.items() if n != 'step'} }\n" for row in rows)
    log = only(text + "{'train_runtime': '3.924', 'train_steps_per_second': '15.29', 'epoch': '3.75'}\n")
    assert steps(log) == list(range(5, 65, 5)) and not log.run.numbered


def test_without_bars_and_summary_the_rows_are_numbered():
    """Nothing tells the steps of a run that goes on and prints no bar: rows are counted, and a note says so."""
    log = only("".join(f"{ {**ROW, 'epoch': epoch / 10} }\n" for epoch in range(1, 6)))
    assert steps(log) == [1, 2, 3, 4, 5] and log.run.numbered
    assert "the rows have no step: they are numbered from 1" in log.run.notes


def test_steps_that_are_printed_are_taken():
    """ms-swift prints the step and the total in the row itself."""
    log = only("{'loss': 2.2, 'grad_norm': nan, 'global_step/max_steps': '8280/11043'}\n")
    assert steps(log) == [8280] and log.run.get("max_steps") == 11043


def test_a_run_resumed_in_one_file_goes_on_from_its_checkpoint():
    """Two trainings appended to one file: the rows after the checkpoint of the first one were abandoned."""
    rows = [{**ROW, "epoch": step / 100, "loss": 3 - step / 100, "step": step} for step in range(10, 60, 10)]
    again = [{**row, "loss": 9.0} for row in rows[3:]]
    log = only(printed(rows) + "\nTraceback (most recent call last):\nKeyboardInterrupt\n" + bar(0) + printed(again))
    assert steps(log) == [10, 20, 30, 40, 50] and log.run.resumed_at == (40,)
    assert log.records[-1].values["loss"] == 9.0


def test_a_training_after_another_is_a_run_of_its_own():
    """When the epochs begin anew after a summary, that is another run, with a total of its own."""
    rows = [{**ROW, "epoch": step / 100, "step": step} for step in (10, 20, 30)]
    end = {"train_runtime": 3.9, "train_loss": 2.5, "epoch": 0.3, "step": 30}
    first, second = logs(printed([*rows, end]) + printed(rows[:2], 200))
    assert (steps(first), steps(second)) == ([10, 20, 30], [10, 20])
    assert (first.run.get("max_steps"), second.run.get("max_steps")) == (100, 200)


# Nothing can harm it


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**ROW, "step": 1}) + "\n" + json.dumps({**ROW, "step": 2}),
        json.dumps([{**ROW, "step": 1}]),
        json.dumps({"log_history": [{**ROW, "step": 1}], "note": "{'loss': 1.5}"}),
        json.dumps({"cells": [{"outputs": [{"text": "{'loss': 1.5, 'epoch': 1.0}"}]}]}),
    ],
)
def test_json_is_left_to_others(text):
    """States, JSON lines, arrays and notebooks are not taken for printed text, whatever stands in them."""
    assert not trainer_stdout.recognise(source(text))


PIECES = st.sampled_from(
    "{'loss': 1.5, 'epoch': 0.1}~{'loss': '~'eval_loss': nan}~{'~}~'~:~, ~\n~\r~\x1b[A~\x1b[32m~1%|~| 1/~[~nan~1e400~-0.0~\0~é~"
    "{'train_runtime': 1, 'epoch': 1}~{'loss': 2, 'global_step/max_steps': '3/0'}~ Num Epochs = 0\n~{'loss': 1, 'epoch': inf}~"
    f"{{'loss': 1, 'epoch': -5}}~{bar(3)}~{bar(9, 9)}~{'9' * 400}".split("~")
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=200))
def test_no_text_can_crash_it(text):
    """Whatever is in a file, it is read and judged, or refused in one line."""
    try:
        found = logs(text)
    except LossDoctorError:
        return
    for log in found:
        assert all(isinstance(record, Record) and record.step >= 0 for record in log.records)
        examine(log.records, log.run)


@pytest.mark.parametrize("piece", ["{'", "{'loss': '" + "a" * 900, "1%|", "1%|" + "a" * 490, ": ", " ", "{'a':'b',", bar(3)])
def test_time_grows_with_the_size_only(piece):
    """A megabyte and a half of the worst is read in a moment; anything worse than linear would take minutes."""
    began = time.monotonic()
    only("{'loss': 1.5}\n" + piece * (1_500_000 // len(piece)) + "\n{'loss': 1.5}\n")
    assert time.monotonic() - began < 5


def test_a_character_cut_in_two_at_the_end_is_left_out(tmp_path):
    """A bar whose last block is just being written does not make the file anything but text."""
    file = tmp_path / "train.log"
    file.write_bytes(printed([{**ROW, "step": 10}]).encode() + "█".encode()[:2])
    assert steps(load(file)[0]) == [10]


def test_a_log_without_a_row_is_refused(tmp_path):
    """A training that has only begun is no log so far."""
    (tmp_path / "train.log").write_text("Loading model...\n" + bar(0))
    with pytest.raises(LossDoctorError, match="begins with 'Loading model"):
        load(tmp_path / "train.log")


def test_four_digits_are_enough():
    """The rounding of version 5 changes no verdict of a run that learns slowly under a decaying rate."""
    rows = [{"loss": 2 * 0.999**i + 0.02 * math.sin(i), "grad_norm": 1 + 0.3 * math.sin(1.7 * i)} for i in range(1, 400)]
    for i, row in enumerate(rows, 1):
        row |= {"learning_rate": 2e-4 * (1 - i / 4000), "epoch": i / 400, "step": 10 * i}
    log = only(printed(rows, 40_000))
    assert examine(log.records, log.run).verdict == diagnose(rows, max_steps=40_000).verdict == "healthy"


# Rows as people paste them


def wrapped(text: str, width: int = 40) -> str:
    """What is copied from a terminal of so many columns."""
    lines = (line[start : start + width] for line in text.splitlines() for start in range(0, len(line), width))
    return "\n".join(lines) + "\n"


def test_a_row_that_a_terminal_has_wrapped_is_whole():
    """It goes on in the next line, also within a name or a number; a bar between two lines ends it."""
    rows = [{**ROW, "loss": 2.5 + n / 1000, "epoch": n / 10} for n in range(1, 13)]
    text = "\n".join(map(str, rows))
    read, plain = only(wrapped(text)), only(text)
    assert [dict(record.values) for record in read.records] == [dict(record.values) for record in plain.records]
    torn = only(f"{text}\n{{'loss': 9.5, 'grad_norm': 1.\n  5%|▏  | 5/100 [00:01<00:09,  1.00it/s]}}\n")
    assert len(torn.records) == 12 and any("only in part" in note for note in torn.run.notes)


def test_the_rows_of_ppo_have_the_columns_of_the_other_trainers():
    """TRL's PPO has no `loss`: that of the policy is meant, and its scores are the reward."""
    row = (
        "{{'eps': 1, 'objective/kl': 10.5, 'objective/scores': {}, 'loss/policy_avg': {}, 'loss/value_avg': 0.15, 'lr': 2e-06, "
        "'epoch': {}}}"
    )
    log = only("\n".join(row.format(1 + n / 8, -n / 100, n / 10) for n in range(1, 6)))
    assert [record.values["loss"] for record in log.records] == [-n / 100 for n in range(1, 6)]
    first = {"loss": -0.01, "reward": 1.125, "kl": 10.5, "learning_rate": 2e-06, "loss/value_avg": 0.15}
    assert first.items() <= dict(log.records[0].values).items()


def test_the_seconds_so_far_in_every_row_end_no_run():
    """Version 5 prints `train_runtime` in each of them when it counts tokens."""
    rows = [{**ROW, "epoch": n / 10, "train_runtime": 3.5 * n, "num_input_tokens_seen": 512 * n, "step": n} for n in range(1, 6)]
    log = only(printed(rows))
    assert steps(log) == [1, 2, 3, 4, 5] and all(record.kind == "train" for record in log.records)
