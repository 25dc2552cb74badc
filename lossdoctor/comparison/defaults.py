"""What a setting is that a configuration leaves open: only where its tool leaves no doubt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossdoctor.model import Run
from lossdoctor.planned_rates import RATE, SCHEDULE, trainers_defaults
from lossdoctor.tasks import adapter

#: The same in TrainingArguments, in those of TRL, in LLaMA-Factory and in axolotl.
_ALL: Mapping[str, Any] = {
    "gradient_accumulation_steps": 1,
    "weight_decay": 0.0,
    "optim": "adamw_torch",
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "max_grad_norm": 1.0,
    "label_smoothing_factor": 0.0,
    "group_by_length": False,
    "dataloader_drop_last": False,
    "seed": 42,
    "packing": False,
    "padding_free": False,
    "load_best_model_at_end": False,
    "ignore_data_skip": False,
}
#: Of TrainingArguments, where no tool with defaults of its own stands before them.
_TRAINER: Mapping[str, Any] = {
    "learning_rate": RATE,
    "lr_scheduler_type": SCHEDULE,
    "num_train_epochs": 3.0,
    "per_device_train_batch_size": 8,
    "warmup_steps": 0.0,
    "warmup_ratio": 0.0,
    "logging_nan_inf_filter": True,
}
#: Of LoraConfig; its rank and alpha are left open by nobody who means them.
_ADAPTER: Mapping[str, Any] = {"lora_dropout": 0.0, "use_rslora": False, "use_dora": False}
#: What a tool means by a setting that is not there at all.
_OFF: Mapping[str, Any] = {"neftune_noise_alpha": 0.0}
#: Facts that only somebody who configures a training states.
_TRAINING = ("learning_rate", "per_device_train_batch_size", "num_train_epochs", "max_steps", "gradient_accumulation_steps")
#: Settings of TRL's trainers that have other defaults there.
_OTHER_IN_TRL = ("learning_rate", "logging_nan_inf_filter", "packing", "padding_free")


#: Where a value is from that nobody stated.
DEFAULT = "default"
#: Settings that take the place of others: what is left open beside them is not at its default.
_INSTEAD: Mapping[str, tuple[str, ...]] = {
    "num_train_epochs": ("max_steps",),
    "per_device_train_batch_size": ("total_train_batch_size",),
    "gradient_accumulation_steps": ("total_train_batch_size",),
}


def is_configuration(run: Run) -> bool:
    """Whether this is a configuration rather than the log of a run, of which nobody knows what was left open."""
    return run.kind in ("", "configuration") and any(name in run.facts for name in _TRAINING)


def default(name: str, run: Run) -> Any:
    """The value that a configuration leaves a setting at by not naming it; None where that is not certain."""
    if not is_configuration(run):
        return None
    if any(other in run.facts for other in _INSTEAD.get(name, ())):
        return None
    if name in _ADAPTER:
        return _ADAPTER[name] if adapter(run) else None
    if not trainers_defaults(run) and "axolotl" not in run.words("framework"):
        return None  # DeepSpeed alone
    if name in _ALL and not (name in _OTHER_IN_TRL and _of_trl(run)):
        return _ALL[name]
    if name in _OFF:
        return _OFF[name]
    known = name in _TRAINER and trainers_defaults(run) and not (name in _OTHER_IN_TRL and _of_trl(run))
    if name in ("fp16", "bf16") and trainers_defaults(run) and not _of_trl(run) and not run.get("deepspeed"):
        return False
    return _TRAINER[name] if known else None


def _of_trl(run: Run) -> bool:
    """Whether a trainer of TRL stands before the defaults of TrainingArguments; LLaMA-Factory leaves them as they are."""
    word = run.words("trainer")
    return bool(word) and "trainingarguments" not in word and "factory" not in run.words("framework")
