"""`lossdoctor compare`: what is a run and what a configuration, every format, exit codes, and errors in one line."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from conftest import ROOT
from jsonschema import validate

import lossdoctor
from lossdoctor.cli import main
from lossdoctor.comparing import compare, configuration
from lossdoctor.model import LossDoctorError
from lossdoctor.reports.comparison.json import schema

PAIR = [str(ROOT / "examples" / "comparison" / name) for name in ("first.yaml", "second.yaml")]


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["compare", *words], env={"COLUMNS": "100"})


def state(folder: Path, seed: int, level: float = 1.0, rows: int = 300, breaks: int = 0, **known: object) -> str:
    """The output folder of a run that falls to a level; `breaks` is the row from which on it is NaN."""
    noise = random.Random(seed)
    log = []
    for row in range(1, rows + 1):
        lost = breaks and row >= breaks
        log.append({
            "step": 10 * row,
            "epoch": 3 * row / rows,
            "learning_rate": 2e-4 * (1 - row / (rows + 1)),
            "grad_norm": math.nan if lost else 1 + 0.2 * noise.random(),
            "loss": 0.0 if lost else level * (1 + 0.8 * math.exp(-row / 40)) + noise.gauss(0, 0.04 * level),
        })  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    held = {"log_history": log, "logging_steps": 10, "max_steps": 10 * rows, "num_train_epochs": 3, **known}
    (folder / "trainer_state.json").write_text(json.dumps(held))
    return str(folder)


def test_the_eight_differences_of_two_files():
    """Both take 128 examples a step, the adapter is scaled by 2 in both, the same layers are trained; the steps are 3.3 times."""
    text = " ".join(run(*PAIR).output.split())
    assert re.search(r"effective batch size 128 128 =", text)
    assert re.search(r"adapter scale \(alpha / rank\) 2 2 =", text)
    assert re.search(r"trained layers layers 28 to 31 of 32 layers 28 to 31 of 32 =", text)
    assert "3.33" in text or "3.3 times" in text


def test_each_of_the_eight_has_an_impact_and_a_reason():
    """Nothing of what changed is left without a rating, and no rating without a reason."""
    (pair,) = compare(*PAIR).pairs
    told = {name for d in pair.differences for name in (d.name, *d.settings)}
    changed = {"learning_rate", "weight_decay", "num_train_epochs", "lr_scheduler_type", "max_length", "lora_r", "lora_alpha"}
    assert changed | {"per_device_train_batch_size", "gradient_accumulation_steps"} <= told
    assert all(difference.reason for difference in pair.differences)


@pytest.mark.parametrize(
    ("name", "content", "is_one"),
    [
        ("args.json", '{"learning_rate": 1e-5, "num_train_epochs": 3}', True),
        ("args.yaml", "learning_rate: 1.0e-5\nnum_train_epochs: 3\n", True),
        ("train.sh", "python train.py --learning_rate 1e-5 --num_train_epochs 3\n", True),
        ("row.json", '{"loss": 1.5, "learning_rate": 1e-5, "step": 3}', False),
        ("trainer_state.json", '{"log_history": [{"loss": 1.0, "step": 1}]}', False),
        ("train.log", "{'loss': 1.5, 'learning_rate': 1e-05, 'epoch': 0.1}\n", False),
        ("rows.csv", "step,loss\n1,2.0\n2,1.0\n3,1.0\n", False),
    ],
)
def test_what_is_a_configuration_is_told_by_its_content(tmp_path: Path, name: str, content: str, is_one: bool):
    """A file of settings has no row of a log in it, whatever it is called."""
    (tmp_path / name).write_text(content)
    assert (configuration(str(tmp_path / name)) is not None) is is_one


def test_a_run_is_compared_with_what_was_planned(tmp_path: Path):
    """A run and a configuration are two sides like any others."""
    (tmp_path / "plan.yaml").write_text("learning_rate: 1.0e-4\nmax_steps: 3000\nlr_scheduler_type: linear\n")
    found = compare(state(tmp_path / "run", 1), tmp_path / "plan.yaml")
    assert [side.report is None for side in found.sides] == [False, True]
    assert not found.pairs[0].curves


def test_sides_are_called_by_what_tells_them_apart(tmp_path: Path):
    """Of long paths only the part that differs is told."""
    sides = [state(tmp_path / "runs" / name / "output", seed) for seed, name in enumerate(("first", "second"))]
    assert [side.name for side in compare(*sides).sides] == ["first", "second"]


def test_the_public_function_is_the_same(tmp_path: Path):
    """`lossdoctor.compare` gives the comparison that the command prints."""
    found = lossdoctor.compare(*PAIR)
    assert len(found.pairs) == 1 and found.sides[0].name == "first.yaml"


def test_json_holds_to_its_schema(tmp_path: Path):
    """Configurations and runs, broken ones among them, as strict JSON."""
    runs = [state(tmp_path / "a", 1), state(tmp_path / "b", 2, breaks=200)]
    for paths in (PAIR, runs, [PAIR[0], runs[1]]):
        validate(json.loads(run(*paths, "--output-format", "json").output), schema())


def test_the_page_lays_the_curves_over_each_other(tmp_path: Path):
    """One panel has a line for each side, told apart by colour and dash, and the page needs nothing else."""
    page = tmp_path / "comparison.html"
    assert run(state(tmp_path / "a", 1), state(tmp_path / "b", 2), "-o", str(page)).exit_code == 0
    content = page.read_text(encoding="utf-8")
    assert len(re.findall(r'data-line="A"', content)) == len(re.findall(r'data-line="B"', content)) == 3
    assert "default-src 'none'" in content and "http://www.w3.org/2000/svg" in content


def test_markdown_has_its_chart_beside_it(tmp_path: Path):
    """The picture is a file of its own, and is drawn by itself where that is asked for."""
    file = tmp_path / "comparison.md"
    run(state(tmp_path / "a", 1), state(tmp_path / "b", 2), "-o", str(file))
    assert "](comparison.svg)" in file.read_text(encoding="utf-8")
    ElementTree.fromstring((tmp_path / "comparison.svg").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("level", "breaks", "code"),
    [(1.0, 0, 0), (0.8, 0, 0), (1.15, 0, 1), (1.0, 200, 1)],
    ids=["same", "better", "worse", "broken"],
)
def test_a_baseline_fails_what_is_worse_beyond_noise(tmp_path: Path, level: float, breaks: int, code: int):
    """Exit code 1 for a run that ends higher, or that breaks; 0 for one that is as good or better."""
    paths = state(tmp_path / "baseline", 1), state(tmp_path / "new", 2, level, breaks=breaks)
    assert run("--baseline", *paths).exit_code == code
    assert run(*paths).exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([PAIR[0]], "two or more runs or configurations"),
        ([PAIR[0], "missing.yaml"], "missing.yaml: no such file or directory"),
        ([*PAIR * 7], "12 runs or configurations at most, found 14"),
        ([*PAIR, "--set", "nothing=1"], "unknown fact 'nothing'"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(words: list[str], told: str):
    """Exit code 2, one line, no traceback."""
    result = run(*words)
    assert result.exit_code == 2
    assert told in result.stderr and result.stderr.count("\n") == 1


def test_a_file_that_is_neither_is_named(tmp_path: Path):
    """The error is that of the reader: it says what was found, and what would be right."""
    (tmp_path / "letter.txt").write_text("Dear colleague, the run went well.\n")
    with pytest.raises(LossDoctorError, match=r"letter\.txt is text that begins with"):
        compare(PAIR[0], tmp_path / "letter.txt")
