"""Differences between two configurations: what they come to, how much of it matters, and why."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import write_state
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.comparing import sides_at
from lossdoctor.comparison import sides
from lossdoctor.comparison.defaults import default
from lossdoctor.comparison.differences import differences
from lossdoctor.comparison.impacts import bookkeeping, raters, rating
from lossdoctor.comparison.nouns import WEIGHT, Difference
from lossdoctor.comparison.quantities import ALL
from lossdoctor.facts.canonical import NAMES
from lossdoctor.facts.values import coerce
from lossdoctor.model import Fact, LossDoctorError, Run
from lossdoctor.plan import Plan, plan_of

PAIRS = Path(__file__).parent / "comparisons"
#: Values to draw from: small sets, so that sides often agree.
DRAWN: dict[str, list[Any]] = {
    "learning_rate": [1e-5, 2e-5, 2e-4, 5e-4, 2.0],
    "lr_scheduler_type": ["constant", "linear", "cosine", "constant_with_warmup", "inverse_sqrt"],
    "warmup_ratio": [0.0, 0.03, 0.1, 5.0],
    "warmup_steps": [0.0, 0.05, 100.0],
    "per_device_train_batch_size": [1, 8, 32],
    "gradient_accumulation_steps": [1, 2, 16],
    "world_size": [1, 4],
    "num_train_epochs": [1.0, 2.5, 3.0, 10.0],
    "max_steps": [60, 500],
    "dataset_size": [100, 12_000, 500_000],
    "weight_decay": [0.0, 0.01, 100.0],
    "lora_r": [4, 16, 128],
    "lora_alpha": [16.0, 32.0, 256.0],
    "use_rslora": [True, False],
    "lora_target_modules": [["q_proj", "v_proj"], "all-linear"],
    "finetuning_type": ["lora", "full"],
    "trainable_layers": ["-4:", "28-31", ["-1", "-2"]],
    "num_hidden_layers": [32],
    "bf16": [True, False],
    "fp16": [True, False],
    "optim": ["adamw_torch", "adafactor", "paged_adamw_8bit"],
    "packing": [True, False],
    "max_length": [256, 320, 4096],
    "max_grad_norm": [0.0, 0.3, 1.0],
    "model_name_or_path": ["Qwen/Qwen2-7B", "gpt2"],
    "gpu": ["T4", "4x A100"],
    "zero_stage": [2, 3],
    "seed": [1, 42],
    "trainer": ["SFTConfig", "DPOConfig"],
    "logging_steps": [1.0, 50.0],
    "transformers_version": ["4.44.0", "5.1.0"],
}
CONFIGURATIONS = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in DRAWN.items()})


def plan(**facts: Any) -> Plan:
    return plan_of(Run(facts={name: Fact(value, "a.yaml") for name, value in facts.items()}))


def found(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Difference]:
    return {difference.name: difference for difference in differences(plan(**one), plan(**other))}


def sides_of(name: str) -> list[Plan]:
    paths = [next((PAIRS / name).glob(f"{side}.*")) for side in "ab"]
    return [next(sides_at(str(path))).plan for path in paths]


def written(shown: tuple[Difference, ...]) -> str:
    lines = []
    for difference in shown:
        what = f"{difference.name} ({', '.join(difference.settings)})" if difference.settings else difference.name
        mark = difference.impact if difference.judged else "not judged"
        lines.append(f"{mark}: {what}: {difference.values[0]} | {difference.values[1]}")
        lines += [f"  {words}" for words in (difference.change, difference.reason, difference.slip) if words]
        lines += [f"  {source}" for source in difference.sources]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", sorted(folder.name for folder in PAIRS.iterdir()))
def test_a_pair_of_files_is_told_as_expected(name: str) -> None:
    """What users read of each pair under tests/comparisons stands beside it."""
    told, file = written(differences(*sides_of(name))), PAIRS / name / "expected.txt"
    if os.environ.get("UPDATE_CASES"):
        file.write_text(told, encoding="utf-8")
    assert told == file.read_text(encoding="utf-8")


def test_the_pair_of_the_report() -> None:
    """Equal effective batch, equal alpha/r, 3.3 times the steps, and each of the eight differences with its rating."""
    shown = {difference.name: difference for difference in differences(*sides_of("the_report"))}
    batch, scale = shown["effective batch"], shown["adapter scale"]
    assert (batch.values, batch.impact, scale.values, scale.impact) == ((128, 128), "none", (2, 2), "none")
    assert "32 × 1 × 4 and 16 × 2 × 4 both take 128 examples per step" in batch.reason
    assert "does not make the adaptation stronger" in scale.reason
    assert "×3.3 for the same data" in shown["total optimizer steps"].reason
    impacts = {name: shown[name].impact for name in ("peak learning rate", "passes over the data", "learning-rate schedule")}
    assert impacts == {"peak learning rate": "high", "passes over the data": "high", "learning-rate schedule": "medium"}
    assert {shown[name].impact for name in ("lora_r", "weight_decay", "max_length")} == {"low"}
    assert "0.834 times the sum" in shown["sum of learning rates"].reason


def test_the_dialect_does_not_matter() -> None:
    """The same pair as TrainingArguments and LLaMA-Factory tells the same ratings as in kedro parameters."""
    names = (
        "effective batch",
        "adapter scale",
        "peak learning rate",
        "passes over the data",
        "lora_r",
        "weight_decay",
        "max_length",
    )
    kedro, mixed = (
        {difference.name: difference.impact for difference in differences(*sides_of(name))}
        for name in ("the_report", "across_dialects")
    )
    assert {name: kedro[name] for name in names} == {name: mixed[name] for name in names}


@given(CONFIGURATIONS)
def test_a_configuration_does_not_differ_from_itself(facts: dict[str, Any]) -> None:
    """Nothing is told of two sides that state the same."""
    assert differences(plan(**facts), plan(**facts)) == ()


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_exchanging_the_sides_turns_the_direction_and_keeps_the_impact(one: dict[str, Any], other: dict[str, Any]) -> None:
    """What is raised one way is lowered the other way, and matters as much."""
    there, back = found(one, other), found(other, one)
    assert there.keys() == back.keys()
    for name, difference in there.items():
        turned = back[name]
        assert (difference.impact, difference.judged, difference.settings) == (turned.impact, turned.judged, turned.settings), (
            name
        )
        assert difference.values == turned.values[::-1]
        assert difference.change.startswith("raised") == turned.change.startswith("lowered"), name
        assert bool(difference.slip) == bool(turned.slip), name


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_every_difference_says_why_and_the_largest_come_first(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Derived quantities stand before settings, each group by impact; no setting is rated beside the quantity it is in."""
    shown = differences(plan(**one), plan(**other))
    assert [difference.derived for difference in shown] == sorted((d.derived for d in shown), reverse=True)
    for derived in (True, False):
        weights = [WEIGHT[difference.impact] for difference in shown if difference.derived is derived]
        assert weights == sorted(weights, reverse=True)
    assert all(difference.reason and "None" not in difference.reason for difference in shown)
    explained = {name for quantity in ALL for name in quantity.settings}
    own = {difference.name for difference in shown if not difference.derived}
    quantities = {difference.name: difference for difference in shown if difference.derived}
    for quantity in ALL:
        if quantity.name in quantities:
            assert not own & set(quantity.settings) & explained


