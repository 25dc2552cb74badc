"""The names of facts: TrainingArguments names and a few more; usual other spellings are translated to them."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping
from typing import Any

from lossdoctor.model import Fact, LossDoctorError

#: Every fact by its canonical name, with the kind of value it takes.
NAMES: Mapping[str, type | tuple[type, ...]] = {
    # TrainingArguments
    "learning_rate": float,
    "lr_scheduler_type": str,
    "lr_scheduler_kwargs": dict,
    "warmup_steps": float,
    "warmup_ratio": float,
    "per_device_train_batch_size": int,
    "per_device_eval_batch_size": int,
    "gradient_accumulation_steps": int,
    "num_train_epochs": float,
    "max_steps": int,
    "max_grad_norm": float,
    "weight_decay": float,
    "optim": str,
    "adam_beta2": float,
    "fp16": (bool, str),
    "bf16": (bool, str),
    "tf32": bool,
    "fp16_full_eval": bool,
    "bf16_full_eval": bool,
    "logging_steps": float,
    "eval_steps": float,
    "save_steps": float,
    "save_total_limit": int,
    "logging_nan_inf_filter": bool,
    "gradient_checkpointing": bool,
    "group_by_length": bool,
    "label_smoothing_factor": float,
    "seed": int,
    "neftune_noise_alpha": float,
    "average_tokens_across_devices": bool,
    # trainers of TRL and their kin
    "max_length": (int, str),
    "packing": bool,
    "beta": float,
    # model and adapter
    "model_name_or_path": str,
    "model_type": str,
    "vocab_size": int,
    "num_labels": int,
    "problem_type": str,
    "use_lora": bool,
    "lora_r": int,
    "lora_alpha": float,
    "lora_dropout": float,
    "lora_target_modules": (list, str),
    "quantization": str,
    "torch_dtype": str,
    "attn_implementation": str,
    "trainable_parameters": int,
    "dataset_size": int,
    # machine and libraries
    "gpu": str,
    "compute_capability": (float, str, list),
    "world_size": int,
    "multi_gpu": bool,
    "deepspeed": (bool, str, dict),
    "zero_stage": int,
    "overlap_comm": bool,
    "framework": str,
    "trainer": str,
    "transformers_version": str,
    "torch_version": str,
    "peft_version": str,
    "deepspeed_version": str,
    "loss_scale": float,
}

ALIASES: Mapping[str, str] = {
    "lr": "learning_rate",
    "lr_scheduler": "lr_scheduler_type",
    "scheduler": "lr_scheduler_type",
    "batch": "per_device_train_batch_size",
    "batch_size": "per_device_train_batch_size",
    "train_batch_size": "per_device_train_batch_size",
    "micro_batch_size": "per_device_train_batch_size",
    "grad_accum": "gradient_accumulation_steps",
    "grad_accumulation": "gradient_accumulation_steps",
    "accumulation": "gradient_accumulation_steps",
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "clip": "max_grad_norm",
    "gradient_clipping": "max_grad_norm",
    "optimizer": "optim",
    "warmup": "warmup_steps",
    "max_seq_length": "max_length",
    "max_seq_len": "max_length",
    "cutoff_len": "max_length",
    "sequence_len": "max_length",
    "model": "model_name_or_path",
    "base_model": "model_name_or_path",
    "model_name": "model_name_or_path",
    "model_id": "model_name_or_path",
    "r": "lora_r",
    "rank": "lora_r",
    "lora_rank": "lora_r",
    "alpha": "lora_alpha",
    "target_modules": "lora_target_modules",
    "lora_target": "lora_target_modules",
    "lora": "use_lora",
    "dtype": "torch_dtype",
    "flash_attn": "attn_implementation",
    "attention": "attn_implementation",
    "quant": "quantization",
    "quantization_bit": "quantization",
    "num_gpus": "world_size",
    "gpus": "world_size",
    "n_gpu": "world_size",
    "stage": "zero_stage",
    "transformers": "transformers_version",
    "pytorch": "torch_version",
    "torch": "torch_version",
    "filter": "logging_nan_inf_filter",
    "dataset_rows": "dataset_size",
    "trainable_params": "trainable_parameters",
}

#: How the kinds are called in messages.
KINDS: Mapping[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a mapping",
}
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False, "none": False}
#: What a precision may be besides true and false: as DeepSpeed, kohya and Apex write it.
MODES = ("auto", "full", "pure", "apex", "apex o1", "apex o2", "o1", "o2")


def canonical(name: str) -> str | None:
    """The canonical name of a fact, or None for a name that is not one."""
    plain = name.strip().lstrip("-").replace("-", "_").lower()
    plain = ALIASES.get(plain, plain)
    return plain if plain in NAMES else None


def fact(name: str, value: Any, source: str) -> tuple[str, Fact]:
    """A fact under its canonical name, with its value in the kind that the name takes.

    Raises:
        LossDoctorError: the name is not a fact, or the value is of another kind.
    """
    known = canonical(name)
    if known is None:
        near = difflib.get_close_matches(name.lower(), [*NAMES, *ALIASES], n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "a fact is a TrainingArguments name, or gpu, lora_r, …"
        raise LossDoctorError(f"unknown fact {name!r}; {hint}")
    return known, Fact(_coerce(known, value), source)


def translate(values: Mapping[str, Any], source: str) -> dict[str, Fact]:
    """The facts among the keys of somebody's configuration; keys that are no facts, and nulls, are passed over."""
    facts: dict[str, Fact] = {}
    for name, value in values.items():
        if value is None or not isinstance(name, str) or canonical(name) is None:
            continue
        try:
            key, found = fact(name, value, source)
        except LossDoctorError:
            continue  # another tool's value under a name of ours: not a fact
        facts.setdefault(key, found)
    return facts


def _coerce(name: str, value: Any) -> Any:
    """The value in a kind that the name takes; what counts as true, as a number or as a list may be written in many ways."""
    named = NAMES[name]
    kinds = named if isinstance(named, tuple) else (named,)
    if bool in kinds and (truth := _truth(value)) is not None:
        return truth
    if bool in kinds and str in kinds and isinstance(value, str) and value.strip().lower() in MODES:
        return value.strip().lower()
    number = None if bool in kinds else _number(value)
    if number is not None and int in kinds and number == int(number):
        return int(number)
    if number is not None and float in kinds:
        return number
    if list in kinds and isinstance(value, (list, tuple, set)):
        return [str(item) for item in value]
    if dict in kinds and isinstance(value, dict):
        return value
    if str in kinds and bool not in kinds and isinstance(value, (str, int, float)) and str(value).strip():
        return str(value)
    if str in kinds and bool in kinds and isinstance(value, str) and name == "deepspeed":
        return value  # a path to its configuration
    wanted = " or ".join(KINDS[kind] for kind in kinds)
    if bool in kinds and str in kinds:
        wanted = f"true, false or one of {', '.join(MODES)}"
    raise LossDoctorError(f"{name} takes {wanted}, found {reprlib.repr(value)}")


def _truth(value: Any) -> bool | None:
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower())
    return bool(value) if isinstance(value, bool) or value in (0, 1) else None


def _number(value: Any) -> float | None:
    """A finite number that an integer of 64 bits could count to; text counts if it reads as one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 2.0**63 else None
