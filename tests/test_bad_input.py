"""What cannot be used gives one line on stderr that says so, the right exit code, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

OK, FINDINGS, UNUSABLE, NOTHING = 0, 1, 2, 3
HEALTHY = [{"step": s, "loss": 3 - s / 100, "grad_norm": 1 + s % 3 / 7, "learning_rate": 1e-4} for s in range(1, 21)]
BROKEN = [{**row, "loss": 0.0, "grad_norm": float("nan")} if row["step"] > 10 else row for row in HEALTHY]
LFS_POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
SAFETENSORS = b'\x40\x00\x00\x00\x00\x00\x00\x00{"__metadata__":{"format":"pt"}}' + bytes(32)
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00"
ZIP = b"PK\x03\x04\x14\x00\x00\x00\x08\x00archive/data.pkl"
#: YAML that is short as written and endless when its aliases are followed, or its keys merged.
LAUGHS = (
    b"a0: &a0 [x, x]\n"
    + b"".join(b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 20))
    + b"lora_target_modules: *a19\n"
)
MERGES = b"a0: &a0 {lr: 1, x: 2}\n" + b"".join(
    b"a%d: &a%d {<<: [%s]}\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 20)
)
#: What the shell may set, and what would change the answers.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LOSSDOCTOR")}


def analyze(*arguments: str | bytes, folder: Path) -> subprocess.CompletedProcess[str]:
    """`lossdoctor analyze` as a process of its own in a folder."""
    command = [sys.executable, "-m", "lossdoctor", "analyze", *arguments]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, encoding="utf-8", errors="replace", timeout=60, check=False
    )


def complaints(result: subprocess.CompletedProcess[str], code: int) -> list[str]:
    """The lines on stderr, each of which must be one of ours."""
    assert "Traceback" not in result.stderr + result.stdout
    assert result.returncode == code, result.stderr
    lines = result.stderr.splitlines()
    assert all(line.startswith("lossdoctor: ") for line in lines), result.stderr
    return lines


def complaint(result: subprocess.CompletedProcess[str], code: int = UNUSABLE) -> str:
    """The one line on stderr, where nothing could be reported."""
    (line,) = complaints(result, code)
    assert result.stdout == ""
    return line


def log(folder: Path, name: str = "good.jsonl", rows: list[dict[str, float]] = HEALTHY) -> str:
    """A log with these rows; gives its name."""
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def another(place: int) -> list[dict[str, float]]:
    """A healthy run with numbers of its own: one with the same rows would be the same run."""
    return [{**row, "loss": row["loss"] + place / 3} for row in HEALTHY]


def reported(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The paths in a JSON report."""
    return [report["source"]["path"] for report in json.loads(result.stdout)["reports"]]


# Files that are no logs


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(LFS_POINTER.encode(), ("Git LFS pointer", "git lfs pull"), id="git-lfs-pointer"),
        pytest.param(b'{"log_history": [{"loss": 1.5, "st', ("is cut off after 34 characters", "complete"), id="cut-off"),
        pytest.param(b'{"epoch": 1.0, "global', ("cut off", "such as a trainer_state.json"), id="cut-off-before-the-history"),
        pytest.param(
            b'{"log_history": [{"loss": 1 "step": 1}]}',
            ("broken JSON at character 28", "complete trainer_state.json"),
            id="broken",
        ),
        pytest.param(b'{"log_history": 3}', ("log_history that is not a list", "was expected"), id="another-shape"),
        pytest.param(b'{"epoch": 3, "best": "x"}', ("another program's file", "such as a trainer_state.json"), id="other"),
        pytest.param(b"epoch loss\n1 2.5\n", ("begins with 'epoch loss'", "such as a trainer_state.json"), id="text"),
        pytest.param(b"<html>\n<body>404</body>\n", ("begins with '<html>'", "such as a trainer_state.json"), id="html"),
        pytest.param(b'["a", "b"]', ("JSON array without loss", "expected"), id="array-of-texts"),
        pytest.param(b'[{"loss": 1.5},', ("broken JSON array", "a list of rows was expected"), id="array-cut-off"),
        pytest.param(ZIP, ("binary file (zip or PyTorch)", "training log was expected"), id="zip"),
        pytest.param(SAFETENSORS, ("binary file (safetensors)", "training log was expected"), id="safetensors"),
        pytest.param(PNG, ("binary file (PNG picture)", "training log was expected"), id="png"),
        pytest.param(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff", ("binary file (gzip)", "expected"), id="gzip"),
        pytest.param(bytes(64), ("binary file", "training log was expected"), id="nul"),
        pytest.param(b'{"loss": 1.5}\n\0\0\0\n', ("binary file", "training log was expected"), id="nul-within"),
        pytest.param(b"loss \xff\xfe\xfd 1.5\n", ("not text (byte 5)", "training log was expected"), id="latin"),
        pytest.param(b"\xff\xfe{", ("not text", "training log was expected"), id="half-utf-16"),
        pytest.param(b"", ("is empty", "training log was expected"), id="empty"),
        pytest.param(b" \n\n\t\n", ("is empty", "training log was expected"), id="blank"),
        pytest.param(b"\xff\xfe", ("is empty", "training log was expected"), id="utf-16-mark-alone"),
        pytest.param(b"[" * 100_000, ("JSON array", "expected"), id="brackets"),
    ],
)
def test_a_file_that_is_no_log_is_named_for_what_it_is(tmp_path, content, words):
    """The line names the file, what was found in it, and what would be right."""
    (tmp_path / "trainer_state.json").write_bytes(content)
    line = complaint(analyze("trainer_state.json", folder=tmp_path))
    assert line.startswith("lossdoctor: trainer_state.json ") and all(word in line for word in words), line