@given(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 8]), st.sampled_from([1, 4]), st.sampled_from([100, 5000, None]))
def test_another_factorisation_of_the_batch_is_equal_in_effect(each: int, accumulation: int, gpus: int, rows: int | None) -> None:
    """Only the effective batch is told, and that it is the same."""
    more = {"learning_rate": 2e-4, "num_train_epochs": 2.0, **({"dataset_size": rows} if rows else {})}
    whole = each * accumulation * gpus
    one = {"per_device_train_batch_size": each, "gradient_accumulation_steps": accumulation, "world_size": gpus, **more}
    other = {"per_device_train_batch_size": whole, "gradient_accumulation_steps": 1, "world_size": 1, **more}
    shown = found(one, other)
    if one == other:
        assert not shown
    else:
        assert shown["effective batch"].values == (whole, whole)
        assert {difference.impact for difference in shown.values()} == {"none"}


def test_every_fact_has_a_rating() -> None:
    """No fact is without one, and what does not change the training says so."""
    assert set(NAMES) <= set(raters()), sorted(set(NAMES) - set(raters()))
    assert bookkeeping() <= set(NAMES)
    assert {quantity.name for quantity in ALL} <= set(raters())
    assert set(raters()) == set(NAMES) | {quantity.name for quantity in ALL}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_rating_bears_any_value(name: str) -> None:
    """Each fact is rated with values of every kind that it takes, whichever side comes first, and alone as well."""
    tries: list[Any] = []
    for raw in (
        True,
        False,
        0,
        1,
        3,
        0.5,
        1e-300,
        1e17,
        -4,
        "4",
        "fp16",
        "auto",
        ["a", "b"],
        "x" * 300,
        {"a": 1},
        {"b": {"c": 2}},
    ):
        try:
            tries.append(coerce(name, NAMES[name], raw))
        except LossDoctorError:
            continue
    usual = {"learning_rate": 2e-4, "lora_r": 16, "lora_alpha": 32.0, "per_device_train_batch_size": 4, "dataset_size": 1000}
    for first in tries:
        for second in tries:
            one, other = plan(**{**usual, name: first}), plan(**{**usual, name: second})
            assert rating(name, one, other).impact == rating(name, other, one).impact
            differences(one, other)
            differences(plan(**{name: first}), plan(**{name: second}))
        assert rating(name, plan(**{name: first}), plan()).reason


