"""To which object each setting belongs, and how settings are put into a TrainingArguments that is there already.

A name that no object here claims is one of TrainingArguments. Works on any dataclass: no training library is imported.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar

A = TypeVar("A")

ARGUMENTS = "TrainingArguments"

#: What each object takes besides TrainingArguments; the first object that has a name is the one it is told for.
OBJECTS: Mapping[str, tuple[str, ...]] = {
    "LoraConfig": (
        "r",
        "lora_alpha",
        "lora_dropout",
        "target_modules",
        "exclude_modules",
        "modules_to_save",
        "trainable_token_indices",
        "use_rslora",
        "use_dora",
        "init_lora_weights",
        "bias",
        "layers_to_transform",
        "rank_pattern",
        "alpha_pattern",
    ),
    "from_pretrained": (
        "attn_implementation",
        "ctc_zero_infinity",
        "torch_dtype",
        "dtype",
        "device_map",
        "quantization_config",
        "revision",
        "ignore_mismatched_sizes",
    ),
    "BitsAndBytesConfig": (
        "load_in_8bit",
        "load_in_4bit",
        "llm_int8_threshold",
        "llm_int8_skip_modules",
        "bnb_4bit_compute_dtype",
        "bnb_4bit_quant_type",
        "bnb_4bit_use_double_quant",
        "bnb_4bit_quant_storage",
    ),
    "PeftModel.from_pretrained": ("is_trainable",),
    "resize_token_embeddings": ("mean_resizing",),
    "SFTConfig": (
        "max_length",
        "packing",
        "packing_strategy",
        "padding_free",
        "eval_packing",
        "assistant_only_loss",
        "completion_only_loss",
        "shuffle_dataset",
        "truncation_mode",
        "chat_template_path",
        "dataset_text_field",
        "pad_to_multiple_of",
        "activation_offloading",
        "router_aux_loss_coef",
        "loss_type",
    ),
    "DPOConfig": (
        "beta",
        "max_length",
        "padding_free",
        "truncation_mode",
        "pad_to_multiple_of",
        "activation_offloading",
        "router_aux_loss_coef",
        "loss_type",
        "loss_weights",
        "label_smoothing",
        "precompute_ref_log_probs",
        "sync_ref_model",
        "ref_model_mixup_alpha",
        "ref_model_sync_steps",
        "disable_dropout",
        "ld_alpha",
    ),
    "GRPOConfig": (
        "beta",
        "num_generations",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "max_completion_length",
        "num_iterations",
        "steps_per_generation",
        "generation_batch_size",
        "epsilon",
        "epsilon_high",
        "delta",
        "scale_rewards",
        "reward_weights",
        "loss_type",
        "importance_sampling_level",
        "mask_truncated_completions",
        "sync_ref_model",
        "disable_dropout",
        "shuffle_dataset",
        "router_aux_loss_coef",
        "log_completions",
        "use_vllm",
    ),
    "KTOConfig": ("beta", "desirable_weight", "undesirable_weight"),
    "get_scheduler": ("num_warmup_steps", "num_training_steps"),
    "DPOTrainer": ("ref_model", "peft_config", "processing_class"),
    "tokenizer": (
        "padding_side",
        "truncation_side",
        "pad_token",
        "eos_token",
        "model_max_length",
        "add_bos_token",
        "add_eos_token",
        "chat_template",
    ),
    "data_collator": ("response_template", "instruction_template", "label_pad_token_id", "mlm", "mlm_probability"),
    "dataset": ("dataset.filter", "dataset.shuffle", "dataset.train_test_split", "dataset.map"),
}

#: Names with a dot are keys of a DeepSpeed JSON if they begin with one of these.
DEEPSPEED = ("zero_optimization", "fp16", "bf16", "optimizer", "scheduler", "activation_checkpointing", "communication_data_type")

#: Which of several objects with the same field is meant, by the task of the run (the words of `lossdoctor.tasks`).
_BY_TASK = {"preference tuning": ("DPOConfig", "KTOConfig"), "reinforcement learning": ("GRPOConfig",)}

#: Facts that have another name than the setting they are about.
FACTS: Mapping[str, str] = {
    "r": "lora_r",
    "modules_to_save": "lora_modules_to_save",
    "target_modules": "lora_target_modules",
    "dtype": "torch_dtype",
    "activation_checkpointing": "gradient_checkpointing",
    "zero_optimization.stage": "zero_stage",
    "zero_optimization.overlap_comm": "overlap_comm",
}

#: A field that transformers or TRL renamed, with its other name: where both are in use, each must be told.
TWINS = (
    ("gradient_checkpointing", "activation_checkpointing"),
    ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"),
    ("evaluation_strategy", "eval_strategy"),
    ("max_seq_length", "max_length"),
)
#: What transformers 5 has in place of a field, and its values; `warmup_steps` takes a share below 1 there.
SUCCESSORS: Mapping[str, tuple[str, Mapping[Any, Any]]] = {
    "warmup_ratio": ("warmup_steps", {}),
    "group_by_length": ("train_sampling_strategy", {True: "group_by_length", False: "random"}),
}


def owner(name: str, task: str | None = None) -> str:
    """The object that takes a setting: `LoraConfig`, `from_pretrained`, `deepspeed`, …, or `TrainingArguments`."""
    holders = [owner for owner, names in OBJECTS.items() if name in names]
    if holders:
        meant = _BY_TASK.get(task or "", ())
        return next((holder for holder in meant if holder in holders), holders[0])
    return "deepspeed" if name.partition(".")[0] in DEEPSPEED and "." in name else ARGUMENTS


def changed(args: A, changes: Mapping[str, Any]) -> A:
    """A new object of the class of `args` with `changes` to those of its fields that they name; `args` stays as it is.

    Not `dataclasses.replace`: it gives back as if the user had asked for it what `__post_init__` filled in, which GRPOConfig
    refuses and which lets an old name of a field win over the new one. So fields that stay at their default are left out, and
    of those that begin as None or empty only the ones that do not come out the same by themselves are passed.

    Raises:
        ValueError: `args` is no such object, or its class refuses the change; one line.
    """
    if not is_dataclass(args) or isinstance(args, type):
        raise ValueError(f"a TrainingArguments object is needed, found {type(args).__name__}")
    kind = type(args).__name__
    wanted = _wanted(args, changes)
    try:
        result = type(args)(**{**_asked_for(args), **deepcopy(wanted)})
    except Exception as error:
        told = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
        raise ValueError(f"{kind} refuses {told}: {' '.join(str(error).split())}") from None
    for name, value in wanted.items():
        if getattr(result, name) != value and _is(getattr(result, name), getattr(args, name)):
            raise ValueError(f"{kind} does not take {name}={value!r}: it stays {getattr(result, name)!r}")
    return result


def _wanted(args: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes under the names that this version of the class has; a mapping adds to the one that is there."""
    known = {field.name for field in fields(args) if field.init}
    wanted: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known and name in SUCCESSORS:
            name, values = SUCCESSORS[name]
            value = values.get(value, value)
        for place in _places(args, name, known):
            before = getattr(args, place)
            both = isinstance(value, Mapping) and isinstance(before, Mapping)
            wanted[place] = {**before, **value} if both else value
    return wanted