@pytest.mark.parametrize(
    "content", ['{"log_history": []}', '{"log_history": [{}, [1]]}', '{"loss": null}\n{"loss": "high"}\n', '[{"loss": null}]']
)
def test_a_log_without_a_row_is_nothing_to_analyse(tmp_path, content):
    """An empty history is not an error of the input: the exit code is 3."""
    (tmp_path / "trainer_state.json").write_text(content)
    line = complaint(analyze("trainer_state.json", folder=tmp_path), NOTHING)
    assert "trainer_state.json has " in line and "nothing to analyse" in line


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b'{"loss": 1.5, "step": 1}\n' * 200, ("600 MiB", "up to 512 MiB")),
        (ZIP, ("zip or PyTorch", "training log was expected")),
        (SAFETENSORS, ("safetensors", "training log was expected")),
        (b"", ("binary file", "training log was expected")),
    ],
    ids=["text", "zip", "safetensors", "zeros"],
)
def test_a_huge_file_is_refused_before_it_is_read(tmp_path, head, words):
    """600 MB are refused for their size or their kind, without reading them."""
    path = tmp_path / "huge.json"
    path.write_bytes(head)
    os.truncate(path, 600 * 2**20)
    line = complaint(analyze("huge.json", folder=tmp_path))
    assert "huge.json" in line and all(word in line for word in words), line


# Paths


@pytest.mark.parametrize("given", ["missing.json", "no/such/folder", "good.jsonl/inner.json", "a\nb", "x" * 300, "./-"])
def test_a_path_that_cannot_be_there_is_one_line(tmp_path, given):
    """Missing, below a file, with a line end in it, or longer than any name may be."""
    log(tmp_path)
    line = complaint(analyze(given, folder=tmp_path))
    assert line.startswith(f"lossdoctor: {' '.join(given.split()).removeprefix('./')}: ")


@pytest.mark.parametrize("given", ["run", "run/", "run/checkpoint-3", "."])
def test_a_folder_without_a_log_says_what_it_lacks(tmp_path, given):
    """A folder is named with what would make it an output folder."""
    (tmp_path / "run" / "checkpoint-3").mkdir(parents=True)
    line = complaint(analyze(given, folder=tmp_path))
    assert line.startswith(f"lossdoctor: {given.rstrip('/')} holds no trainer_state.json") and "checkpoint-N" in line


