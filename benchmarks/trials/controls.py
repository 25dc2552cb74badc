"""The fine-tunes as they should be: tuned by hand over a small grid, which `python benchmarks/remedies.py --tune` repeats.

The grid is searched on the validation rows; the held-out ones are looked at by the benchmark alone.
"""

from __future__ import annotations

from typing import Any

from trials.recipe import Recipe

#: Learning rates of the grid.
FULL, LORA, SGD = (3e-4, 1e-3, 2e-3, 4e-3), (1e-3, 3e-3, 1e-2, 2e-2), (0.01, 0.03, 0.1, 0.3)
FAMILIES = {"llama": ("full", "lora"), "gpt2": ("full", "lora"), "bert": ("full", "lora"), "t5": ("full", "lora")}
#: The best of the grid.
RATES: dict[str, float] = {
    "llama full": 2e-3,
    "llama lora": 1e-2,
    "gpt2 full": 4e-3,
    "gpt2 lora": 1e-2,
    "bert full": 2e-3,
    "bert lora": 3e-3,
    "t5 full": 4e-3,
    "t5 lora": 1e-2,
    "llama sgd": 0.03,
    "gpt2 sgd": 0.03,
    "bert sgd": 0.1,
    "t5 sgd": 0.03,
}
#: The best of the grid at twice the width (docs/evidence/rates.md).
TWICE_AS_WIDE: dict[str, float] = {
    "llama full": 2e-3, "llama lora": 1e-2, "gpt2 full": 2e-3, "gpt2 lora": 1e-2, "bert full": 1e-3, "bert lora": 3e-3,
}  # fmt: skip


def wide(family: str, method: str) -> Recipe:
    """The tuned fine-tune of a model of twice the width."""
    return Recipe(family, method, {"learning_rate": TWICE_AS_WIDE[f"{family} {method}"]}, width=128)


def control(family: str, method: str, **changes: Any) -> Recipe:
    """The tuned fine-tune; `changes` are settings."""
    rate = RATES[f"{family} {'sgd' if changes.get('optim') == 'sgd' else method}"]
    return Recipe(family, method, {"learning_rate": rate, **changes})


def grid() -> dict[str, Recipe]:
    """All that is tried."""
    tried = {}
    for family, methods in FAMILIES.items():
        for method in methods:
            for rate in FULL if method == "full" else LORA:
                tried[f"{family} {method} {rate:g}"] = Recipe(family, method, {"learning_rate": rate})
        for rate in SGD:
            more = {"optim": "sgd", "optim_args": "momentum=0.9", "learning_rate": rate}
            tried[f"{family} sgd {rate:g}"] = Recipe(family, "full", more)
    for run in FEW:
        for epochs in EPOCHS:
            tried[f"{run} few, {epochs} epochs"] = small(*run.split(), epochs)
    for run in NOISE:
        for epochs in NOISY_EPOCHS:
            tried[f"{run} noise, {epochs} epochs"] = noisy(*run.split(), epochs)
    return tried


#: Epochs of the grids with 48 examples, and with noise in the labels.
EPOCHS, NOISY_EPOCHS = (2, 3, 6, 10), (1, 2, 4)
#: The best of them, at the rate that is best for the whole data: (rate, epochs).
FEW: dict[str, tuple[float, int]] = {
    "llama full": (2e-3, 3), "gpt2 full": (4e-3, 2), "bert full": (2e-3, 3), "t5 full": (4e-3, 3), "llama lora": (1e-2, 3),
}  # fmt: skip
NOISE: dict[str, tuple[float, int]] = {"bert full": (2e-3, 2), "t5 full": (4e-3, 2)}


def small(family: str, method: str, epochs: int = 0) -> Recipe:
    """The tuned fine-tune on 48 examples."""
    rate, best = FEW[f"{family} {method}"]
    settings = {
        "learning_rate": rate,
        "num_train_epochs": epochs or best,
        "warmup_steps": 5,
        "logging_steps": 2,
        "eval_steps": 12,
        "save_steps": 12,
    }
    return Recipe(family, method, settings, examples=48)


def noisy(family: str, method: str, epochs: int = 0) -> Recipe:
    """The tuned fine-tune on data of which 40 % of the labels are noise."""
    rate, best = NOISE[f"{family} {method}"]
    return Recipe(family, method, {"learning_rate": rate, "num_train_epochs": epochs or best}, data=frozenset({"noise 0.4"}))
