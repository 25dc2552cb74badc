"""The names of facts: TrainingArguments names and a few more; usual other spellings are translated to them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from lossdoctor.facts.values import coerce
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
    "total_train_batch_size": int,
    "num_train_epochs": float,
    "max_steps": int,
    "max_grad_norm": float,
    "weight_decay": float,
    "optim": str,
    "adam_beta1": float,
    "adam_beta2": float,
    "adam_epsilon": float,
    "fp16": (bool, str),
    "bf16": (bool, str),
    "tf32": bool,
    "fp16_full_eval": bool,
    "bf16_full_eval": bool,
    "logging_strategy": str,
    "logging_steps": float,
    "eval_strategy": str,
    "eval_steps": float,
    "save_strategy": str,
    "save_steps": float,
    "save_total_limit": int,
    "dataloader_drop_last": bool,
    "load_best_model_at_end": bool,
    "metric_for_best_model": str,
    "early_stopping_patience": int,
    "resume_from_checkpoint": (bool, str),
    "ignore_data_skip": bool,
    "logging_nan_inf_filter": bool,
    "gradient_checkpointing": bool,
    "gradient_checkpointing_kwargs": dict,
    "group_by_length": bool,
    "train_sampling_strategy": str,
    "save_only_model": bool,
    "label_smoothing_factor": float,
    "seed": int,
    "neftune_noise_alpha": float,
    "average_tokens_across_devices": bool,
    # trainers of TRL and their kin
    "max_length": (int, str),
    "packing": bool,
    "padding_free": bool,
    "completion_only_loss": bool,
    "assistant_only_loss": bool,
    "train_on_prompt": bool,
    "eos_token": str,
    "pad_token": str,
    "loss_type": (list, str),
    "beta": float,
    "num_generations": int,
    "temperature": float,
    "ref_model": str,
    # model and adapter
    "model_name_or_path": str,
    "model_type": str,
    "vocab_size": int,
    "num_labels": int,
    "num_hidden_layers": int,
    "hidden_size": int,
    "trainable_layers": (list, int, str),
    "freeze_trainable_layers": int,
    "problem_type": str,
    "finetuning_type": str,
    "peft_type": str,
    "use_lora": bool,
    "lora_r": int,
    "lora_alpha": float,
    "lora_dropout": float,
    "lora_layers": (list, int, str),
    "lora_target_modules": (list, str),
    "lora_modules_to_save": (list, str),
    "use_rslora": bool,
    "use_dora": bool,
    "quantization": str,
    "torch_dtype": str,
    "attn_implementation": str,
    "trainable_parameters": int,
    "trainable_dtypes": dict,
    "inputs_require_grads": bool,
    "tokens_added": int,
    "dataset": (list, str),
    "dataset_size": int,
    "supervised_share": float,
    "opening_loss": float,  # of the first step, before any update
    "positions": int,  # tokens that the model has positions for
    "data_shuffled": bool,
    "class_changes": float,  # from one example to the next, as a share of those of a shuffled order
    "answer_share": float,  # tokens with a label among those that are no padding, in the first batches
    "rows_cut": float,  # share of the first examples that are as long as the longest and have no end
    "padding_scored": float,  # share of the tokens with a label that are padding, in the first batches
    "labels_shifted": bool,  # the label of a token is the next one, and the model shifts as well
    "response_template_found": float,  # share of the first examples
    "response_template_in_context": list,  # the tokens of it that are there
    "optimizer_restored": bool,  # where a run was resumed
    "adapter_gradient": float,  # share of its parameters that a gradient has reached
    "weight_change_per_rate": float,  # spectral norm of a first step of Adam, as a multiple of the weights', ÷ learning rate
    # machine and libraries
    "device": str,
    "gpu": str,
    "bf16_in_hardware": bool,
    "compute_capability": (float, str, list),
    "world_size": int,
    "multi_gpu": bool,
    "distributed_type": str,
    "deepspeed": (bool, str, dict),
    "zero_stage": int,
    "overlap_comm": bool,
    "contiguous_gradients": bool,
    "loss_scale": float,
    "initial_scale_power": int,
    "scheduler_steps": int,  # for how many steps DeepSpeed builds its schedule
    "framework": str,
    "trainer": str,
    "transformers_version": str,
    "torch_version": str,
    "peft_version": str,
    "trl_version": str,
    "deepspeed_version": str,
    "flash_attn_version": str,
}

ALIASES: Mapping[str, str] = {
    # rate and schedule
    "lr": "learning_rate",
    "lr_scheduler": "lr_scheduler_type",
    "scheduler": "lr_scheduler_type",
    "warmup": "warmup_steps",
    "lr_scheduler_warmup_steps": "warmup_steps",
    "num_warmup_steps": "warmup_steps",
    "lr_warmup_steps": "warmup_steps",
    "lr_scheduler_warmup_ratio": "warmup_ratio",
    "optimizer": "optim",
    "clip": "max_grad_norm",
    "grad_clip": "max_grad_norm",
    "gradient_clipping": "max_grad_norm",
    # batches and length
    "batch": "per_device_train_batch_size",
    "batch_size": "per_device_train_batch_size",
    "train_batch_size": "per_device_train_batch_size",
    "micro_batch_size": "per_device_train_batch_size",
    "eval_batch_size": "per_device_eval_batch_size",
    "global_batch_size": "total_train_batch_size",
    "effective_batch_size": "total_train_batch_size",
    "grad_accum": "gradient_accumulation_steps",
    "grad_accumulation": "gradient_accumulation_steps",
    "accumulation": "gradient_accumulation_steps",
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "training_steps": "max_steps",
    "max_train_steps": "max_steps",
    "max_seq_length": "max_length",
    "max_seq_len": "max_length",
    "max_sequence_length": "max_length",
    "model_max_length": "max_length",
    "cutoff_len": "max_length",
    "sequence_len": "max_length",
    "train_on_inputs": "train_on_prompt",
    # evaluation and logging
    "activation_checkpointing": "gradient_checkpointing",
    "activation_checkpointing_kwargs": "gradient_checkpointing_kwargs",
    "evaluation_strategy": "eval_strategy",
    "filter": "logging_nan_inf_filter",
    # model, adapter and data
    "model": "model_name_or_path",
    "base_model": "model_name_or_path",
    "model_name": "model_name_or_path",
    "model_id": "model_name_or_path",
    "ref_model_name_or_path": "ref_model",
    "rlhf_type": "trainer",
    "train_type": "finetuning_type",
    "sft_type": "finetuning_type",
    "lora": "use_lora",
    "use_peft": "use_lora",
    "r": "lora_r",
    "rank": "lora_r",
    "lora_rank": "lora_r",
    "alpha": "lora_alpha",
    "target_modules": "lora_target_modules",
    "lora_target": "lora_target_modules",
    "modules_to_save": "lora_modules_to_save",
    "layers_to_transform": "lora_layers",
    "lora_layers_to_transform": "lora_layers",
    "peft_layers_to_transform": "lora_layers",
    "unfreeze_layers": "trainable_layers",
    "unfrozen_layers": "trainable_layers",
    "layers_to_train": "trainable_layers",
    "train_layers": "trainable_layers",
    "n_layer": "num_hidden_layers",
    "n_embd": "hidden_size",
    "d_model": "hidden_size",
    "num_layers": "num_hidden_layers",
    "additional_target": "lora_modules_to_save",
    "dtype": "torch_dtype",
    "flash_attn": "attn_implementation",
    "attn_impl": "attn_implementation",
    "attention": "attn_implementation",
    "quant": "quantization",
    "quantization_bit": "quantization",
    "dataset_name": "dataset",
    "dataset_rows": "dataset_size",
    "trainable_params": "trainable_parameters",
    # machine and libraries
    "num_gpus": "world_size",
    "gpus": "world_size",
    "n_gpu": "world_size",
    "n_gpus": "world_size",
    "gpu_count": "world_size",
    "num_devices": "world_size",
    "num_processes": "world_size",
    "deepspeed_config": "deepspeed",
    "deepspeed_config_file": "deepspeed",
    "stage": "zero_stage",
    "transformers": "transformers_version",
    "pytorch": "torch_version",
    "torch": "torch_version",
}


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
    return known, Fact(coerce(known, NAMES[known], value), source)


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
        if key != "max_steps" or found.value > 0:  # -1 leaves it to the epochs
            facts.setdefault(key, found)
    return facts
