"""The benchmark of the remedies: a remedy is put into a script as it is told, or the trial is lost."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from trials.faults import trials
from trials.recipe import Recipe
from trials.text import PARTS, part, split_of
from trials.training import Outcome
from trials.trying import change, planned, why_not, within_budget

from lossdoctor.model import Rule


def test_there_are_at_least_sixty_trials_over_all_models_and_methods() -> None:
    """Each is one of a kind, and breaks something: it differs from its control."""
    everything = trials()
    assert len(everything) >= 60
    assert len({trial.name for trial in everything}) == len(everything)
    assert {(t.broken.family, t.broken.method) for t in everything} == {
        (family, method) for family in ("llama", "gpt2", "bert", "t5") for method in ("full", "lora")
    }
    assert all(trial.broken != trial.control for trial in everything)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (None, "no diagnosis"),
        ({}, "the first remedy has no settings"),
        ({"fp16": False, "bf16": Rule("true on Ampere")}, "somebody has to choose bf16: true on Ampere"),
        ({"zero_optimization.stage": 3}, "this script has no zero_optimization.stage (deepspeed)"),
        ({"r": 8}, "this script has no r (LoraConfig)"),
        ({"num_training_steps": 8}, "this script has no num_training_steps (get_scheduler)"),
        ({"learning_rate": 0.1}, "the first remedy changes nothing"),
    ],
)
def test_what_cannot_be_applied_is_no_cure(settings: Any, reason: str) -> None:
    """A value that somebody has to choose, a setting that the script does not have, and one that it has already."""
    assert change(Recipe("llama", "full", {"learning_rate": 0.1}), Outcome(settings=settings)) == (None, reason)


def test_settings_go_where_they_belong() -> None:
    """TrainingArguments and LoraConfig get theirs; a mapping adds to the one that is there; an old name becomes the new one."""
    recipe = Recipe("llama", "lora", {"gradient_checkpointing_kwargs": {"preserve_rng_state": True}})
    asked = {"gradient_checkpointing_kwargs": {"use_reentrant": False}, "r": 4, "dtype": "bfloat16"}
    changed, reason = change(recipe, Outcome(settings=asked))
    assert changed is not None and reason == ""
    both = {"preserve_rng_state": True, "use_reentrant": False}
    assert changed.of("TrainingArguments") == {"gradient_checkpointing_kwargs": both}
    assert changed.of("LoraConfig")["r"] == 4
    assert changed.get("torch_dtype") == "bfloat16"


def test_a_remedy_gets_no_more_examples_than_the_broken_run() -> None:
    """More epochs or steps are cut to the budget; smaller steps from the same examples are within it."""
    recipe = Recipe("llama", "full", {"gradient_accumulation_steps": 4}, examples=640)
    batch, examples = planned(recipe)
    assert (batch, examples) == (32, 1280)
    assert within_budget(recipe.with_settings({"num_train_epochs": 9}), examples).settings["max_steps"] == 40
    assert within_budget(recipe.with_settings({"max_steps": 400}), examples).settings["max_steps"] == 40
    smaller = recipe.with_settings({"gradient_accumulation_steps": 1})
    assert within_budget(smaller, examples) == smaller


@pytest.mark.parametrize(
    ("verdict", "loss", "reason"),
    [
        ("healthy", 1.04, ""),
        ("healthy", 1.06, "held-out loss +6%"),
        ("warning", 1.0, "warning: loss-noise (warning)"),
        ("healthy", math.nan, "held-out loss is not finite"),
    ],
)
def test_cured_is_healthy_and_as_good_as_the_control(verdict: str, loss: float, reason: str) -> None:
    """Both, or the trial is lost and the table says why."""
    assert why_not(Outcome(verdict=verdict, heldout=loss, symptoms=["loss-noise (warning)"]), 1.0) == reason


def test_what_is_held_out_does_not_depend_on_the_machine() -> None:
    """A document goes to the same split everywhere, by its name alone; each split has its share."""
    names = [f"module_{number}.py" for number in range(2000)]
    assert all(0 <= part(name) < PARTS for name in names)
    shares = {split: sum(split_of(name) == split for name in names) / len(names) for split in ("heldout", "validation", "train")}
    assert abs(shares["heldout"] - 0.18) < 0.03 and abs(shares["validation"] - 0.08) < 0.02


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_trial_runs_from_end_to_end(tmp_path: Path) -> None:
    """A broken fine-tune is diagnosed, changed by its first remedy, trained again and held against its control."""
    script, file, page = Path(__file__).parents[1] / "benchmarks" / "remedies.py", tmp_path / "trials.json", tmp_path / "page.md"
    only = ["--only", "bert lora: adapter loaded frozen", "--seeds", "5"]
    subprocess.run([sys.executable, str(script), *only, "--json", str(file), "--markdown", str(page)], check=True)
    first, other = json.loads(file.read_text())
    for run in (first, other):
        [found] = run["trials"].values()
        assert found["broken"]["cause"] == "no-gradient-to-adapter"
        assert found["broken"]["settings"] == {"is_trainable": True}
        assert found["harm"]
        assert found["cured"]["heldout"] < found["broken"]["heldout"]
    assert first["controls"] != other["controls"]
    assert page.read_text().count("Cured: 1 of 1 broken fine-tunes (100.0%)") == 2
    assert "## With other dice: seed 5" in page.read_text()
