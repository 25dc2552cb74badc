"""Thresholds from pyproject.toml and lossdoctor.toml: found, checked and used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lossdoctor.analysis import analyze
from lossdoctor.config import settings
from lossdoctor.model import LossDoctorError

#: A gradient that is NaN in four rows while the loss goes on: critical by default.
ROWS = [{"step": s, "loss": 3 - s / 200, "grad_norm": 1.0 if s < 160 or s > 220 else float("nan")} for s in range(20, 221, 20)]
HEADERS = {"pyproject.toml": "tool.lossdoctor.", "lossdoctor.toml": ""}
FILES = pytest.mark.parametrize("name", HEADERS)


def configure(folder: Path, name: str, slug: str, text: str) -> None:
    """A file with one table of thresholds."""
    (folder / name).write_text(f"[{HEADERS[name]}{slug}]\n{text}\n")


def log(folder: Path, name: str = "log.jsonl") -> Path:
    """The log that every test here analyses."""
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def run(folder: Path, *paths: str) -> subprocess.CompletedProcess[str]:
    """`lossdoctor analyze` as a process of its own in a folder."""
    command = [sys.executable, "-m", "lossdoctor", "analyze", *(paths or ("log.jsonl",))]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that a wrong setting gives."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("lossdoctor: ")
    return line


def test_without_a_file_every_threshold_has_its_default(tmp_path, monkeypatch):
    """No file, no settings."""
    monkeypatch.chdir(tmp_path)
    assert settings() == {}


@FILES
def test_thresholds_are_read_from_both_files(tmp_path, monkeypatch, name):
    """`[tool.lossdoctor.<slug>]` in pyproject.toml and `[<slug>]` in lossdoctor.toml say the same."""
    configure(tmp_path, name, "gradient-not-finite", "rows_to_condemn = 50")
    monkeypatch.chdir(tmp_path)
    assert settings() == {"gradient-not-finite": {"rows_to_condemn": 50}}


@FILES
def test_the_file_may_lie_above_the_working_directory(tmp_path, monkeypatch, name):
    """The nearest file above is used, as other tools do it."""
    configure(tmp_path, name, "gradient-zero", "threshold = 1e-6")
    below = tmp_path / "runs" / "first"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert settings() == {"gradient-zero": {"threshold": 1e-6}}


def test_the_nearest_file_wins(tmp_path, monkeypatch):
    """A file in the working directory hides those above; a pyproject.toml that does not speak of us hides nothing."""
    configure(tmp_path, "pyproject.toml", "gradient-zero", "threshold = 1e-6")
    near = tmp_path / "near"
    near.mkdir()
    (near / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["lossdoctor"]\n')
    monkeypatch.chdir(near)
    assert settings() == {"gradient-zero": {"threshold": 1e-6}}
    configure(near, "lossdoctor.toml", "gradient-zero", "threshold = 1e-5")
    assert settings() == {"gradient-zero": {"threshold": 1e-5}}


@pytest.mark.parametrize("key", ["rows_to_condemn", "rows-to-condemn"])
@FILES
def test_a_changed_threshold_changes_the_result(tmp_path, name, key):
    """The same log is critical with the default and less with a higher threshold; dashes are underscores."""
    path = log(tmp_path)
    (before,) = analyze(path)
    assert before.verdict == "critical"
    assert run(tmp_path).returncode == 1
    configure(tmp_path, name, "gradient-not-finite", f"{key} = 50")
    (after,) = analyze(path, settings=settings(tmp_path))
    assert after.verdict == "warning"
    assert run(tmp_path).returncode == 0


def test_a_threshold_of_a_cause_or_detector_is_listed_on_its_page():
    """`explain` names the table and every key that may stand in it."""
    command = [sys.executable, "-m", "lossdoctor", "explain", "gradient-not-finite"]
    page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "[tool.lossdoctor.gradient-not-finite]" in page and "`rows_to_condemn`: 3" in page


@FILES
def test_a_wrong_slug_is_one_line_with_the_file_and_the_way_to_the_list(tmp_path, name):
    """A table for something that is no detector or cause is an error."""
    log(tmp_path)
    configure(tmp_path, name, "gradient-not-finit", "rows_to_condemn = 50")
    line = complaint(run(tmp_path))
    assert name in line and "'gradient-not-finit'" in line and "lossdoctor list" in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rows_to_condem = 3", ("'rows_to_condem'", "it has: ", "rows_to_condemn,")),
        ('rows_to_condemn = "three"', ("gradient-not-finite.rows_to_condemn", "a number like 3", "'three'")),
        ("rows_to_condemn = true", ("a number like 3", "True")),
        ("rows_to_condemn = [3]", ("a number like 3", "[3]")),
        ("rows_to_condemn = {}", ("a number like 3", "{}")),
        ("rows_to_condemn = 2024-01-01", ("a number like 3",)),
    ],
)
@FILES
def test_a_wrong_threshold_is_one_line_with_what_would_be_right(tmp_path, name, text, words):
    """An unknown threshold lists the known ones; a value of another type shows what a right one looks like."""
    log(tmp_path)
    configure(tmp_path, name, "gradient-not-finite", text)
    line = complaint(run(tmp_path))
    assert "gradient-not-finite" in line and all(word in line for word in words)


def test_a_wrong_threshold_names_the_file_it_stands_in(tmp_path):
    """The file was found by walking up from the working directory, so the error must say which one it is."""
    log(tmp_path)
    configure(tmp_path, "pyproject.toml", "gradient-not-finite", "rows_to_condem = 3")
    assert "pyproject.toml" in complaint(run(tmp_path))


def test_a_wrong_threshold_is_told_once_however_many_logs_there_are(tmp_path):
    """The setting is wrong once, not once per log."""
    log(tmp_path, "first.jsonl")
    log(tmp_path, "second.jsonl")
    configure(tmp_path, "pyproject.toml", "gradient-not-finite", "rows_to_condem = 3")
    complaint(run(tmp_path, "first.jsonl", "second.jsonl"))


def test_a_wrong_threshold_is_refused_by_the_library_too(tmp_path):
    """`analyze(settings=…)` raises the error that the command line prints."""
    with pytest.raises(LossDoctorError, match="gradient-zero has no threshold 'treshold'; it has: threshold"):
        analyze(log(tmp_path), settings={"gradient-zero": {"treshold": 1}})


@FILES
def test_a_value_in_place_of_a_table_is_refused(tmp_path, name):
    """A slug with a number instead of a table of thresholds is an error."""
    log(tmp_path)
    configure(tmp_path, name, "gradient-zero", "")
    text = "[tool.lossdoctor]\ngradient-zero = 3\n" if name == "pyproject.toml" else "gradient-zero = 3\n"
    (tmp_path / name).write_text(text)
    line = complaint(run(tmp_path))
    assert name in line and "gradient-zero" in line and "table of thresholds, found 3" in line


@pytest.mark.parametrize("text", ['tool = "lossdoctor"\n', "[[tool]]\nlossdoctor = 3\n", "[tool]\nlossdoctor = 3\n"])
def test_a_tool_table_of_another_shape_is_refused(tmp_path, text):
    """Whatever stands where our table should: one line, never a traceback, and never silently ignored."""
    log(tmp_path)
    (tmp_path / "pyproject.toml").write_text(text)
    assert "pyproject.toml" in complaint(run(tmp_path))


@pytest.mark.parametrize("content", [b"[tool.lossdoctor\n", b"lossdoctor = \n", b"# lossdoctor\n\xff\xfe\n"])
@FILES
def test_a_file_that_is_not_toml_is_refused(tmp_path, name, content):
    """Broken TOML and bytes that are no text name the file."""
    log(tmp_path)
    (tmp_path / name).write_bytes(content)
    line = complaint(run(tmp_path))
    assert f"{name} is not TOML" in line
