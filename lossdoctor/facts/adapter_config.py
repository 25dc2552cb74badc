"""`adapter_config.json`, as PEFT saves it beside an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossdoctor.facts.canonical import translate
from lossdoctor.facts.files import mapping
from lossdoctor.model import Fact


def read(path: Path) -> dict[str, Fact]:
    """Rank, alpha, dropout, target modules and the base model of the adapter."""
    return translate(names(mapping(path)), "adapter_config.json")


def recognise(values: Mapping[str, Any]) -> bool:
    """By the method that PEFT writes into every one of them."""
    return isinstance(values.get("peft_type"), str) and "learning_rate" not in values


def names(values: Mapping[str, Any]) -> dict[str, Any]:
    """What PEFT writes, under canonical names."""
    lora = values.get("peft_type") in ("LORA", "ADALORA", "LOHA", "LOKR")
    return {
        "model_name_or_path": values.get("base_model_name_or_path"),
        "peft_type": None if lora else values.get("peft_type"),
        "lora_r": values.get("r"),
        "lora_alpha": values.get("lora_alpha"),
        "lora_dropout": values.get("lora_dropout"),
        "lora_target_modules": values.get("target_modules"),
        "lora_layers": values.get("layers_to_transform"),
        "lora_modules_to_save": values.get("modules_to_save") or None,
        "use_rslora": values.get("use_rslora"),
        "use_dora": values.get("use_dora"),
        "use_lora": True if lora else None,
    }
