"""To which object each setting belongs.

A name that no object here claims is one of TrainingArguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    "Trainer": ("model_accepts_loss_kwargs",),
    "preprocessing": ("labels",),
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
