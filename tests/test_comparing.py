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
from lossdoctor.comparing import compare, sides_at
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
    assert (next(sides_at(str(tmp_path / name))).log is None) is is_one


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


TRAINER = "learning_rate: {rate}\nlr_scheduler_type: {schedule}\nper_device_train_batch_size: 4\nnum_train_epochs: 3\n"


def written(folder: Path, **files: str) -> list[str]:
    """Files of that content, as YAML."""
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content)
    return [str(folder / f"{name}.yaml") for name in files]


def told(*words: str) -> str:
    """The text of a comparison in one line."""
    return " ".join(run(*words).output.split())


def test_a_batch_may_be_told_as_a_product(tmp_path: Path):
    """`32 x 1 x 4` and `16×2×4` are per device, accumulated, processes: 128 both."""
    text = told(*written(tmp_path, a="batch: 32 x 1 x 4\nepochs: 3\n", b="batch: 16×2×4\nepochs: 3\n"))
    assert "effective batch size 128 128 =" in text and "32 × 1 × 4 and 16 × 2 × 4 both take 128" in text


def test_the_table_and_the_differences_take_the_same_for_granted(tmp_path: Path):
    """Processes that one side states hold for both, in the table as well."""
    sides = "per_device_train_batch_size: {}\ngradient_accumulation_steps: {}\nnum_train_epochs: 3\n"
    text = told(*written(tmp_path, a=sides.format(32, 1) + "n_gpus: 4\n", b=sides.format(16, 2)))
    assert "effective batch size 128 128 =" in text and "4 processes as on the other side (B)" in text


def test_deepspeed_tells_its_betas(tmp_path: Path):
    """What stands in the optimizer of a DeepSpeed JSON is a difference like any other."""
    for name, betas in (("a", [0.9, 0.999]), ("b", [0.9, 0.95])):
        optimizer = {"type": "AdamW", "params": {"lr": 1e-5, "betas": betas}}
        held = {"train_batch_size": 8, "bf16": {"enabled": True}, "optimizer": optimizer, "zero_optimization": {"stage": 2}}
        (tmp_path / f"{name}.json").write_text(json.dumps(held))
    (pair,) = compare(tmp_path / "a.json", tmp_path / "b.json").pairs
    assert [d.name for d in pair.differences if d.impact != "none"] == ["adam_beta2"]


def test_what_follows_from_the_rate_alone_is_not_told_again(tmp_path: Path):
    """Linear and cosine have one mean: only rate and schedule differ, and neither their mean nor their sum is news."""
    sides = written(tmp_path, a=TRAINER.format(rate=2e-5, schedule="linear"), b=TRAINER.format(rate=1e-4, schedule="cosine"))
    (pair,) = compare(*sides).pairs
    assert {d.name for d in pair.differences} == {"peak learning rate", "learning-rate schedule"}


def test_very_many_differences_are_no_wall(tmp_path: Path):
    """Bookkeeping shares a line, and so does what is of low impact where there is much of it; nothing is left out."""
    from lossdoctor.reports.comparison import words

    low = {
        "weight_decay": 0.1,
        "seed": 1,
        "adam_beta1": 0.8,
        "max_grad_norm": 0.3,
        "dataloader_drop_last": True,
        "group_by_length": True,
    }
    other = {
        "adam_beta2": 0.95,
        "adam_epsilon": 1e-6,
        "label_smoothing_factor": 0.1,
        "neftune_noise_alpha": 5,
        "optim": "adafactor",
    }
    books = {"logging_steps": 7, "save_steps": 3, "eval_steps": 9, "save_total_limit": 2}
    base = TRAINER.format(rate=2e-5, schedule="linear")
    more = "".join(f"{name}: {value}\n" for name, value in (low | other | books).items())
    changed = TRAINER.format(rate="1.0e-4", schedule="constant").replace("epochs: 3", "epochs: 5").replace(": 4", ": 32")
    sides = written(tmp_path, a=base, b=changed + more)
    (pair,) = compare(*sides).pairs
    text = told(*sides)
    assert len(words.matters(pair)) > words.MOST >= len(words.told_in_full(pair))
    assert all(f"{name} " in text for name in (low | other | books))
    assert text.count("LOW ") == 1 and text.count("No settings of the training:") == 1


def test_the_same_run_in_two_formats_is_the_same(tmp_path: Path):
    """State and CSV of one run: identical is said, and no difference, no noise and no tries of it."""
    path = Path(state(tmp_path / "run", 1))
    rows = json.loads((path / "trainer_state.json").read_text())["log_history"]
    lines = [f"{row['step']},{row['epoch']},{row['loss']},{row['learning_rate']},{row['grad_norm']}" for row in rows]
    (tmp_path / "run.csv").write_text("\n".join(["step,epoch,loss,learning_rate,grad_norm", *lines]) + "\n")
    text = told(str(path), str(tmp_path / "run.csv"))
    assert "run.csv is the same as run in all rows that both have: 300 of loss." in text
    assert "nothing to explain: the curves are the same" in text
    assert "noise" not in text and "Several tries" not in text


