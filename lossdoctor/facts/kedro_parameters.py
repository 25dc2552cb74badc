"""Parameters in sections, as Kedro projects, accelerate and many scripts of one's own keep them: flattened by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lossdoctor.facts import deepspeed_config
from lossdoctor.facts.canonical import canonical

DEEPEST = 4
#: Sections of which some short names mean something of their own.
_ADAPTER = ("lora", "peft", "adapter")
_MODEL = ("model", "base_model")
#: Names that are too short to trust outside the section that they belong to.
_ADAPTER_NAMES = {"r": "lora_r", "rank": "lora_r", "alpha": "lora_alpha", "dropout": "lora_dropout"}
_MODEL_NAMES = {"name": "model_name_or_path", "path": "model_name_or_path", "id": "model_name_or_path"}
_NEVER_TOP = ("r", "rank", "alpha", "stage", "filter", "model", "scheduler", "optimizer")
#: Mappings that are a fact as they stand.
_FACTS = ("lr_scheduler_kwargs", "gradient_checkpointing_kwargs")
#: Sections that speak of something other than the training.
_OTHER = ("generation", "inference", "eval", "test", "wandb", "mlflow", "tokenizer", "serving")


def recognise(values: Mapping[str, Any]) -> bool:
    """By a section, within which a fact has its usual name."""
    return any(isinstance(value, dict) and name not in _FACTS for name, value in values.items())


def names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of all sections; where two have the same one, the outer and then the earlier section counts."""
    found: dict[str, Any] = {}
    for _, name, value in sorted(_walk(values, (), 0), key=lambda item: item[0]):
        found.setdefault(name, value)
    if "scheduler_steps" in found and not {canonical(name) for name in found} & {"max_steps", "num_train_epochs"}:
        found["max_steps"] = found["scheduler_steps"]
    return found


def _walk(values: Mapping[str, Any], section: tuple[str, ...], depth: int) -> Iterator[tuple[int, str, Any]]:
    if section and deepspeed_config.recognise(values):
        for name, value in deepspeed_config.names(values).items():
            if value is not None and name != "max_steps":  # its scheduler's, which speaks of the run where nothing else does
                yield depth, name, dict(values) if name == "deepspeed" else value
        return
    for key, value in values.items():
        name = str(key)
        if isinstance(value, dict) and name not in _FACTS:
            if depth < DEEPEST and not name.lower().startswith(_OTHER):
                yield from _walk(value, (*section, name.lower()), depth + 1)
        elif value is not None and (known := _known(name, section)):
            yield depth, known, value


def _known(name: str, section: tuple[str, ...]) -> str | None:
    """The name as the section means it, or None where it means nothing that is known."""
    inner = section[-1] if section else ""
    if any(word in inner for word in _ADAPTER) and name in _ADAPTER_NAMES:
        return _ADAPTER_NAMES[name]
    if inner.startswith(_MODEL) and name in _MODEL_NAMES:
        return _MODEL_NAMES[name]
    return None if section and name in _NEVER_TOP else name
