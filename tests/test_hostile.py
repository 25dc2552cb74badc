"""Whatever the bytes are: a reader gives logs that can be judged, or one line on what is wrong; it runs and opens nothing."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import process_time

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossdoctor.model import Log, LossDoctorError
from lossdoctor.parsing.source import Source
from lossdoctor.readers.dialects import DIALECTS, dialects

LOGS = ROOT / "tests" / "logs"
READERS = dict(zip(DIALECTS, dialects(), strict=True))
FILES = {kind: sorted(path for path in LOGS.glob(f"{kind}/**/*") if path.is_file()) for kind in DIALECTS}
#: What has broken parsers before.
TOKENS = [
    *(
        b"nan",
        b"inf",
        b"-inf",
        b"1e999",
        b"-0.0",
        b"9" * 400,
        b"\0",
        b"\r",
        b"\n\n",
        b"\t",
        b"{",
        b"}",
        b"[",
        b"'",
        b'"',
        b"|",
        b",,",
    ),
    *(
        b"step=-1",
        b"'loss': ",
        b"<table><tr>",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        "１２".encode(),
        b"\x1b[31m",
        b"100%|" + b"#" * 600 + b"|",
    ),
]


@st.composite
def damaged(draw: st.DrawFn, kind: str) -> tuple[Path, bytes]:
    """A log of that kind with a few cuts, repeats and insertions."""
    path = draw(st.sampled_from(FILES[kind]))
    data = path.read_bytes()
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(data)))
        until = min(len(data), place + draw(st.integers(0, 200)))
        part = draw(
            st.sampled_from([b"", data[place:until] * 2, data[until:][:300]]) | st.sampled_from(TOKENS) | st.binary(max_size=20)
        )
        data = data[:place] + part + data[until:]
    return path, data


@pytest.mark.parametrize("kind", DIALECTS)
@settings(max_examples=60, deadline=2000, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_log_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject):
    """No exception but ours leaves a reader, and what it gives has steps that count and values that are numbers."""
    path, content = data.draw(damaged(kind))
    top = LOGS / kind
    folder = tmp_path_factory.mktemp("damaged")
    inside = path.relative_to(top)
    damaged_file = folder / inside
    for other in (top / inside.parts[0]).rglob("*") if len(inside.parts) > 1 else ():
        if other.is_file():
            (folder / other.relative_to(top)).parent.mkdir(parents=True, exist_ok=True)
            (folder / other.relative_to(top)).write_bytes(other.read_bytes())
    damaged_file.write_bytes(content)
    try:
        source = Source.open(folder / inside.parts[0])
        READERS[kind].recognise(source)
        logs = READERS[kind].read(source)
    except LossDoctorError as error:
        assert "\n" not in str(error)
        return
    for log in logs:
        assert log.records
        assert all(type(record.step) is int and record.step >= 0 for record in log.records)
        assert all(type(value) is float for record in log.records for value in record.values.values())


WATCHED = """
import sys
from pathlib import Path
from lossdoctor.engine import examine
from lossdoctor.readers import Source, read_file

def analyze(path):
    for log in read_file(Source.open(path)):
        examine(log.records, log.run)

logs, named = Path(sys.argv[1]), None
for path in sorted(logs.glob("*/*")):  # whatever is loaded on demand is loaded now
    analyze(path)
FORBIDDEN = ("exec", "pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "socket.connect", "socket.getaddrinfo",
             "urllib.Request", "os.remove", "os.rename", "os.mkdir", "shutil.copyfile", "sqlite3.load_extension", "ctypes.dlopen")

def hook(event, arguments):
    if named is None:
        return
    if event in FORBIDDEN:
        raise SystemExit(f"{named}: {event} {arguments!r}")
    if event == "open":
        file, mode, flags = arguments
        if isinstance(file, (str, bytes, Path)) and not str(file).startswith((str(named), str(named.parent))):
            raise SystemExit(f"{named}: opens {file}")
        if flags & 0x43 or set(str(mode or "")) & set("wxa+"):
            raise SystemExit(f"{named}: writes {file}")

sys.addaudithook(hook)
for path in sorted(logs.glob("*/*")):
    named = path
    analyze(path)
    named = None
