"""What people and programs are given: strict JSON after its schema, and text that fits any terminal."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import CASES, diagnose, rows_of, write_state
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.explain import markdown, pages
from lossdoctor.model import Fact, Remedy
from lossdoctor.reports.json import render as as_json
from lossdoctor.reports.json import schema
from lossdoctor.reports.spark import sparkline
from lossdoctor.reports.text import brief, one_line
from lossdoctor.reports.text import render as as_text

LOGS = sorted(CASES.glob("*/*.jsonl"))
BROKEN = [{"loss": 2.0, "grad_norm": 1.0, "step": s} for s in range(1, 8)] + [
    {"loss": 0.0, "grad_norm": math.nan, "step": s} for s in range(8, 12)
]


def refuse(token: str) -> Any:
    raise AssertionError(f"not strict JSON: {token}")


def test_the_schema_is_one() -> None:
    """The schema in the package is a valid JSON Schema."""
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("log", LOGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_report_is_strict_json_after_the_schema(log: Path) -> None:
    """No NaN token leaves us, and every program can rely on the schema."""
    document = json.loads(as_json([diagnose(rows_of(log), fp16=True, lora_target_modules=["q", "v"])]), parse_constant=refuse)
    jsonschema.validate(document, schema())


def test_a_nan_in_the_evidence_is_named() -> None:
    """Where a number is NaN its name stands in its place."""
    report = json.loads(as_json([diagnose(BROKEN)]))["reports"][0]
    values = [s["evidence"]["value"] for s in report["symptoms"] if s["slug"] == "gradient-not-finite"]
    assert values == ["nan"]


def test_a_diagnosis_points_at_its_symptoms() -> None:
    """`because` holds places in the list of symptoms."""
    report = json.loads(as_json([diagnose(BROKEN, fp16=True)]))["reports"][0]
    because = report["diagnoses"][0]["because"]
    assert because and all(report["symptoms"][place]["severity"] == "critical" for place in because)


@pytest.mark.parametrize("width", [40, 80, 120, 300])
@pytest.mark.parametrize("log", LOGS[::3], ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_no_line_is_wider_than_the_terminal(log: Path, width: int) -> None:
    """From 40 columns on every line fits, and beyond 100 lines do not grow."""
    text = as_text([diagnose(rows_of(log), fp16=True, gpu="RTX 3090")], color=False, width=width)
    assert max(len(line) for line in text.splitlines()) <= min(width, 100)


def test_plain_text_has_no_escape_codes() -> None:
    """Without colour not one escape character is written, in messages neither."""
    report = diagnose(BROKEN)
    for text in (as_text([report], color=False), brief(report), one_line(report)):
        assert "\x1b" not in text
    assert "\x1b" in as_text([report], color=True)


def test_hostile_names_do_no_harm() -> None:
    """Square brackets and control characters in paths and facts are printed, not obeyed."""
    report = diagnose(BROKEN, gpu="[bold red]V100[/]", model_name_or_path="[link=x]llama-2[/link]")
    text = as_text([report], color=False, width=80)
    assert "[bold red]V100[/]" in text


def test_conflicts_are_in_both_reports() -> None:
    """Every fact that sources disagree on is one line of text and one entry of JSON after the schema, whatever its value."""
    stated = [{"learning_rate": 5e-5, "lora_target_modules": ["q", "v"], "fp16": True}, {"learning_rate": 2e-4, "fp16": False}]
    stated.append({"learning_rate": math.inf, "lora_target_modules": ["[bold]" * 50], "optim": "x"})
    report = diagnose(BROKEN)
    run = report.run
    for source, known in zip("abc", stated, strict=True):
        run = run.knowing({name: Fact(value, f"[red]{source}") for name, value in known.items()})
    report = replace(report, run=run)
    document = json.loads(as_json([report]), parse_constant=refuse)
    jsonschema.validate(document, schema())
    conflicts = {c["name"]: c for c in document["reports"][0]["run"]["conflicts"]}
    assert set(conflicts) == {"learning_rate", "lora_target_modules", "fp16"}
    assert [other["value"] for other in conflicts["learning_rate"]["others"]] == [2e-4, None]
    assert conflicts["fp16"]["used"] == {"value": True, "source": "[red]a"}
    text = as_text([report], color=False, width=80)
    section = " ".join(text.partition("Sources that disagree")[2].split())
    assert "fp16: true ([red]a) is used; false ([red]b) says otherwise" in section
    assert max(map(len, text.splitlines())) <= 80 and "Sources" not in as_text([diagnose(BROKEN)], color=False)


@given(
    values=st.lists(st.one_of(st.floats(-1e9, 1e9), st.sampled_from([math.nan, math.inf])), max_size=300),
    width=st.integers(1, 120),
)
@settings(deadline=None)
def test_a_sparkline_fits_and_covers_the_whole_run(values: list[float], width: int) -> None:
    """It is never wider than asked for, and its last character stands for the last step."""
    points = list(enumerate(values, 1))
    line, ends = sparkline(points, width)
    assert len(line) == len(ends) == min(width, len(points))
    assert not points or ends[-1] == points[-1][0]


def test_a_wave_goes_up_and_down() -> None:
    """High values get high blocks, low ones low blocks, NaN a cross."""
    assert (
        sparkline([(1, 0.0), (2, 1.0), (3, math.nan), (4, 0.5)], 4)[0] == "▁█×▅" or sparkline([(1, 0.0), (2, 1.0)], 2)[0] == "▁█"
    )


def analyze(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    return subprocess.run(
        [sys.executable, "-m", "lossdoctor", "analyze", *words], capture_output=True, text=True, env=variables, check=False
    )


@pytest.mark.parametrize(("rows", "options", "code"), [
    (BROKEN, [], 1), (BROKEN, ["--fail-on", "never"], 0), (BROKEN[:7], [], 0),
    ([{"loss": 2.0, "step": s} for s in range(9)] + [{"eval_loss": math.nan, "step": 9}], [], 0),
    ([{"loss": 2.0, "step": s} for s in range(9)] + [{"eval_loss": math.nan, "step": 9}], ["--fail-on", "warning"], 1),
])  # fmt: skip
def test_the_exit_code_says_how_bad_it_is(tmp_path: Path, rows: list[dict[str, Any]], options: list[str], code: int) -> None:
    """0 below `--fail-on`, 1 from it on."""
    done = analyze(str(write_state(tmp_path, rows)), *options)
    assert (done.returncode, done.stderr) == (code, "")


def test_several_runs_get_a_table_first(tmp_path: Path) -> None:
    """Each run has its line; only those with findings are told in full."""
    paths = [str(write_state(tmp_path / name, rows)) for name, rows in (("good", BROKEN[:7]), ("bad", BROKEN))]
    done = analyze(*paths, COLUMNS="100")
    lines = done.stdout.splitlines()
    assert f"in {tmp_path}" in "".join(lines[:3])
    assert ["verdict", "run", "rows", "finding"] in [line.split() for line in lines]
    assert "✔ healthy   good/trainer_state.json" in done.stdout
    assert "healthy" in done.stdout and done.stdout.count("CRITICAL") == 1
    assert done.returncode == 1


def test_a_report_goes_to_a_file(tmp_path: Path) -> None:
    """`-o` writes the report there and nothing to the terminal."""
    target = tmp_path / "report.json"
    done = analyze(str(write_state(tmp_path, BROKEN)), "--output-format", "json", "-o", str(target))
    assert done.stdout == "" and json.loads(target.read_text())["reports"][0]["verdict"] == "critical"


def test_the_format_can_come_from_the_environment(tmp_path: Path) -> None:
    """LOSSDOCTOR_OUTPUT_FORMAT sets the default."""
    assert json.loads(analyze(str(write_state(tmp_path, BROKEN)), LOSSDOCTOR_OUTPUT_FORMAT="json").stdout)["format"] == 1


def test_a_terminal_that_knows_no_blocks_gets_the_text_all_the_same(tmp_path: Path) -> None:
    """Under an ASCII encoding the report is printed with escapes rather than lost."""
    done = analyze(str(write_state(tmp_path, BROKEN)), PYTHONIOENCODING="ascii")
    assert done.returncode == 1 and "CRITICAL" in done.stdout


def test_a_pipe_that_closes_early_is_no_error(tmp_path: Path) -> None:
    """`lossdoctor analyze … | head -1` ends without a traceback."""
    state = write_state(tmp_path, BROKEN)
    line = f"'{sys.executable}' -m lossdoctor analyze '{state}' '{state}' | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_too_few_rows_with_something_in_them_say_so() -> None:
    """The words "nothing broken" are said only where nothing was seen."""
    broken = [{"loss": 2.0, "grad_norm": 1.0, "step": 1}, {"loss": 2.0, "grad_norm": math.nan, "step": 2}]
    report = diagnose(broken)
    assert report.verdict == "insufficient" and any(symptom.open for symptom in report.symptoms)
    assert "see what was seen in them" in as_text([report], color=False)
    assert "nothing broken in them" in as_text([diagnose(broken[:1])], color=False)


def test_what_two_candidates_advise_is_printed_once() -> None:
    """The same settings in other words are the same advice; advice without settings is told by its words."""
    report = diagnose(BROKEN, fp16=True)
    first, second = report.diagnoses[0], report.diagnoses[1]
    remedies = [Remedy(f"Do {word}", "because", settings) for word, settings in (("one", {"bf16": True}), ("two", {}))]
    again = [replace(remedies[0], do="Do the same"), replace(remedies[1], do="Do more")]
    pair = (replace(first, remedies=tuple(remedies)), replace(second, remedies=tuple(again), confidence="medium", normal=False))
    text = as_text([replace(report, diagnoses=tuple(replace(d, mechanism=False) for d in pair))], color=False)
    assert text.count("bf16: true") == 1 and "Do the same" not in text and "Do more" in text


@pytest.mark.parametrize(
    ("epochs", "told"), [(0.5, "epoch 0.5"), (99.9, "epoch 99.9"), (99.99, "epoch 100"), (1234.5, "epoch 1,234")]
)
def test_many_epochs_are_a_plain_number(epochs: float, told: str) -> None:
    """From 100 on they are whole, with separators."""
    assert as_text([replace(diagnose(BROKEN), epochs=epochs)], color=False).partition("\n")[0].endswith(told)


def test_a_single_row_is_one_row() -> None:
    """What is not judged says "1 row", not "1 rows"."""
    reasons = " ".join(item.why for item in diagnose([{"loss": 2.0, "step": 1}, {"eval_loss": 2.0, "step": 1}]).not_judged)
    assert "1 row with a usable loss" in reasons and "1 evaluation:" in reasons
    assert "1 rows" not in reasons and "1 evaluations" not in reasons


@pytest.mark.parametrize("name", ["run/trainer_state.json", "a-folder/" * 7 + "trainer_state.json", "folder/" * 20 + "log.jsonl"])
def test_a_path_is_broken_after_its_separators_only(name: str) -> None:
    """Where path and numbers do not fit into one line, the path has its own."""
    report = replace(diagnose(BROKEN), run=replace(diagnose(BROKEN).run, path=name))
    head = as_text([report], color=False, width=80).partition("\n✖")[0].splitlines()
    path, rest = head[0].split("  ") if len(head) == 1 else ("".join(head[:-1]), head[-1].strip())
    assert path == name and rest == "11 rows, steps 1 to 11"
    assert all(line.endswith("/") for line in head[:-2])


def test_a_check_that_is_a_question_ends_as_one() -> None:
    """No period follows the question mark."""
    texts = [markdown(slug) for slug in pages()]
    assert not any("?." in text for text in texts) and any("?\n" in text for text in texts)
