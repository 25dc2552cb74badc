"""Settings that several tools write in short, or as one switch for two: spelled out under their canonical names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lossdoctor.facts.deepspeed_config import SCHEDULERS

_PRECISION = {"bf16": (True, False), "fp16": (False, True), "no": (False, False), "false": (False, False)}
_ATTENTION = {
    "fa2": "flash_attention_2",
    "flash_attn": "flash_attention_2",
    "flash_attn_2": "flash_attention_2",
    "true": "flash_attention_2",
    "fa3": "flash_attention_3",
    "flash_attn_3": "flash_attention_3",
    "disabled": "eager",
}
#: A batch as people tell it: per device × accumulated × processes.
_BATCH = re.compile(r"(\d{1,6})\s*[x×*·]\s*(\d{1,6})\s*[x×*·]\s*(\d{1,6})", re.I)
_BITS = ("quantization_bit", "quant_bits", "bits")
_ADAPTERS = ("lora", "qlora", "dora", "adalora")
_RANKS = ("r", "rank", "lora_r", "lora_rank")
#: What some scripts call the examples of one optimizer step, and beside it those of one pass on a device.
_TOTAL, _MICRO = ("batch_size", "train_batch_size"), ("micro_batch_size", "micro_train_batch_size")


def spelled_out(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with what the short forms among them mean; what is stated in full is left alone."""
    found = dict(values)
    if quantization := _quantization(found):
        found = {name: value for name, value in found.items() if name not in _BITS}
        found["quantization"] = quantization
    for name, value in (*_precision(found), *_method(found), *_machine(found), *_batch(found)):
        if found.get(name) is None:
            found[name] = value
    if "alpha" in found and not any(name in found for name in _RANKS):
        del found["alpha"]  # that of a distillation or a focal loss
    _batches(found)
    if (schedule := str(found.get("lr_scheduler_type"))) in SCHEDULERS:
        found["lr_scheduler_type"] = SCHEDULERS[schedule]
    for name in ("flash_attn", "attn_impl", "attn_implementation"):
        word = _word(found.get(name))
        if word == "auto":
            del found[name]
        elif word in _ATTENTION:
            found[name] = _ATTENTION[word]
    return found


def on(value: Any) -> bool:
    """Whether a switch is on, as YAML, Python or a shell writes it."""
    return _word(value) in ("true", "1", "yes", "on")


def _word(value: Any) -> str:
    return str(value).strip().lower() if isinstance(value, (str, int)) else ""


def _precision(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    bf16, fp16 = _PRECISION.get(_word(values.get("mixed_precision")), (None, None))
    return [("bf16", bf16), ("fp16", fp16)]


def _quantization(values: Mapping[str, Any]) -> str | None:
    if on(values.get("load_in_4bit")):
        return "4bit"
    if on(values.get("load_in_8bit")):
        return "8bit"
    return next((f"{bits}bit" for bits in ("4", "8") if any(_word(values.get(name)) == bits for name in _BITS)), None)


def _method(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    names = ("finetuning_type", "train_type", "sft_type", "tuner_type")
    method = next((word for word in (_word(values.get(name)) for name in names) if word), "")
    adapter = True if method in _ADAPTERS else False if method in ("full", "freeze") else None
    soft = "PREFIX_TUNING" if values.get("pre_seq_len") else "PROMPT_TUNING" if values.get("num_virtual_tokens") else None
    return [("use_lora", adapter), ("peft_type", soft)]


def _batches(found: dict[str, Any]) -> None:
    """Alpaca-LoRA and OpenRLHF state the whole batch beside the one on a device; verl's optimizer step is its mini-batch."""
    micro = next((name for name in _MICRO if found.get(name)), None)
    total = next((name for name in _TOTAL if found.get(name)), None)
    if mini := found.pop("ppo_mini_batch_size", None):
        found.pop(total or "", None)
        found["total_train_batch_size"] = mini
    elif micro and total:
        found["total_train_batch_size"] = found.pop(total)
        found["per_device_train_batch_size"] = found.pop(micro)


def _machine(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    kind = _word(values.get("distributed_type")).replace("-", "_").removeprefix("distributedtype.")
    if kind == "deepspeed":
        return [("deepspeed", True)]
    return [("multi_gpu", True)] if kind == "multi_gpu" else []


def _batch(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """`batch: 32 x 1 x 4`, of which one number alone would say something else."""
    names = ("batch", "batch_size", "train_batch_size", "effective_batch_size", "global_batch_size")
    told = next((found for name in names if (found := _BATCH.fullmatch(_word(values.get(name))))), None)
    parts = ("per_device_train_batch_size", "gradient_accumulation_steps", "world_size")
    return [(name, int(count)) for name, count in zip(parts, told.groups(), strict=True)] if told else []