print("quiet")
"""


def test_reading_runs_nothing_and_opens_nothing_else():
    """Python's own audit events of reading every log: no code is run, no process or connection begun, no other file opened."""
    run = subprocess.run([sys.executable, "-c", WATCHED, str(LOGS)], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert (run.returncode, run.stdout.strip()) == (0, "quiet"), run.stderr[-2000:]


RISING = "Epoch\tTraining Loss\tValidation Loss\n1\t2.0\t2.0\n2\t1.0\t1.0\n"
#: The smallest texts on which readers once fell over: what is written like a number need not be one that can be counted with.
NO_NUMBERS = {
    "an entity with more digits than Python reads": ("html_table", f"<table><tr><td>&#{'9' * 5000};</td></tr></table>"),
    "an iteration that is NaN": ("mmengine", '{"iter": NaN, "data_time": 1, "step": 1, "loss": 1}\n'),
    "an iteration without end": ("mmengine", '{"iter": 1e999, "data_time": 1, "step": 1, "loss": 1}\n'),
    "a summary after next to no epoch": (
        "notebook_table",
        RISING + "TrainOutput(global_step=100, training_loss=1.0, metrics={'epoch': 1e-320})",
    ),
    "next to no epochs": (
        "trainer_stdout",
        "--num_train_epochs 1e-310 --max_steps 100\n{'loss': 1.0, 'epoch': 0.5}\n{'loss': 1.0, 'epoch': 0.6}\n",
    ),
    "an epoch of -1": ("lightning_csv", "epoch,step,train_loss,val_loss\n-1,1,1,\n-1,2,1,\n0,3,1,\n"),
    "digits without end in JSON": ("json_lines", '{"loss": ' + "9" * 5000 + "}\n"),
    "brackets without end in a notebook": ("jupyter_notebook", '{"nbformat": 4, "cells": ' + "[" * 100_000),
    "brackets without end in a state": ("trainer_state", '{"log_history": ' + "[" * 100_000),
    "brackets without end in rows": ("json_lines", "[" * 100_000),
    "a lone surrogate": ("json_lines", '{"loss": 1.0, "\\ud800": 2.0}\n'),
    "digits of another script": ("key_value", "step=１ loss=２\nstep=２ loss=１\nstep=３ loss=１\n"),
}


def read_or_refused(kind: str, source: Source) -> list[Log]:
    """The logs, or none where it is refused in one line."""
    try:
        READERS[kind].recognise(source)
        logs = READERS[kind].read(source)
    except LossDoctorError as error:
        assert "\n" not in str(error)
        return []
    assert all(type(record.step) is int and record.step >= 0 for log in logs for record in log.records)
    assert all(type(value) is float for log in logs for record in log.records for value in record.values.values())
    return logs


@pytest.mark.parametrize("what", NO_NUMBERS)
def test_a_number_that_nobody_can_count_with_breaks_nothing(what: str):
    """Neither infinities, NaN, next to nothing, thousands of digits nor brackets without end leave a reader as an exception."""
    kind, text = NO_NUMBERS[what]
    read_or_refused(kind, Source("log", None, text))


@pytest.mark.parametrize(("row", "epoch"), [(1, "inf"), (1, "nan"), (2, "inf"), (5, "nan")])
def test_an_epoch_of_dvclive_that_is_no_number_tells_no_steps(tmp_path: Path, row: int, epoch: str):
    """One epoch that is infinite or NaN leaves the rows with the steps that DVCLive counted."""
    shutil.copytree(LOGS / "dvclive" / "healthy", tmp_path / "dvclive")
    table = tmp_path / "dvclive" / "plots" / "metrics" / "epoch.tsv"
    lines = table.read_text().split("\n")
    lines[row] = lines[row].rpartition("\t")[0] + "\t" + epoch
    table.write_text("\n".join(lines))
    (log,) = read_or_refused("dvclive", Source.open(tmp_path / "dvclive"))
    assert not any("logging_steps" in note for note in log.run.notes)


def test_infinitely_many_logging_steps_tell_no_steps(tmp_path: Path):
    """`logging_steps: .inf` in the settings of DVCLive is none."""
    shutil.copytree(LOGS / "dvclive" / "healthy", tmp_path / "dvclive")
    params = tmp_path / "dvclive" / "params.yaml"
    params.write_text(re.sub(r"logging_steps: .*", "logging_steps: .inf", params.read_text()))
    (log,) = read_or_refused("dvclive", Source.open(tmp_path / "dvclive"))
    assert log.records


@pytest.mark.parametrize(
    ("kind", "content"), [(2, b"1234"), (7, b"1234"), (14, b"12345"), (19, b"1234"), (99, b"1"), (1, b"12345")]
)
def test_a_tensor_that_is_no_number_is_passed_over(tmp_path: Path, kind: int, content: bytes):
    """A scalar of TensorFlow whose bytes are not of the kind they are said to be is left out, and the others are read."""
    from tensorboard.compat.proto.event_pb2 import Event

    events = [Event(file_version="brain.Event:2")]
    for step, held in enumerate((None, content), 1):
        event = Event(step=step)
        value = event.summary.value.add()
        value.tag, value.metadata.plugin_data.plugin_name = "loss", "scalars"
        if held is None:
            value.tensor.float_val.append(2.0)
        else:
            value.tensor.dtype, value.tensor.tensor_content = kind, held
        events.append(event)
    records = [event.SerializeToString() for event in events]
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"".join(struct.pack("<Q", len(data)) + bytes(4) + data + bytes(4) for data in records))
    (log,) = read_or_refused("event_files", Source.open(path))
    assert [record.values for record in log.records] == [{"loss": 2.0}]


