"""Facts from the living objects of a Trainer: the best source there is.

Imports neither torch nor transformers: what is in use is loaded already, and nothing here computes on a device.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lossdoctor.facts.canonical import NAMES, translate
from lossdoctor.model import Fact

SOURCE = "live"
#: How the state of an optimizer is called in a checkpoint: alone, of FSDP, of DeepSpeed.
STATES = ("optimizer", "global_step")
#: How deep a sampler may lie within others.
WRAPPED = 4


def gather(args: Any, state: Any = None, model: Any = None, train_dataloader: Any = None) -> dict[str, Fact]:
    """What TrainingArguments, TrainerState and the model say; an object that does not answer is passed over."""
    values: dict[str, Any] = {}
    for part in (
        _state(state),
        _arguments(args),
        _deepspeed(args),
        _adapter_of(model),
        _model(model),
        _data(train_dataloader),
        _resumed(args, state),
        _machine(args),
    ):
        with suppress(Exception):  # a fact is never worth an error in somebody's training
            for name, value in part:
                if value is not None:
                    values.setdefault(name, value)
    return translate(values, SOURCE)


def of_model(model: Any) -> dict[str, Fact]:
    """What the model says by itself."""
    values: dict[str, Any] = {}
    for part in (_adapter_of(model), _model(model)):
        with suppress(Exception):
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
    if getattr(args, "train_sampling_strategy", None) == "group_by_length":  # its name since transformers 5
        yield "group_by_length", True
    yield "trainer", type(args).__name__


def _deepspeed(args: Any) -> Iterator[tuple[str, Any]]:
    config = getattr(getattr(args, "hf_deepspeed_config", None), "config", None)
    if isinstance(config, dict):
        zero = config.get("zero_optimization", {})
        yield "deepspeed", True
        yield "zero_stage", zero.get("stage")
        yield "overlap_comm", zero.get("overlap_comm")
        yield "contiguous_gradients", zero.get("contiguous_gradients")
        params = config.get("scheduler", {}).get("params", {})
        steps = params.get("total_num_steps")
        yield "scheduler_steps", steps if isinstance(steps, int) else None


def of_adapter(config: Any) -> dict[str, Fact]:
    """What a LoraConfig says that no model has yet."""
    return translate({name: value for name, value in _adapter(config) if value is not None}, SOURCE)


def _adapter_of(model: Any) -> Iterator[tuple[str, Any]]:
    yield from _adapter(next(iter(getattr(model, "peft_config", {}).values()), None))


def _adapter(config: Any) -> Iterator[tuple[str, Any]]:
    if config is not None:
        kind = getattr(config, "peft_type", None)
        yield "use_lora", True
        yield "peft_type", None if hasattr(config, "r") else getattr(kind, "value", kind)
        yield "model_name_or_path", getattr(config, "base_model_name_or_path", None)
        yield "lora_r", getattr(config, "r", None)
        yield "lora_alpha", getattr(config, "lora_alpha", None)
        yield "lora_layers", getattr(config, "layers_to_transform", None)
        yield "use_rslora", getattr(config, "use_rslora", None)
        named = getattr(config, "target_modules", None)
        yield "lora_target_modules", named if isinstance(named, str) else sorted(named or []) or None


def _model(model: Any) -> Iterator[tuple[str, Any]]:
    if model is None:
        return
    dtypes: Counter[str] = Counter()
    for parameter in model.parameters():
        if parameter.requires_grad:  # ZeRO-3 leaves empty ones behind, with their size beside them
            dtypes[str(parameter.dtype).removeprefix("torch.")] += getattr(parameter, "ds_numel", 0) or parameter.numel()
    if not any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):  # there it is but a share
        yield "trainable_parameters", sum(dtypes.values())
    if dtypes:
        yield "torch_dtype", dtypes.most_common(1)[0][0]
    if not getattr(model, "peft_config", None) and all(parameter.requires_grad for parameter in model.parameters()):
        yield "use_lora", False
    if len(dtypes) > 1:
        yield "trainable_dtypes", dict(dtypes.most_common())
    config = getattr(model, "config", None)
    yield "model_name_or_path", getattr(config, "_name_or_path", None) or None
    yield "model_type", getattr(config, "model_type", None)
    yield "vocab_size", getattr(config, "vocab_size", None)
    yield "num_hidden_layers", getattr(config, "num_hidden_layers", None)
    yield "hidden_size", getattr(config, "hidden_size", None)
    yield "positions", getattr(config, "max_position_embeddings", None)  # GPT-2 answers to this name as well
    yield "attn_implementation", getattr(config, "_attn_implementation", None)
    if any(getattr(module, "_require_grads_hook", None) is not None for module in model.modules()):
        yield "inputs_require_grads", True
    if "Classification" in type(model).__name__:
        yield "num_labels", getattr(config, "num_labels", None)


def _data(loader: Any) -> Iterator[tuple[str, Any]]:
    data: Any = getattr(loader, "dataset", None)
    if hasattr(data, "__len__"):
        yield "dataset_size", len(data)
    sampler: Any = getattr(loader, "batch_sampler", None)
    for _ in range(WRAPPED):
        sampler = getattr(sampler, "batch_sampler", None) or getattr(sampler, "sampler", None) or sampler
    if type(sampler).__name__ == "SequentialSampler":  # it may have been shuffled before
        yield "data_shuffled", False


def _resumed(args: Any, state: Any) -> Iterator[tuple[str, Any]]:
    """Whether the checkpoint that a resumed run comes from has the optimizer's state, where it lies beside the others."""
    step, folder = getattr(state, "global_step", 0), getattr(args, "output_dir", None)
    if step and folder and (checkpoint := Path(folder, f"checkpoint-{step}")).is_dir():
        yield "optimizer_restored", any(file.name.startswith(STATES) for file in checkpoint.iterdir())


def _machine(args: Any) -> Iterator[tuple[str, Any]]:
    for name in ("transformers", "torch", "peft", "trl", "deepspeed", "flash_attn"):
        yield f"{name}_version", getattr(sys.modules.get(name), "__version__", None)
    yield "world_size", getattr(args, "world_size", None)
    device = getattr(getattr(args, "device", None), "type", None)
    yield "device", device
    torch = sys.modules.get("torch")
    if torch is not None and device == "cuda" and torch.cuda.is_initialized():
        yield "gpu", torch.cuda.get_device_name()
        yield "bf16_in_hardware", _bf16(torch)
        if not torch.version.hip:  # what ROCm calls a capability is none of NVIDIA's
            yield "compute_capability", ".".join(map(str, torch.cuda.get_device_capability()))


def _bf16(torch: Any) -> bool:
    """Whether the GPU has bf16 matrix units. `torch.cuda.is_bf16_supported()` says yes where it is emulated, as on a T4."""
    if torch.version.hip:  # CDNA and RDNA 3 have them
        return str(torch.cuda.get_device_properties(0).gcnArchName).startswith(
            ("gfx908", "gfx90a", "gfx94", "gfx95", "gfx11", "gfx12")
        )
    return bool(torch.cuda.get_device_capability() >= (8, 0))
