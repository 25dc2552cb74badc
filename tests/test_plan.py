"""What a configuration comes to before its first step, worked out by hand and held against the libraries themselves."""

from __future__ import annotations

from itertools import product
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.layers import MOST, Layers, chosen, last
from lossdoctor.model import Fact, Run
from lossdoctor.plan import Plan, plan_of
from lossdoctor.planned_rates import DECAYING, STANDING, planned


def run(**facts: Any) -> Run:
    return Run(facts={name: Fact(value, "test") for name, value in facts.items()})


def plan(**facts: Any) -> Plan:
    return plan_of(run(**facts))


def value(quantity: Any) -> float | None:
    return None if quantity is None else quantity.value


@pytest.mark.parametrize(
    ("facts", "batch", "assumed"),
    [
        ({"per_device_train_batch_size": 32, "gradient_accumulation_steps": 1, "world_size": 4}, 128, ()),
        ({"per_device_train_batch_size": 16, "gradient_accumulation_steps": 2, "gpu": "4x A100"}, 128, ()),
        ({"per_device_train_batch_size": 4}, 4, ("no accumulation", "one process")),
        ({"gradient_accumulation_steps": 4}, 32, ("8 per device, the Trainer's default", "one process")),
        ({"total_train_batch_size": 256, "per_device_train_batch_size": 4}, 256, ()),
        ({"gradient_accumulation_steps": 4, "framework": "axolotl"}, None, ()),
        ({}, None, ()),
    ],
)
def test_the_effective_batch_is_per_device_times_accumulation_times_processes(
    facts: dict[str, Any], batch: int | None, assumed: tuple[str, ...]
) -> None:
    """A stated total is used where one of the three is missing, and what is assumed is said."""
    found = plan(**facts).effective_batch
    assert value(found) == batch
    assert found is None or found.assumed == assumed


def test_several_gpus_of_unknown_number_are_said_to_be_assumed() -> None:
    """`multi_gpu` says that there is more than one: two are taken, and that is said."""
    found = plan(per_device_train_batch_size=4, gradient_accumulation_steps=1, multi_gpu=True).effective_batch
    assert found and found.whole == 8 and "not said how many GPUs" in found.assumed[0]


@pytest.mark.parametrize(
    ("facts", "each", "total", "seen"),
    [
        ({"dataset_size": 1000, "num_train_epochs": 3.0}, 63, 189, 3000),
        ({"dataset_size": 1000, "num_train_epochs": 2.5, "gradient_accumulation_steps": 4}, 63, 158, 2500),
        ({"dataset_size": 1000, "max_steps": 100}, 63, 100, 1600),
        ({"dataset_size": 1000, "max_steps": 100, "num_train_epochs": 9.0}, 63, 100, 1600),
        ({"dataset_size": 1000, "num_train_epochs": 1.0, "dataloader_drop_last": True}, 62, 62, 1000),
        ({"dataset_size": 5, "num_train_epochs": 2.0}, 1, 2, 10),
        ({"max_steps": 100}, None, 100, 1600),
        ({"num_train_epochs": 3.0}, None, None, None),
        ({"dataset_size": 1000, "num_train_epochs": 3.0, "packing": True}, None, None, 3000),
    ],
)
def test_steps_and_examples_by_hand(facts: dict[str, Any], each: int | None, total: int | None, seen: int | None) -> None:
    """16 examples per step: an incomplete last step counts, max_steps wins, packed sequences are not counted."""
    micro = 16 // facts.get("gradient_accumulation_steps", 1)
    found = plan(per_device_train_batch_size=micro, world_size=1, **{"gradient_accumulation_steps": 1, **facts})
    assert (value(found.steps_per_epoch), value(found.total_steps), value(found.examples_seen)) == (each, total, seen)


def test_tokens_are_at_most_the_limit_of_each_example() -> None:
    """With packing every sequence is full, so steps count; without it examples do."""
    usual = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "world_size": 1, "max_length": 512}
    assert value(plan(**usual, max_steps=10).tokens_seen) == 10 * 4 * 512
    assert value(plan(**usual, max_steps=10, packing=True).tokens_seen) == 10 * 4 * 512
    assert plan(**usual, dataset_size=100, num_train_epochs=2.0, packing=True).tokens_seen is None


def test_steps_for_each_example_are_known_without_the_data() -> None:
    """Epochs / effective batch; a stated number of steps or packing leaves it open."""
    usual = {"per_device_train_batch_size": 32, "gradient_accumulation_steps": 1, "world_size": 4, "num_train_epochs": 3.0}
    assert plan(**usual).steps_per_example == 3 / 128
    assert plan(**usual, max_steps=5).steps_per_example is None
    assert plan(**usual, packing=True).steps_per_example is None


