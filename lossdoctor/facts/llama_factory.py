"""LLaMA-Factory: one flat YAML file (or the same names as flags), with names of its own beside those of TrainingArguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossdoctor.facts.shorthand import on

STAGES = {"sft": "sft", "dpo": "dpo", "kto": "kto", "ppo": "ppo", "rm": "reward", "pt": "pretraining"}
#: Names that no other tool has; two of the weaker ones tell it as well.
_OWN = ("finetuning_type", "cutoff_len", "lora_target", "quantization_bit", "preprocessing_num_workers", "pref_beta")
_WEAK = ("stage", "template", "flash_attn", "lora_rank", "dataset_dir", "val_size", "max_samples", "do_train")


def recognise(values: Mapping[str, Any]) -> bool:
    """By names of its own, or by a stage of training that it has."""
    staged = str(values.get("stage")).lower() in STAGES
    weak = sum(name in values for name in _WEAK)
    return (staged and weak >= 2) or (any(name in values for name in _OWN) and weak >= 1)


def names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Its settings under canonical names: `stage` is the kind of training here, not that of ZeRO."""
    found = {name: value for name, value in values.items() if name not in ("stage", "lora_target", "dataset")}
    method = str(values.get("finetuning_type", "lora")).lower()  # lora is its default
    stage = STAGES.get(str(values.get("stage", "sft")).lower())
    found["framework"] = "LLaMA-Factory"
    found["trainer"] = stage
    found["finetuning_type"] = method
    found["dataset"] = _listed(values.get("dataset"))
    found["total_train_batch_size"] = None  # never stated, but a name that others have
    tokens = [token for name in ("new_special_tokens", "add_tokens", "add_special_tokens") for token in _tokens(values.get(name))]
    found["tokens_added"] = len(tokens) or None
    found["lora_modules_to_save"] = _listed(values.get("additional_target"))
    if method != "lora":
        return {name: value for name, value in found.items() if not name.startswith("lora_")}
    found["lora_target_modules"] = _target(values.get("lora_target"))
    found["use_rslora"], found["use_dora"] = values.get("use_rslora"), values.get("use_dora")
    if stage in ("dpo", "kto"):
        found["beta"] = values.get("pref_beta")
        found["loss_type"] = values.get("pref_loss")
    if on(values.get("neat_packing")):
        found["packing"] = True
    return found


def _target(value: Any) -> Any:
    return "all-linear" if str(value).strip().lower() == "all" else value


def _listed(value: Any) -> Any:
    parts = _tokens(value)
    return parts if len(parts) > 1 else (parts[0] if parts else None)


def _tokens(value: Any) -> list[str]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [str(part) for part in value] if isinstance(value, list) else []
