"""axolotl: YAML in which `micro_batch_size` is per device and `batch_size` the total of one optimizer step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossdoctor.facts.shorthand import on

_OWN = ("micro_batch_size", "sample_packing", "sequence_len", "lora_target_linear", "pad_to_sequence_len", "val_set_size")
_WEAK = ("base_model", "adapter", "flash_attention", "lora_r", "datasets", "dataset_prepared_path", "num_epochs", "strict")
#: Its switches for the attention kernel; the first that is on decides.
_ATTENTION = {
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
    "flex_attention": "flex_attention",
    "xformers_attention": "xformers",
}
_SAME = {
    "lr_scheduler": "lr_scheduler_type",
    "optimizer": "optim",
    "num_epochs": "num_train_epochs",
    "sequence_len": "max_length",
}
#: Names that mean something else here than elsewhere.
_OTHER = ("batch_size", "model_type", "datasets", "lora_target_modules", "adapter")


def recognise(values: Mapping[str, Any]) -> bool:
    """By a base model and names of its own; `data_path` is that of Alpaca-LoRA, whose names are much alike."""
    own = sum(name in values for name in _OWN)
    return (
        own >= 1
        and own + sum(name in values for name in _WEAK) >= 3
        and not ("finetuning_type" in values or "data_path" in values)
    )


def names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Its settings under canonical names. `model_type` is a class here, and `auto` for a precision says nothing."""
    found = {name: value for name, value in values.items() if name not in (*_OTHER, *_SAME)}
    found |= {canonical: values.get(name) for name, canonical in _SAME.items()}
    adapter = str(values.get("adapter") or "").lower()
    found["framework"] = "axolotl"
    found["trainer"] = values.get("rl")
    found["finetuning_type"] = adapter or "full"
    found["use_lora"] = adapter in ("lora", "qlora")
    if found["use_lora"]:
        linear = on(values.get("lora_target_linear"))
        found["lora_target_modules"] = values.get("lora_target_modules") or ("all-linear" if linear else None)
        found["lora_layers"] = values.get("peft_layers_to_transform")
        found["use_rslora"], found["use_dora"] = values.get("peft_use_rslora"), values.get("peft_use_dora")
    else:
        found = {name: value for name, value in found.items() if not name.startswith("lora_")}
    found["per_device_train_batch_size"] = values.get("micro_batch_size")
    found["total_train_batch_size"] = values.get("batch_size")
    found["packing"] = values.get("sample_packing")
    found["max_grad_norm"] = values.get("max_grad_norm")
    if found.get("attn_implementation") is None:
        found["attn_implementation"] = next((word for name, word in _ATTENTION.items() if on(values.get(name))), None)
    if found.get("torch_dtype") is None:  # 16-bit weights without mixed precision
        found["torch_dtype"] = next((name for name in ("float16", "bfloat16") if on(values.get(name))), None)
    found |= _per_epoch(values)
    tokens = values.get("tokens")
    found["tokens_added"] = len(tokens) if isinstance(tokens, list) and tokens else None
    special = values.get("special_tokens")
    for name in ("eos_token", "pad_token"):
        found[name] = special.get(name) if isinstance(special, dict) else None
    found["dataset"] = _datasets(values.get("datasets"))
    ratio = values.get("warmup_ratio")
    if ratio is not None:
        found["warmup_ratio"] = ratio
    return found


def _per_epoch(values: Mapping[str, Any]) -> dict[str, Any]:
    """How often it evaluates and saves in one epoch, as the share of the run that lies between."""
    found: dict[str, Any] = {}
    epochs = values.get("num_epochs") or 1
    for kind in ("eval", "save"):
        often = values.get(f"{kind}s_per_epoch")
        if isinstance(often, (int, float)) and isinstance(epochs, (int, float)) and often > 0 and epochs > 0:
            found |= {f"{kind}_strategy": "steps", f"{kind}_steps": 1 / (often * epochs) if often * epochs > 1 else None}
        elif often == 0:
            found[f"{kind}_strategy"] = "no"
    return found


def _datasets(value: Any) -> list[str] | None:
    if not isinstance(value, list):
        return None
    paths = [str(entry.get("path")) for entry in value if isinstance(entry, dict) and entry.get("path")]
    return paths or None