def test_sources_are_addresses() -> None:
    """Whoever doubts a rating can read where it is from."""
    shown = [difference for folder in PAIRS.iterdir() for difference in differences(*sides_of(folder.name))]
    assert all(source.startswith("https://") for difference in shown for source in difference.sources)
    silent = {difference.name for difference in shown if difference.impact == "high" and not difference.sources}
    assert silent <= {"model_name_or_path", "dataset", "warm-up"}, silent


def test_a_rate_is_rated_by_its_method() -> None:
    """2e-5 for all weights and 2e-4 for LoRA are the same place in their bands; 2e-4 for all weights is not."""
    full, lora = {"finetuning_type": "full", "learning_rate": 2e-5}, {"finetuning_type": "lora", "learning_rate": 2e-4}
    assert found(full, lora)["peak learning rate"].impact == "low"
    assert found(full, {**full, "learning_rate": 2e-4})["peak learning rate"].impact == "high"
    assert found(lora, {**lora, "learning_rate": 3e-4})["peak learning rate"].impact == "low"


def test_half_the_rate_over_twice_the_steps_is_as_much_travel() -> None:
    """Changes of rate and length that cancel are said to."""
    one = {"use_lora": True, "learning_rate": 2e-4, "max_steps": 500, "per_device_train_batch_size": 4}
    travel = found(one, {**one, "learning_rate": 1e-4, "max_steps": 1000})["sum of learning rates"]
    assert travel.impact == "none" and "cancel each other" in travel.reason
    steady = {**one, "lr_scheduler_type": "constant"}
    travel = found(steady, {**steady, "learning_rate": 1e-4, "max_steps": 1000})["sum of learning rates"]
    assert travel.values == (0.1, 0.1) and "cancel each other" in travel.reason


def test_a_default_is_compared_with_where_it_is_certain() -> None:
    """Weight decay 0 stated on one side only is the default of the other; with DeepSpeed alone nobody knows."""
    usual = {"learning_rate": 2e-5, "per_device_train_batch_size": 4}
    assert "weight_decay" not in found({**usual, "weight_decay": 0.0}, usual)
    assert "the default where one side does not say" in found({**usual, "weight_decay": 0.1}, usual)["weight_decay"].reason
    alone = {"deepspeed": True, "learning_rate": 2e-5, "per_device_train_batch_size": 4, "bf16": True}
    assert not found({**alone, "weight_decay": 0.1}, alone)["weight_decay"].judged
    assert default("learning_rate", Run(facts={"trainer": Fact("SFTConfig", ""), "max_steps": Fact(5, "")})) is None
    assert default("weight_decay", Run(kind="trainer_state", facts={"max_steps": Fact(5, "")})) is None