def test_a_folder_above_the_runs_means_the_runs(tmp_path):
    """A folder that holds no log itself stands for those below it."""
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "trainer_state.json").write_text(json.dumps({"log_history": HEALTHY}))
    for given in ("runs", "runs/*", "."):
        result = analyze("--output-format", "json", given, folder=tmp_path)
        assert [os.path.normpath(path) for path in reported(result)] == ["runs/first"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("locked", ["good.jsonl", "."])
def test_a_file_that_may_not_be_read_is_one_line(tmp_path, locked):
    """Neither an unreadable file nor an unreadable folder around it gives a traceback."""
    folder = tmp_path / "locked"
    folder.mkdir()
    log(folder)
    (folder / locked).chmod(0)
    try:
        line = complaint(analyze("locked/good.jsonl", folder=tmp_path))
    finally:
        (folder / locked).chmod(0o700)
    assert "locked/good.jsonl: permission denied" in line


@pytest.mark.parametrize("pattern", ["nothing*.json", "no/such/**/x.json", "[", "good.jso[x]"])
def test_a_glob_that_matches_nothing_is_an_error(tmp_path, pattern):
    """Quietly analysing nothing would look like health; other paths beside it do not hide it."""
    log(tmp_path)
    for others in ((), ("good.jsonl",)):
        line = complaint(analyze(pattern, *others, folder=tmp_path))
        assert line == f"lossdoctor: {pattern} matches no file"


def test_a_glob_means_every_file_that_matches_once(tmp_path):
    """Globs are expanded where the shell did not, sorted, and a file that two of them match is read once."""
    for place, name in enumerate(("b.jsonl", "a.jsonl", "c.txt", "[x].jsonl")):
        log(tmp_path, name, another(place))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    log(tmp_path / "deep" / "er", "d.jsonl", another(4))
    result = analyze("--output-format", "json", "[ab].jsonl", "a.*", "**/d.jsonl", "[x].jsonl", folder=tmp_path)
    assert complaints(result, OK) == []
    assert reported(result) == ["a.jsonl", "b.jsonl", "deep/er/d.jsonl", "[x].jsonl"]


# Several inputs


@pytest.mark.parametrize(
    ("rows", "fail_on", "code"),
    [(HEALTHY, "critical", UNUSABLE), (BROKEN, "critical", FINDINGS), (BROKEN, "never", UNUSABLE)],
    ids=["healthy", "findings", "findings-that-do-not-count"],
)
def test_one_bad_file_does_not_keep_the_others_from_being_analysed(tmp_path, rows, fail_on, code):
    """The good ones are reported; the exit code is that of the findings, and 2 where there are none."""
    first, last = log(tmp_path, "first.jsonl", rows), log(tmp_path, "last.jsonl", another(1))
    (tmp_path / "bad.json").write_bytes(ZIP)
    result = analyze("--output-format", "json", "--fail-on", fail_on, first, "bad.json", last, folder=tmp_path)
    (line,) = complaints(result, code)
    assert line.startswith("lossdoctor: bad.json is a binary file")
    assert reported(result) == [first, last]


def test_every_bad_file_gets_its_own_line(tmp_path):
    """Three problems are three lines, in the order of the paths."""
    for name, content in (("a.json", ZIP), ("b.json", b"{}"), ("c.json", b"")):
        (tmp_path / name).write_bytes(content)
    lines = complaints(analyze("a.json", "b.json", "c.json", folder=tmp_path), UNUSABLE)
    assert [line.split()[1] for line in lines] == ["a.json", "b.json", "c.json"]


@pytest.mark.parametrize(("other", "code"), [("good.jsonl", OK), ("empty.json", NOTHING), ("bad.json", UNUSABLE)])
def test_an_empty_log_among_others_does_not_count_as_unusable(tmp_path, other, code):
    """An empty history beside a healthy run exits with 0, beside nothing else with 3, beside a broken file with 2."""
    log(tmp_path)
    (tmp_path / "none.json").write_text('{"log_history": []}')
    (tmp_path / "empty.json").write_text('{"log_history": []}')
    (tmp_path / "bad.json").write_bytes(ZIP)
    lines = complaints(analyze("none.json", other, folder=tmp_path), code)
    assert "none.json has an empty log_history" in lines[0] and len(lines) == 1 + (other != "good.jsonl")


# Options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sett", "fp16=true"], ("--sett", "--set")),
        (["--output-format", "xml"], ("'--output-format'", "'xml'", "'text', 'json'")),
        (["--fail-on", "info"], ("'--fail-on'", "'info'", "'critical'")),
        (["--set"], ("--set", "argument")),
        (["--set", "fp16"], ("--set takes name=value", "'fp16'")),
        (["--set", "=true"], ("--set takes name=value", "'=true'")),
        (["--set", "learning_rte=1e-4"], ("unknown fact 'learning_rte'", "did you mean learning_rate")),
        (["--set", "zzzzzz=red"], ("unknown fact 'zzzzzz'", "a TrainingArguments name")),
        (["--set", "learning_rate=fast"], ("learning_rate takes a number", "'fast'")),
        (["--set", "learning_rate="], ("learning_rate takes a number", "''")),
        (["--set", "learning_rate=nan"], ("learning_rate takes a number", "'nan'")),
        (["--set", "learning_rate=1e999"], ("learning_rate takes a number", "'1e999'")),
        (["--set", "lora_r=1.5"], ("lora_r takes a whole number", "'1.5'")),
        (["--set", "use_lora=maybe"], ("use_lora takes true", "'maybe'")),
        (["--set", "fp16=maybe"], ("fp16 takes true", "'maybe'")),
        (["--set", "lora_r=8", "--set", "lora_r=x"], ("lora_r takes a whole number", "'x'")),
    ],
)
def test_a_wrong_option_is_one_line_with_what_would_be_right(tmp_path, options, words):
    """Unknown options and facts, pairs that are none, and values of another kind."""
    line = complaint(
        analyze(*options, log(tmp_path), folder=tmp_path) if options != ["--set"] else analyze("--set", folder=tmp_path)
    )
    assert all(word in line for word in words), line


