"""Time grows as the text does, whatever is in it: logs that go on, and texts that only begin like one."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from pathlib import Path
from time import process_time

import pytest
from conftest import ROOT

from lossdoctor.model import LossDoctorError
from lossdoctor.parsing.source import Source
from lossdoctor.readers.dialects import DIALECTS, dialects

LOGS = ROOT / "tests" / "logs"
READERS = dict(zip(DIALECTS, dialects(), strict=True))
#: Dialects of text; of the others each file is opened by its reader, or it is a folder.
OF_STORES = ("event_files", "wandb_run", "mlflow_store", "trackio_store", "mlflow_folder", "dvclive")
TEXTS = [kind for kind in DIALECTS if kind not in OF_STORES]
#: Twice as much may take so many times as long; less than that many seconds are noise, and so many for a
#: character are few enough.
MOST, NOISE, QUICK, TRIES = 2.8, 0.3, 1e-6, 4
MEGABYTE = 2**20
#: What the rows, bars, tables and settings of a log begin with, and what a pattern may stumble over.
OPENINGS = {
    "row": "{'loss': ",
    "rows": "{'loss': 1.0, ",
    "bar": "%|",
    "bars": "1%|#| 1/2 [00:01<00:01, 1it/s, ",
    "step": "Step ",
    "torchtune": "Step 1 | loss:1 ",
    "frame": "1|1|Loss: 1: ",
    "iteration": "iteration 1/ 2 | ",
    "mmengine": "Iter(train) [ 1/2]  ",
    "mmcv": "Epoch [1][1/2], data_time: 1 ",
    "deepspeed": "] step=1, skipped=0, lr=[1",
    "pipeline": "steps: 1 loss: 1 ",
    "overflow": "Skipping step. Attempted loss scale: ",
    "header": "Step\tTraining Loss\n",
    "gaps": "Step  Training Loss  Validation Loss\n",
    "ruler": "|---|",
    "rulers": "|---|\n",
    "markdown": "| Step | Training Loss |\n|---|---|\n",
    "table": "<table>",
    "tables": "<table><tr><th>Step</th><th>Training Loss</th></tr>",
    "tag": "<td a='",
    "comment": "<!--",
    "pairs": "loss a=",
    "losses": "loss ",
    "loss lines": "loss\n",
    "value": "step=1 loss=2 ",
    "json": '{"loss": ',
    "json lines": '{"loss": \n',
    "array": '[{"loss": 1},',
    "notebook": '{"nbformat": 4, "cells": [',
    "csv": "step,loss,",
    "wandb": '"Step","a - loss",',
    "call": "TrainingArguments(",
    "calls": "a.a.a.a.",
    "dictionary": "{'a': ",
    "object": "{\n",
    "block": "- a:\n",
    "dots": "a ....",
    "flags": "--learning_rate 1 \\\n",
    "epoch": "epoch 1\n",
    "returns": "\r",
    "digits": "7",
    "brackets": "[",
    "blanks": " ",
    "colours": "\x1b[",
    "fullwidth": "１２ ",
}
#: A row or two that make a text one of that dialect; what follows has to be read.
BEGINNINGS = {
    "trainer_stdout": "{'loss': 1.0, 'epoch': 1.0}\n",
    "key_value": "step=1 loss=2\nstep=2 loss=1\nstep=3 loss=1\n",
    "progress_bar": "1%|#| 1/2 [00:01<00:01, 1it/s, loss=1]\n",
    "megatron": " iteration 1/ 2 | elapsed time per iteration (ms): 1 | lm loss: 1.0 |\n",
    "mmengine": "Iter(train) [ 1/2] lr: 1 loss: 1\n",
    "torchtune": "Step 1 | loss:2 lr:1\n",
    "deepspeed": "[Rank 0] step=10, skipped=0, lr=[0.001], mom=[1]\n",
    "notebook_table": "Step\tTraining Loss\n10\t2.0\n20\t1.0\n",
    "markdown_table": "| Step | Training Loss |\n|---|---|\n| 1 | 2.0 |\n| 2 | 1.0 |\n",
    "html_table": "<table><tr><th>Step</th><th>Training Loss</th></tr><tr><td>1</td><td>2</td></tr><tr><td>2</td><td>1</td></tr>",
    "plain_csv": "step,loss\n1,2.0\n",
    "text_table": "step loss lr\n1 2.0 0.1\n2 1.0 0.1\n3 1.5 0.1\n",
    "verl": "step:1 - actor/pg_loss:0.1 - actor/grad_norm:1.0 - actor/lr:0.1 - critic/rewards/mean:0.1\n",
    "lightning_csv": "epoch,step,train_loss,val_loss\n0,1,2,\n",
    "wandb_csv": '"Step","a - loss"\n1,2\n',
    "json_lines": '{"loss": 1}\n',
    "llama_factory": '{"current_steps": 1, "total_steps": 2, "loss": 1}\n',
    "trainer_state": '{"log_history": [',
    "jupyter_notebook": '{"nbformat": 4, "cells": [',
    "bare_columns": "1 2.0\n2 1.0\n3 1.5\n",
}


def filled(beginning: str, unit: str, size: int) -> str:
    return (beginning + unit * (size // len(unit) + 1))[:size]


def seconds(kind: str, text: str) -> float:
    """What the processor needs to recognise and to read a text, without the collector, as `load` does it."""
    source = Source("log", None, text)
    gc.disable()
    begin = process_time()
    try:
        READERS[kind].recognise(source)
        READERS[kind].read(source)
    except LossDoctorError as error:
        assert "\n" not in str(error)
    finally:
        gc.enable()
    return process_time() - begin


def grows_as_the_text(kind: str, text: str, twice: str) -> None:
    """Others use the machine as well: of a few pairs of measurements one is enough. Quadratic ones would all be fourfold."""
    pairs = []
    for _ in range(TRIES):
        long = seconds(kind, twice)
        if long <= max(NOISE, QUICK * len(twice)):
            return
        pairs.append((max(seconds(kind, text), NOISE / MOST), long))
        if long <= MOST * pairs[-1][0]:
            return
    told = ", ".join(f"{short:.2f} → {long:.2f} s" for short, long in pairs)
    pytest.fail(f"{told} for {len(text):,} → {len(twice):,} characters that begin {text[:60]!r}")


def repeated(kind: str, path: Path, size: int) -> str:
    """The log again and again; of one that is a single value of JSON its rows, or its cells."""
    text = path.read_text(encoding="utf-8")
    if kind == "jupyter_notebook":
        notebook = json.loads(text)
        return json.dumps({**notebook, "cells": notebook["cells"] * (size // len(text))})
    if kind == "trainer_state":
        state, _ = json.JSONDecoder().raw_decode(text.lstrip("\ufeff"))
        return json.dumps({**state, "log_history": state["log_history"] * (size // len(text))})
    if text.lstrip()[:1] == "[":
        return json.dumps(json.loads(text) * (size // len(text)))
    return filled("", text if text.endswith("\n") else text + "\n", size)


def check_repeated(kind: str, size: int) -> None:
    for path in sorted(LOGS.glob(f"{kind}/*"))[:2]:
        try:
            text, twice = repeated(kind, path, size), repeated(kind, path, 2 * size)
        except ValueError:  # one that is cut off, or not in UTF-8
            continue
        grows_as_the_text(kind, text, twice)


def check_near_misses(kind: str, size: int, beginnings: Sequence[str]) -> None:
    for unit in OPENINGS.values():
        for beginning in beginnings:
            grows_as_the_text(kind, filled(beginning, unit, size), filled(beginning, unit, 2 * size))


@pytest.mark.parametrize("kind", [kind for kind in TEXTS if kind != "jupyter_notebook"])  # its first cells take longer each
def test_a_log_that_goes_on_takes_as_long_as_it_is(kind: str):
    """Twice as many rows, runs or tables take about twice the time."""
    check_repeated(kind, MEGABYTE // 64)


@pytest.mark.parametrize("kind", TEXTS)
def test_what_only_begins_like_a_log_takes_as_long_as_it_is(kind: str):
    """Rows, tags, bars and calls without an end are read once, not once for each of them."""
    check_near_misses(kind, MEGABYTE // 128, ("", BEGINNINGS[kind]))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", TEXTS)
def test_so_it_is_with_megabytes(kind: str):
    """Both at 500 kB and 1 MB."""
    check_repeated(kind, MEGABYTE // 2)
    check_near_misses(kind, MEGABYTE // 2, (BEGINNINGS[kind],))


@pytest.mark.slow
@pytest.mark.parametrize("unit", OPENINGS)
def test_no_text_keeps_those_busy_that_do_not_know_it(unit: str):
    """All dialects together look at 4 MB of anything in three seconds: each text is tried by all."""
    source = Source("log", None, filled("", OPENINGS[unit], 4 * MEGABYTE))
    took = []
    for _ in range(TRIES):
        begin = process_time()
        for kind in TEXTS:
            READERS[kind].recognise(source)
        took.append(process_time() - begin)
        if took[-1] < 3.0:
            return
    pytest.fail(f"{took} s")
