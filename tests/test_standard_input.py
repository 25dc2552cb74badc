"""`lossdoctor analyze -`: a log from a pipe or a paste, under the same rules as one in a file."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT

from lossdoctor.analysis import analyze, load
from lossdoctor.model import LossDoctorError, NotALog
from lossdoctor.parsing import source

ROWS = [{"step": s, "loss": 3 - s / 100, "grad_norm": 1 + s % 3 / 7, "learning_rate": 1e-4} for s in range(1, 31)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
unix = pytest.mark.skipif(sys.platform == "win32", reason="named pipes and terminals are others there")
#: One log of every kind that is text.
TEXTS = sorted({path.parent.name: path for path in (ROOT / "tests" / "logs").glob("*/*") if path.is_file()}.items())


def piped(data: bytes, *arguments: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """`lossdoctor analyze` with bytes in its standard input."""
    command = [sys.executable, "-m", "lossdoctor", "analyze", *arguments]
    return subprocess.run(command, input=data, cwd=folder, capture_output=True, timeout=60, check=False)


def given(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes in the standard input of this process."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(data))))


def test_a_pipe_is_read_like_a_file(tmp_path):
    """The report is that of the file, but for the name; the folder that one is in has nothing to do with it."""
    (tmp_path / "log.jsonl").write_bytes(LINES)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 7}))
    results = [piped(LINES, "--output-format", "json", path, folder=tmp_path) for path in ("-", "log.jsonl")]
    of_pipe, of_file = (json.loads(r.stdout)["reports"][0] for r in results)
    assert all(result.returncode == 0 and not result.stderr for result in results)
    assert (of_pipe["source"]["path"], of_file["source"]["path"]) == ("standard input", "log.jsonl")
    assert of_pipe["verdict"] == of_file["verdict"] and of_pipe["run"]["rows"] == of_file["run"]["rows"] == len(ROWS)
    assert "lora_r" in of_file["run"]["facts"] and "lora_r" not in of_pipe["run"]["facts"]


@pytest.mark.parametrize(("kind", "path"), TEXTS, ids=[kind for kind, _ in TEXTS])
def test_every_kind_of_text_may_come_through_a_pipe(kind, path, monkeypatch):
    """The same rows as from the file."""
    data = path.read_bytes()
    if b"\0" in data:
        pytest.skip("not text")
    given(data, monkeypatch)
    (there, *_), (here, *_) = load("-"), load(path)
    assert repr(there.records) == repr(here.records) and there.run.kind == kind


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "standard input is empty"),
        (b" \n\n", "standard input is empty"),
        (b"hello\n", "standard input is text that begins with 'hello'"),
        (b"PK\x03\x04" + bytes(100), "standard input is a binary file (zip or PyTorch)"),
        (b"\x1f\x8b\x08" + bytes(100), "archives are not opened"),
        (bytes(9000), "standard input is a binary file"),
        (b"a" * 5000 + b"\xff\xfe", "standard input is not text (byte 5,000)"),
        (b"\x18\0\0\0\0\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0\x1a\x0dbrain.Event:2", "name the file itself"),
    ],
)
def test_what_is_no_log_is_one_line(tmp_path, data, words):
    """Empty, other text, binary files; event files are read from where they lie."""
    result = piped(data, "-", folder=tmp_path)
    (line,) = result.stderr.decode().splitlines()
    assert result.returncode == 2 and words in line and not result.stdout


def test_a_log_without_a_row_is_nothing_to_analyse(tmp_path):
    """As of a file: the exit code is 3."""
    assert piped(b'{"log_history": []}', "-", folder=tmp_path).returncode == 3


def test_standard_input_is_read_once(tmp_path):
    """Naming it twice is an error rather than an empty second log."""
    result = piped(LINES, "-", "-", folder=tmp_path)
    assert result.returncode == 2 and b"- is named twice" in result.stderr


@pytest.mark.parametrize("size", [source.HEAD - 1, source.HEAD, source.HEAD + 1, source.HEAD + source.PIECE, 2_500_000])
def test_nothing_is_lost_between_the_pieces(size, monkeypatch):
    """The text is the one that was piped in, wherever its end lies."""
    data = (b"x" * 99 + b"\n") * (size // 100 + 1)
    given(data[:size], monkeypatch)
    assert source.Source.standard_input().text.encode() == data[:size]


def test_no_more_is_read_than_of_a_file(monkeypatch):
    """A stream without end is left once it has given more than the bound."""

    class Endless(io.RawIOBase):
        taken = 0

        def readable(self) -> bool:
            return True

        def readinto(self, into: bytearray) -> int:
            into[:] = b"x" * len(into)
            self.taken += len(into)
            return len(into)

    endless = Endless()
    monkeypatch.setattr(source, "LARGEST", 3 * source.PIECE)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(endless)))
    with pytest.raises(NotALog, match="standard input has more than 3 MiB"):
        load("-")
    assert endless.taken < 5 * source.PIECE


@pytest.mark.parametrize("stdin", [None, SimpleNamespace()])
def test_a_process_without_standard_input_is_told_so(stdin, monkeypatch):
    """As in a window without a console, or in a notebook."""
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(LossDoctorError, match="standard input is closed"):
        load("-")


def test_a_file_of_that_name_is_still_a_file(tmp_path, monkeypatch):
    """./- on the command line, a Path in Python."""
    monkeypatch.chdir(tmp_path)
    Path("-").write_bytes(LINES)
    assert analyze("./-")[0].rows == analyze(Path("-"))[0].rows == len(ROWS)


@unix
def test_at_a_terminal_somebody_is_told_what_to_do(tmp_path):
    """One line on stderr; one Ctrl-D on a line of its own ends the paste."""
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "lossdoctor", "analyze", "--output-format", "json", "-"]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        for line in LINES.splitlines(keepends=True):
            os.write(ours, line)
        os.write(ours, b"\x04")
        printed, said = process.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)
    assert said == b"paste the log, then Ctrl-D (Ctrl-Z and Enter on Windows)\n"
    assert json.loads(printed)["reports"][0]["run"]["rows"] == len(ROWS)


@unix
def test_a_named_pipe_is_read_as_a_stream(tmp_path):
    """`lossdoctor analyze <(command)` and /dev/stdin name a pipe; facts are not looked for beside it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 7}))
    with subprocess.Popen([sys.executable, "-c", "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())", str(pipe)],
                          stdin=subprocess.PIPE) as writer:  # fmt: skip
        assert writer.stdin is not None
        writer.stdin.write(LINES)
        writer.stdin.close()
        (report,) = analyze(pipe)
    assert report.rows == len(ROWS) and report.run.get("lora_r") is None
    result = piped(LINES, "--output-format", "json", "/dev/stdin", folder=tmp_path)
    assert json.loads(result.stdout)["reports"][0]["run"]["rows"] == len(ROWS)