def test_the_scale_of_an_adapter() -> None:
    """alpha / r, with rsLoRA alpha / √r; the default of alpha is certain in LLaMA-Factory alone."""
    assert value(plan(lora_r=128, lora_alpha=256.0).adapter_scale) == 2
    assert value(plan(lora_r=16, lora_alpha=16.0, use_rslora=True).adapter_scale) == 16 / sqrt(16)
    assert plan(lora_r=16).adapter_scale is None
    assumed = plan(lora_r=16, framework="LLaMA-Factory").adapter_scale
    assert assumed and assumed.value == 2 and "LLaMA-Factory's default" in assumed.assumed[0]


@pytest.mark.parametrize(
    ("facts", "steps"),
    [
        ({"warmup_steps": 50.0, "max_steps": 1000}, 50),
        ({"warmup_ratio": 0.03, "max_steps": 1001}, 31),
        ({"warmup_steps": 0.05, "max_steps": 1000}, 50),
        ({"warmup_steps": 50.0, "warmup_ratio": 0.5, "max_steps": 1000}, 50),
        ({"warmup_ratio": 0.03}, None),
        ({"warmup_steps": 50.0}, 50),
        ({"max_steps": 1000}, None),
    ],
)
def test_the_warm_up(facts: dict[str, Any], steps: int | None) -> None:
    """Steps win over a share; a share of an unknown number of steps is not known."""
    assert value(plan(**facts).warmup) == steps


@pytest.mark.parametrize(
    ("written", "indexes", "words"),
    [
        ("-4:", (28, 29, 30, 31), "layers 28 to 31 of 32"),
        ("28-31", (28, 29, 30, 31), "layers 28 to 31 of 32"),
        ("28 to 31", (28, 29, 30, 31), "layers 28 to 31 of 32"),
        ("28..31", (28, 29, 30, 31), "layers 28 to 31 of 32"),
        ("28 - 31", (28, 29, 30, 31), "layers 28 to 31 of 32"),
        ("last 4", (28, 29, 30, 31), "layers 28 to 31 of 32"),
        ("first_2", (0, 1), "layers 0 to 1 of 32"),
        (["-1", "-2"], (30, 31), "layers 30 to 31 of 32"),
        ("[-1, -2]", (30, 31), "layers 30 to 31 of 32"),
        ("-4--1", (28, 29, 30, 31), "layers 28 to 31 of 32"),
        ("0, 1, 30-31", (0, 1, 30, 31), "layers 0 to 1, 30 to 31 of 32"),
        (-4, (28,), "layer 28 of 32"),
        ("40", (), "no layer"),
        (":2", (0, 1), "layers 0 to 1 of 32"),
        ("all", tuple(range(32)), "all 32 layers"),
        ("none", (), "no layer"),
    ],
)
def test_layers_of_a_model_with_32(written: Any, indexes: tuple[int, ...], words: str) -> None:
    """However they are written, counted from the front."""
    found = chosen(written, 32)
    assert found and found.indexes == indexes and found.count == len(indexes) and found.words == words


@pytest.mark.parametrize(
    ("written", "count", "words"),
    [
        ("-4:", 4, "the last 4 layers"),
        ("last 4", 4, "the last 4 layers"),
        ([-1, -2, -3, -4], 4, "the last 4 layers"),
        (-1, 1, "the last layer"),
        ("20:", None, "layers from 20 on"),
        ("all", None, "all layers"),
        ("28-31", 4, "layers 28 to 31"),
    ],
)
def test_layers_of_a_model_of_unknown_size(written: Any, count: int | None, words: str) -> None:
    """From the end they are counted as well; how many there are from the twentieth on is not known."""
    found = chosen(written)
    assert found and found.count == count and found.words == words


@pytest.mark.parametrize("written", [None, True, "", "some", "0:-1", "-4:2", {"a": 1}, [None], "q_proj"])
def test_what_names_no_layers(written: Any) -> None:
    """Nothing is guessed: a slice from both ends is not known without the number of layers."""
    assert chosen(written) is None


def test_a_freeze_of_llama_factory_trains_the_last_layers() -> None:
    """A negative count means the first ones."""
    assert last(2, 32) == Layers((30, 31), 32)
    assert last(-2, 32) == Layers((0, 1), 32)
    found = plan(finetuning_type="freeze", freeze_trainable_layers=2, num_hidden_layers=32).trained_layers
    assert found == Layers((30, 31), 32)


@given(st.text("-:0123456789, to.[]alls", max_size=24), st.sampled_from([None, 1, 32]))
def test_any_text_is_layers_or_nothing(written: str, total: int | None) -> None:
    """No text raises an error, names a layer that is not there, or makes more of them than a model can have."""
    found = chosen(written, total)
    if found is not None:
        assert found.words and len(found.indexes) <= 10 * (MOST + 1)
        assert total is None or all(0 <= index < total for index in found.indexes)