def test_without_a_path_the_argument_is_asked_for(tmp_path):
    """No path is a wrong use, not an empty result."""
    assert "PATH" in complaint(analyze(folder=tmp_path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ("no such file",)),
        (b"- fp16\n- bf16\n", ("holds a list", "a mapping of names to values was expected")),
        (b'"fp16"', ("holds text", "a mapping of names to values was expected")),
        (b"", ("holds nothing", "a mapping of names to values was expected")),
        (b"fp16: [true\nbf16: }", ("neither JSON nor YAML (line 2)",)),
        (b"fp16: true\n\tbf16: true\n", ("neither JSON nor YAML (line 2)",)),
        (b"? [a, b]\n: 1\n? {c: d}\n: 2\n", ("run.yaml",)),
        (b"when: 2024-13-45\n", ("neither JSON nor YAML",)),
        (b"x: !!python/object/apply:os.system ['true']\n", ("neither JSON nor YAML",)),
        (b"a: &a [*a]\n" + b"[" * 5000, ("neither JSON nor YAML",)),
        (ZIP, ("neither JSON nor YAML",)),
        (b"fp16: \xff\xfe\n", ("not text", "JSON or YAML file was expected")),
    ],
    ids=["missing", "list", "text", "empty", "broken", "tab", "odd-keys", "date", "python", "nested", "zip", "latin"],
)
def test_a_config_that_cannot_be_used_is_one_line(tmp_path, content, words):
    """The line names the file, what is in it, and what would be right; nothing is analysed without the facts asked for."""
    if content is not None:
        (tmp_path / "run.yaml").write_bytes(content)
    line = complaint(analyze("--config", "run.yaml", log(tmp_path), folder=tmp_path))
    assert "run.yaml" in line and all(word in line for word in words), line


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("run.sh", b"#!/bin/sh\necho hello\n", ("run.sh holds text", "text with --flags")),
        ("run.sh", b"python train.py --lr $LR --fp16 $(cat x)\n", ("run.sh holds", "text with --flags")),
        (
            "run.py",
            b"def train(learning_rate=1e-4):\n    return {'a': [1}\n",
            ("run.py is neither JSON nor YAML", "TrainingArguments("),
        ),
        ("run.log", b"{'loss': 1.5, 'learning_rate': 1e-4, 'epoch': 0.1}\n{'loss': 1.4}\n", ("run.log", "was expected")),
        ("README.md", b"# A project\n\nJust words: and more.\n", ("README.md", "a mapping of names to values was expected")),
        ("run.txt", b"hello", ("run.txt holds text", "lists of hyper-parameters")),
        ("run.py", b"__import__('os').system('touch marker')", ("run.py holds text", "was expected")),
        ("run.yaml", b"colour: red\nsize: 3\n", ("names no setting that is known", "colour, size")),
        ("state.json", b'{"log_history": [], "epoch": 1}', ("is the log of a run", "PATH")),
        ("run.bin", PNG + bytes(range(256)), ("is not text",)),
        ("run.bin", SAFETENSORS, ("neither JSON nor YAML",)),
        ("run.yaml", b"- " * 300_000, ("neither JSON nor YAML",)),
        ("run.yaml", b"? " * 300_000, ("neither JSON nor YAML",)),
        ("run.yaml", b"[" * 500_000, ("neither JSON nor YAML",)),
        ("run.json", b'{"lr": ' * 100_000, ("neither JSON nor YAML",)),
        ("run.txt", b"lr=" * 1_000_000, ("neither JSON nor YAML below 1,024 KiB",)),
        ("run.yaml", LAUGHS, ("neither JSON nor YAML",)),
        ("run.yaml", MERGES, ("neither JSON nor YAML",)),
        ("run.yaml", b"lora_target_modules: &a [*a]\n", ("neither JSON nor YAML",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_text_without_settings_is_one_line(tmp_path, name, content, words):
    """Scripts, logs and cards that hold none, binary files, and YAML that is deep or unfolds without end."""
    (tmp_path / name).write_bytes(content)
    line = complaint(analyze("--config", name, log(tmp_path), folder=tmp_path))
    assert name in line and all(word in line for word in words), line
    assert len(line) < 400 and not (tmp_path / "marker").exists()


def test_a_folder_as_config_is_one_line(tmp_path):
    """`--config` takes a file."""
    (tmp_path / "conf").mkdir()
    assert "conf is a folder; a JSON or YAML file was expected" in complaint(
        analyze("--config", "conf", log(tmp_path), folder=tmp_path)
    )


def test_a_huge_config_is_refused(tmp_path):
    """Nobody's configuration has 9 MB."""
    (tmp_path / "run.yaml").write_text("fp16: true\n")
    os.truncate(tmp_path / "run.yaml", 9 * 2**20)
    assert "run.yaml has 9,437,184 bytes, too many" in complaint(analyze("--config", "run.yaml", log(tmp_path), folder=tmp_path))


@pytest.mark.parametrize("name", ["learning_rate", "lora_r", "fp16", "loss_scale"])
def test_a_number_of_four_hundred_digits_is_no_traceback(tmp_path, name):
    """A senseless number in a configuration is passed over or refused in one line."""
    (tmp_path / "run.json").write_text(f'{{"{name}": 1{"0" * 400}}}')
    result = analyze("--config", "run.json", log(tmp_path), folder=tmp_path)
    assert len(complaints(result, result.returncode)) == (result.returncode == UNUSABLE)
    assert result.returncode in (OK, UNUSABLE)


# Output


@pytest.mark.parametrize("output", ["no/such/folder/report.txt", "folder", "good.jsonl/report.txt", "x" * 300])
@pytest.mark.parametrize("output_format", ["text", "json"])
def test_an_output_that_cannot_be_written_is_one_line(tmp_path, output, output_format):
    """A report that could not be written is no success, and the line names where it should have gone."""
    (tmp_path / "folder").mkdir()
    line = complaint(analyze("-o", output, "--output-format", output_format, log(tmp_path), folder=tmp_path))
    assert output in line


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text there")
@pytest.mark.parametrize("options", [[], ["-o", "report"]])
@pytest.mark.parametrize("output_format", ["text", "json"])
def test_a_file_name_that_is_no_text_is_reported(tmp_path, options, output_format):
    """A name with bytes that are no UTF-8 can be analysed, and its report written anywhere."""
    log(tmp_path)
    os.rename(os.fsencode(tmp_path / "good.jsonl"), os.fsencode(tmp_path) + b"/\xff.jsonl")  # noqa: PTH104  # bytes
    result = analyze("--output-format", output_format, *options, b"\xff.jsonl", folder=tmp_path)
    assert complaints(result, OK) == []
    assert result.stdout or (tmp_path / "report").read_bytes()


def test_a_broken_input_leaves_the_output_file_alone(tmp_path):
    """An earlier report is not overwritten by nothing."""
    (tmp_path / "report.txt").write_text("earlier")
    complaint(analyze("-o", "report.txt", "missing.json", folder=tmp_path))
    assert (tmp_path / "report.txt").read_text() == "earlier"
