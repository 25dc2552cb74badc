"""Facts from the living objects of a Trainer: the best source there is.

Imports neither torch nor transformers: what is in use is loaded already, and nothing here computes on a device.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from lossdoctor.facts.canonical import NAMES, translate
from lossdoctor.model import Fact

SOURCE = "live"


def gather(args: Any, state: Any = None, model: Any = None) -> dict[str, Fact]:
    """What TrainingArguments, TrainerState and the model say; an object that does not answer is passed over."""
    values: dict[str, Any] = {}
    for part in (_state(state), _arguments(args), _deepspeed(args), _adapter(model), _model(model), _machine(args)):
        with suppress(Exception):  # a fact is never worth an error in somebody's training
            for name, value in part:
                if value is not None:
                    values.setdefault(name, value)
    return translate(values, SOURCE)


def _state(state: Any) -> Iterator[tuple[str, Any]]:
    for name in ("max_steps", "logging_steps", "save_steps", "eval_steps"):
        value = getattr(state, name, None)
        if isinstance(value, (int, float)) and value > 0:
            yield name, value


def _arguments(args: Any) -> Iterator[tuple[str, Any]]:
    for name in NAMES:
        value = getattr(args, name, None)
        value = getattr(value, "value", value)  # enumerations
        if isinstance(value, (str, int, float, bool, list, dict)) and not (name == "max_steps" and value == -1):
            yield name, value
    yield "trainer", type(args).__name__


def _deepspeed(args: Any) -> Iterator[tuple[str, Any]]:
    config = getattr(getattr(args, "hf_deepspeed_config", None), "config", None)
    if isinstance(config, dict):
        zero = config.get("zero_optimization", {})
        yield "deepspeed", True
        yield "zero_stage", zero.get("stage")
        yield "overlap_comm", zero.get("overlap_comm")


def _adapter(model: Any) -> Iterator[tuple[str, Any]]:
    config = next(iter(getattr(model, "peft_config", {}).values()), None)
    if config is not None:
        yield "use_lora", True
        yield "model_name_or_path", getattr(config, "base_model_name_or_path", None)
        yield "lora_r", getattr(config, "r", None)
        yield "lora_alpha", getattr(config, "lora_alpha", None)
        yield "lora_target_modules", list(getattr(config, "target_modules", None) or []) or None


def _model(model: Any) -> Iterator[tuple[str, Any]]:
    if model is None:
        return
    trainable = [p for p in model.parameters() if p.requires_grad]
    yield "trainable_parameters", sum(p.numel() for p in trainable)
    if trainable:
        yield "torch_dtype", str(trainable[0].dtype).removeprefix("torch.")
    config = getattr(model, "config", None)
    yield "model_name_or_path", getattr(config, "_name_or_path", None) or None
    yield "model_type", getattr(config, "model_type", None)
    yield "vocab_size", getattr(config, "vocab_size", None)
    yield "attn_implementation", getattr(config, "_attn_implementation", None)
    if "Classification" in type(model).__name__:
        yield "num_labels", getattr(config, "num_labels", None)


def _machine(args: Any) -> Iterator[tuple[str, Any]]:
    for name in ("transformers", "torch", "peft", "trl", "deepspeed", "flash_attn"):
        yield f"{name}_version", getattr(sys.modules.get(name), "__version__", None)
    yield "world_size", getattr(args, "world_size", None)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        yield "gpu", torch.cuda.get_device_name()
        yield "compute_capability", ".".join(map(str, torch.cuda.get_device_capability()))