SCHEDULES: dict[str, list[dict[str, Any]]] = {
    "linear": [{}],
    "cosine": [{}, {"num_cycles": 1.5}],
    "cosine_with_restarts": [{}, {"num_cycles": 3}],
    "polynomial": [{}, {"power": 2.0, "lr_end": 1e-6}],
    "constant": [{}],
    "constant_with_warmup": [{}],
    "inverse_sqrt": [{}, {"timescale": 50}],
    "cosine_with_min_lr": [{"min_lr": 1e-5}, {"min_lr_rate": 0.1}],
    "cosine_warmup_with_min_lr": [{"min_lr_rate": 0.1}, {"min_lr": 1e-5, "warmup_lr_rate": 0.2}],
    "warmup_stable_decay": [
        {"num_decay_steps": 20},
        {"num_decay_steps": 15, "num_stable_steps": 10, "min_lr_ratio": 0.1},
        {"num_decay_steps": 20, "decay_type": "linear", "warmup_type": "cosine"},
        {"num_decay_steps": 20, "decay_type": "1-sqrt", "warmup_type": "1-sqrt", "min_lr_ratio": 0.2},
    ],
}


def test_every_schedule_is_tried() -> None:
    """No schedule that is planned is left out of the comparison with transformers."""
    assert set(SCHEDULES) == {*DECAYING, *STANDING, "inverse_sqrt"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
def test_planned_rates_are_those_of_transformers(name: str) -> None:
    """Every rate of `get_scheduler`, at every step, with and without a warm-up; and their mean."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    for more, warmup, total in product(SCHEDULES[name], (0, 1, 10), (47, 100)):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
        scheduler = transformers.get_scheduler(name, optimizer, warmup, total, dict(more))
        rates = planned(
            run(learning_rate=2e-4, lr_scheduler_type=name, warmup_steps=float(warmup), lr_scheduler_kwargs=more), total
        )
        assert rates is not None
        real = []
        for step in range(total):
            real += scheduler.get_last_lr()
            assert rates.at(step) == pytest.approx(real[-1], abs=1e-12), (more, warmup, total, step)
            optimizer.step()
            scheduler.step()
        assert rates.mean() == pytest.approx(sum(real) / total) and rates.last == pytest.approx(real[-1], abs=1e-12)
        assert rates.travel == pytest.approx(sum(real))


def test_a_mean_over_many_steps_is_close_enough() -> None:
    """A million steps are taken at two thousand points."""
    rates = planned(run(learning_rate=1e-4, lr_scheduler_type="cosine", warmup_ratio=0.1), 1_000_000)
    assert rates and rates.mean() == pytest.approx(1e-4 * (0.05 + 0.45), rel=1e-3)


def test_defaults_of_the_rate_are_said_or_left_alone() -> None:
    """The Trainer's 5e-5 and linear decay are assumed of its own arguments, not of axolotl, TRL or DeepSpeed alone."""
    rates = planned(run(per_device_train_batch_size=4, num_train_epochs=1.0), 100)
    assert rates and (rates.name, rates.peak) == ("linear", 5e-5) and len(rates.assumed) == 2
    assert planned(run(trainer="SFTConfig", num_train_epochs=1.0), 100) is None
    assert planned(run(framework="axolotl", learning_rate=1e-4), 100) is None
    assert planned(run(deepspeed=True, learning_rate=1e-4, bf16=True), 100) is None
    assert planned(run(framework="LLaMA-Factory", trainer="sft", lora_r=8), 100) is not None
    assert planned(run(learning_rate=True), 100) is None and planned(run(learning_rate=0.0), 100) is None


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("drop", [False, True])
def test_the_steps_of_a_real_trainer_are_those_planned(accumulation: int, drop: bool, tmp_path: Path) -> None:
    """`state.max_steps` after a training over sets of several sizes, by epochs and by max_steps."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

    class Tiny(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: Any = None, labels: Any = None) -> dict[str, Any]:
            return {"loss": ((self.weight * x.sum() - labels.sum()) ** 2).mean()}

    for rows, length in product((3, 8, 13, 17), ({"num_train_epochs": 2.0}, {"num_train_epochs": 1.5}, {"max_steps": 5})):
        if drop and rows < 4:
            continue  # a loader without a batch trains nothing
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=4,
            gradient_accumulation_steps=accumulation,
            dataloader_drop_last=drop,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            **length,
        )
        data = [{"x": torch.ones(1), "labels": torch.ones(1)} for _ in range(rows)]
        trainer = transformers.Trainer(model=Tiny(), args=arguments, train_dataset=data)
        trainer.train()
        found = plan(
            per_device_train_batch_size=4,
            gradient_accumulation_steps=accumulation,
            dataloader_drop_last=drop,
            dataset_size=rows,
            world_size=1,
            **length,
        )
        assert found.total_steps and found.total_steps.whole == trainer.state.max_steps == trainer.state.global_step, (
            rows,
            length,
        )