#: Texts that took a reader the square of their length, or a thousand times what a text of that length takes.
LONG = {
    "rows on one line": ("mmengine", "Iter(train) [ 1/2]  loss: 1 " * 10_000),
    "iterations on one line": ("megatron", "iteration 1/ 2 | elapsed time per iteration (ms): 1 | " * 5_000),
    "a header above every other row": (
        "markdown_table",
        "".join(f"| Step | Training Loss |\n|---|---|\n| {2 * n} | 2.0 |\n| {2 * n + 1} | 1.0 |\n" for n in range(4_000)),
    ),
    "tables in tables": ("html_table", "<table><tr><th>Step</th><th>Loss</th></tr>" * 4_000),
    "headers without rows": ("notebook_table", "Step  Training Loss  Validation Loss\n" * 4_000),
    "steps that are never evenly apart": ("wandb_csv", '"Step","a - loss"\n' + "".join(f"{n * n},1\n" for n in range(20_000))),
    "a thousand runs and no values": (
        "wandb_csv",
        '"Step",' + ",".join(f'"{n} - loss"' for n in range(1_000)) + "\n" + "1,2\n" * 20_000,
    ),
    "every third row without a bar": (
        "trainer_stdout",
        "".join(f"{{'loss': 1.0}}\n  1%|#| {n}/9999 [0<0, 1it/s]\n" + "{'loss': 1.0}\n" * (n % 3 == 0) for n in range(1, 9_000)),
    ),
    "calls that never close": ("key_value", "step=1 loss=2\nstep=2 loss=1\nstep=3 loss=1\n" + "TrainingArguments(" * 10_000),
}


@pytest.mark.parametrize("what", LONG)
def test_no_text_of_a_few_hundred_kilobytes_takes_long(what: str):
    """Texts whose parts were once read again and again take less than three seconds."""
    kind, text = LONG[what]
    begin = process_time()
    read_or_refused(kind, Source("log", None, text))
    assert process_time() - begin < 3.0


ANEW = {
    "key_value": "step=1 loss=2\nstep=2 loss=3\n",
    "trainer_stdout": "{'loss': 1.0, 'epoch': 0.5}\n{'train_runtime': 1.0, 'epoch': 1.0}\n",
    "llama_factory": '{"current_steps": 1, "total_steps": 2, "loss": 1.5}\n{"current_steps": 2, "total_steps": 2, "loss": 1.0}\n',
    "notebook_table": "Step\tTraining Loss\n1\t2.0\n2\t1.0\n\nand again, with\n\nStep\tTraining Loss\n1\t1.5\n2\t1.25\n",
    "plain_csv": "1,2.0\n2,1.0\n",
}


@pytest.mark.parametrize("kind", ANEW)
def test_of_thousands_of_runs_the_last_thousand_are_read(kind: str):
    """Where steps begin anew on every other line, the reports are a thousand at most, and each says what was left out."""
    logs = read_or_refused(kind, Source("log", None, "step,loss\n" * (kind == "plain_csv") + ANEW[kind] * 3_000))
    assert len(logs) == 1_000
    assert all(any("only the last 1,000 runs were read" in note for note in log.run.notes) for log in logs)


def test_of_thousands_of_cells_with_a_log_the_last_hundred_are_read():
    """A notebook of two thousand cells gives a hundred reports, and each says so."""
    output = {"output_type": "stream", "text": "{'loss': 1.5, 'epoch': 0.1}\n{'loss': 1.4, 'epoch': 0.2}\n"}
    cell = {"cell_type": "code", "source": "trainer.train()", "outputs": [output]}
    logs = read_or_refused("jupyter_notebook", Source("log", None, json.dumps({"nbformat": 4, "cells": [cell] * 2_000})))
    assert len(logs) == 100 and logs[-1].run.name == "cell 2000"
    assert "2,000 cells hold a log: only the last 100 were read" in logs[0].run.notes


def test_of_many_thousand_runs_in_a_database_the_newest_thousand_are_read(tmp_path: Path):
    """A store of trackio with so many runs gives a thousand, and says so."""
    path = tmp_path / "project.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "create table metrics (id integer primary key, timestamp text, run_name text, step integer, metrics text)"
        )
        rows = ((f"run {n // 2}", n % 2, '{"loss": 1.5}') for n in range(40_000))
        database.executemany("insert into metrics (run_name, step, metrics) values (?, ?, ?)", rows)
        database.execute("create index by_run on metrics (run_name)")
    logs = read_or_refused("trackio_store", Source.open(path))
    assert len(logs) == 1_000 and logs[-1].run.name == "run 19999"
    assert "of 20,000 runs only the newest 1,000 were read" in logs[0].run.notes