def _places(args: Any, name: str, known: set[str]) -> list[str]:
    """The fields that a setting goes to: none if the class has none of that name, two if it has the old and the new one."""
    pair = next((twins for twins in TWINS if name in twins), (name,))
    there = [twin for twin in pair if twin in known]
    if name in there:
        return [twin for twin in there if twin == name or getattr(args, twin) is not None]
    return there


def _asked_for(args: Any) -> dict[str, Any]:
    """The arguments that make an equal object: what differs from its default, unless `__post_init__` fills it in anyway."""
    differing = [field for field in fields(args) if field.init and not _is(getattr(args, field.name), _default(field))]
    open_questions = [f.name for f in differing if f.default is None or f.default_factory is not MISSING]
    given = {field.name: getattr(args, field.name) for field in differing if field.name not in open_questions}
    if open_questions:
        base = _made(type(args), given)
        for name in open_questions:
            if not _is(getattr(base, name, MISSING), getattr(args, name)):
                given[name] = getattr(args, name)
                base = _made(type(args), given)
    return deepcopy(given)


def _made(kind: type, given: Mapping[str, Any]) -> Any:
    """The object, or None as long as what is given so far does not make one."""
    try:
        with warnings.catch_warnings():  # what they say of the values was said when `args` was made
            warnings.simplefilter("ignore")
            return kind(**deepcopy(dict(given)))
    except Exception:
        return None


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _is(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # values that cannot be compared
        return False