def test_a_log_that_goes_on_from_the_end_of_another_is_told_so(tmp_path: Path):
    """The second half of a run has no row in common with the first, and its first rate is no peak."""
    whole = Path(state(tmp_path / "a", 1)) / "trainer_state.json"
    held = json.loads(whole.read_text())
    for name, rows in (("a", held["log_history"][:150]), ("b", held["log_history"][150:])):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "trainer_state.json").write_text(json.dumps({**held, "log_history": rows}))
    text = told(str(tmp_path / "a"), str(tmp_path / "b"))
    assert "b begins at step 1,510, right after the end of a at step 1,500, and may be its continuation" in text
    assert "peak learning rate" not in text


def test_a_run_from_its_first_row_on_continues_none(tmp_path: Path):
    """One that broke after four steps lies before the first row of the next one, which averages its steps from 0 on."""
    held = json.loads((Path(state(tmp_path / "b", 1)) / "trainer_state.json").read_text())
    short = [{**row, "step": step} for step, row in enumerate(held["log_history"][:4], 1)]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "trainer_state.json").write_text(json.dumps({**held, "log_history": short}))
    assert "may be its continuation" not in told(str(tmp_path / "a"), str(tmp_path / "b"))


@pytest.mark.parametrize(
    ("share", "low", "high", "said"),
    [
        (-0.001, -0.01, 0.01, "No difference beyond noise"),
        (-0.036, -0.065, -0.006, "Too near to noise to be called a difference"),
        (0.08, -0.22, 0.38, "Too noisy to tell a difference of less than about 30.0 %"),
    ],
)
def test_no_verdict_contradicts_its_interval(share: float, low: float, high: float, said: str):
    """What is not called a difference is alike, nearly one, or hidden by the noise: each is said as what it is."""
    from lossdoctor.comparison.nouns import EndDifference
    from lossdoctor.comparison.telling import likeness

    assert likeness(EndDifference(1.0, 1.0 + share, share, low, high, 0.0, 8, 1, "same")) == said


def test_a_longer_run_is_judged_at_its_own_end(tmp_path: Path):
    """The verdict tells how each ends where it ends, and what is the difference over what both have."""
    first, second = state(tmp_path / "a", 1, rows=150), state(tmp_path / "b", 2, 1.0, rows=400, max_steps=4000)
    low = json.loads((tmp_path / "b" / "trainer_state.json").read_text())
    for place, row in enumerate(low["log_history"], 1):
        row |= {"epoch": place / 50, "loss": row["loss"] * (1 if place <= 150 else 0.8)}
    (tmp_path / "b" / "trainer_state.json").write_text(json.dumps(low))
    text = told(first, second)
    assert re.search(r"b ends better than a, each at its own end: loss .* over what both have: [+-]?[\d.]+ %", text)


def test_one_path_twice_and_long_names_are_told_apart(tmp_path: Path):
    """Two sides never go by one name, and no name fills a sentence."""
    run_ = state(tmp_path / "a", 1)
    assert [side.name for side in compare(run_, run_).sides] == ["a (1)", "a (2)"]
    long = state(tmp_path / ("x" * 70) / ("y" * 50), 2)
    assert [side.name for side in compare(run_, long).sides] == ["a", f"…/{'y' * 50}"]


def test_a_comparison_shows_itself(tmp_path: Path):
    """As text where it is printed, in notebooks, short in a list, and as a file of any format."""
    found = lossdoctor.compare(*PAIR)
    assert "What it comes to" in str(found)
    assert repr(found) == "<Comparison of first.yaml, second.yaml>"
    assert set(found._repr_mimebundle_()) == {"text/html", "text/plain"}
    found.save(tmp_path / "found.json")
    validate(json.loads((tmp_path / "found.json").read_text()), schema())
    with pytest.raises(LossDoctorError, match="to draw"):
        found.save(tmp_path / "found.svg")


def test_a_folder_alone_is_all_the_runs_below_it(tmp_path: Path):
    """`compare sweep` takes every run of the sweep, and says of each verdict whose it is."""
    for seed, name in enumerate("abc"):
        state(tmp_path / "sweep" / name, seed)
    assert [side.name for side in compare(tmp_path / "sweep").sides] == ["a", "b", "c"]
    trainer = TRAINER.format(rate="{rate}", schedule="linear")
    text = told(*written(tmp_path, a=trainer.format(rate=1e-4), b=trainer.format(rate=2e-4), c=trainer.format(rate=5e-4)))
    assert "b.yaml: 1 difference that matters" in text or "b: 1 difference that matters" in text
