"""`adapter_config.json`, as PEFT saves it beside an adapter."""

from __future__ import annotations

from pathlib import Path

from lossdoctor.facts.canonical import translate
from lossdoctor.facts.files import mapping
from lossdoctor.model import Fact


def read(path: Path) -> dict[str, Fact]:
    """Rank, alpha, dropout, target modules and the base model of the adapter."""
    values = mapping(path)
    names = {
        "model_name_or_path": values.get("base_model_name_or_path"),
        "lora_r": values.get("r"),
        "lora_alpha": values.get("lora_alpha"),
        "lora_dropout": values.get("lora_dropout"),
        "lora_target_modules": values.get("target_modules"),
        "use_lora": True if values.get("peft_type") in ("LORA", "ADALORA", "LOHA", "LOKR") else None,
    }
    return translate(names, "adapter_config.json")