def test_what_only_one_side_knows_of_machine_and_data_holds_for_both() -> None:
    """Four GPUs and 6,400 rows stated once are taken for both, which is said; other data are other rows."""
    one = {"per_device_train_batch_size": 8, "world_size": 4, "dataset_size": 6400, "num_train_epochs": 2.0}
    shown = found(one, {"per_device_train_batch_size": 16, "num_train_epochs": 2.0})
    assert shown["effective batch"].values == (32, 64) and "4 processes are taken for both" in shown["effective batch"].reason
    assert shown["total optimizer steps"].values == (400, 200)
    elsewhere = found({**one, "dataset": "a"}, {"per_device_train_batch_size": 16, "num_train_epochs": 2.0, "dataset": "b"})
    assert elsewhere["total optimizer steps"].values == ("62.5 per 1,000 examples", "31.25 per 1,000 examples")


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"learning_rate": 5e-5}, {"learning_rate": 2e-4}, "2e-4 (0.0002) is more than 5e-5 (0.00005)"),
        ({"learning_rate": 3e-5}, {"learning_rate": 3e5}, "the minus of the exponent may be missing"),
        (
            {"weight_decay": 1e-2, "learning_rate": 1e-5},
            {"weight_decay": 1e2, "learning_rate": 1e-5},
            "the minus of the exponent",
        ),
        ({"warmup_ratio": 0.03, "max_steps": 100}, {"warmup_ratio": 3.0, "max_steps": 100}, "3 % is 0.03"),
        ({"lora_dropout": 0.1, "lora_r": 8}, {"lora_dropout": 10.0, "lora_r": 8}, "10 % is 0.1"),
        ({"warmup_steps": 0.1, "max_steps": 100}, {"warmup_steps": 50.0, "max_steps": 100}, "less than one step before that"),
        ({"warmup_steps": 9.0, "warmup_ratio": 0.1, "max_steps": 50}, {"warmup_steps": 2.0, "max_steps": 50}, "the steps win"),
        ({"lora_r": 8, "lora_alpha": 32.0}, {"lora_r": 32, "lora_alpha": 8.0}, "may have changed places"),
        ({"max_steps": 50, "num_train_epochs": 9.0}, {"max_steps": 60}, "max_steps wins"),
        ({"trainable_layers": "-4"}, {"trainable_layers": "-4:"}, "the last 4 layers are written -4:"),
        (
            {"per_device_train_batch_size": 64, "world_size": 8},
            {"per_device_train_batch_size": 8, "world_size": 8},
            "64 is the batch per device on one side, where a step takes 512",
        ),
    ],
)
def test_slips_are_pointed_out(one: dict[str, Any], other: dict[str, Any], words: str) -> None:
    """Each in one sentence, with the first difference that it is behind."""
    told = [difference.slip for difference in found(one, other).values() if difference.slip]
    assert any(words in slip for slip in told), told
    assert len(told) == len(set(told))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"learning_rate": 1e-4}, {"learning_rate": 2e-4}),
        ({"warmup_ratio": 0.03, "max_steps": 100}, {"warmup_ratio": 0.1, "max_steps": 100}),
        ({"lora_r": 8, "lora_alpha": 16.0}, {"lora_r": 16, "lora_alpha": 32.0}),
        ({"weight_decay": 0.01, "learning_rate": 1e-4}, {"weight_decay": 0.002, "learning_rate": 1e-4}),
        ({"adam_beta2": 0.999, "learning_rate": 1e-4}, {"adam_beta2": 0.95, "learning_rate": 1e-4}),
        ({"max_steps": 100}, {"num_train_epochs": 3.0, "per_device_train_batch_size": 4}),
    ],
)
def test_usual_changes_are_no_slips(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Whoever changes a setting in the usual way is not told of slips."""
    assert not [difference.slip for difference in found(one, other).values() if difference.slip]


def test_all_linear_is_not_two_attention_modules() -> None:
    """Between two sources of one run "all-linear" and a list may mean the same; between two runs they differ."""
    shown = found({"lora_r": 8, "lora_target_modules": ["q_proj", "v_proj"]}, {"lora_r": 8, "lora_target_modules": "all-linear"})
    assert shown["lora_target_modules"].impact == "high"
    same = {"lora_r": 8, "lora_target_modules": ["model.q_proj", "v_proj"]}
    assert "lora_target_modules" not in found(same, {"lora_r": 8, "lora_target_modules": ["v_proj", "q_proj"]})


def test_packed_examples_are_not_counted_as_steps() -> None:
    """With packing nobody knows how many sequences the examples make: no ratio of steps is claimed."""
    usual = {"per_device_train_batch_size": 8, "num_train_epochs": 2.0, "dataset_size": 800, "packing": True}
    assert "total optimizer steps" not in found(usual, {**usual, "num_train_epochs": 4.0})


def test_logging_and_versions_do_not_change_the_training() -> None:
    """They are told, with impact "none"."""
    usual = {"learning_rate": 2e-5, "per_device_train_batch_size": 4}
    shown = found({**usual, "logging_steps": 10.0, "torch_version": "2.5"}, {**usual, "logging_steps": 50.0, "save_steps": 5.0})
    assert {shown[name].impact for name in ("logging_steps", "torch_version", "save_steps")} == {"none"}


def test_a_configuration_or_a_run_becomes_a_side(tmp_path: Path) -> None:
    """A file of settings has a plan alone, a log has its report as well; what is neither is refused in one line."""
    rows = [{"step": step, "epoch": step / 100, "loss": 2.0, "learning_rate": 2e-4} for step in range(1, 30)]
    state = write_state(tmp_path / "run", rows, max_steps=29, train_batch_size=8)
    (tmp_path / "arguments.json").write_text(json.dumps({"learning_rate": 2e-4, "num_train_epochs": 3}))
    (tmp_path / "run" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 16, "lora_alpha": 32}))
    run, configuration = next(sides_at(str(state))), next(sides_at(str(tmp_path / "arguments.json")))
    assert run.log and run.report and run.plan.adapter_scale and run.plan.adapter_scale.value == 2
    assert configuration.log is None and configuration.plan.get("learning_rate") == 2e-4
    assert "num_train_epochs" in {d.name for d in differences(run.plan, configuration.plan)}
    (tmp_path / "neither.json").write_text("[1, 2]")
    with pytest.raises(LossDoctorError):
        next(sides_at(str(tmp_path / "neither.json")))
    with pytest.raises(LossDoctorError):
        next(sides_at(str(tmp_path / "missing.yaml")))


def test_the_rate_of_a_log_is_its_highest(tmp_path: Path) -> None:
    """Two logs without any configuration differ in their rates all the same."""
    plans = []
    for name, peak in (("one", 2e-4), ("other", 2e-5)):
        rows = [{"step": s, "epoch": s / 100, "loss": 2.0, "learning_rate": peak * (1 - s / 100)} for s in range(0, 60, 5)]
        plans.append(next(sides_at(str(write_state(tmp_path / name, rows, max_steps=100)))).plan)
    assert {d.name for d in differences(*plans)} == {"peak learning rate"}


def test_what_the_user_says_wins_over_a_configuration(tmp_path: Path) -> None:
    """`--set` is laid over the file."""
    (tmp_path / "a.yaml").write_text("learning_rate: 1.0e-4\nlora_r: 8\n")
    side = next(sides_at(str(tmp_path / "a.yaml"), {"learning_rate": Fact(5e-5, "--set")}))
    assert (side.plan.get("learning_rate"), side.plan.get("lora_r")) == (5e-5, 8)


def test_a_number_that_yaml_takes_for_text_is_noted(tmp_path: Path) -> None:
    """1e-5 without a point is text to PyYAML; 1.0e-5 is a number."""
    (tmp_path / "a.yaml").write_text("learning_rate: 1e-5\nweight_decay: 1.0e-2\nother: 1e-5\n")
    notes = next(sides_at(str(tmp_path / "a.yaml"))).plan.run.notes
    assert notes == ("a.yaml: learning_rate: 1e-5 is text to PyYAML, which wants 1.0e-5; it is read as a number here",)


def test_sides_of_one_name_are_told_apart() -> None:
    """Two files of one name get a number."""
    named = sides.told_apart(tuple(sides.of_facts(name, {}) for name in ("a", "b", "a")))
    assert [side.name for side in named] == ["a (1)", "b", "a (2)"]
