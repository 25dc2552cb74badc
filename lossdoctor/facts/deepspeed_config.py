"""The JSON of DeepSpeed. What it calls "auto" is stated elsewhere, in the TrainingArguments."""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lossdoctor.confinement import is_file_of

_OWN = ("zero_optimization", "train_micro_batch_size_per_gpu", "zero_allow_untested_optimizer", "wall_clock_breakdown")
#: Its schedulers by what transformers calls them.
SCHEDULERS = {"WarmupLR": "constant_with_warmup", "WarmupDecayLR": "linear", "WarmupCosineLR": "cosine"}


def recognise(values: Mapping[str, Any]) -> bool:
    """By the sections that DeepSpeed has."""
    sections = sum(isinstance(values.get(name), dict) for name in ("fp16", "bf16", "zero_optimization"))
    return sections >= 1 or any(name in values for name in _OWN)


def names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Its settings under canonical names."""
    zero, fp16 = _section(values, "zero_optimization"), _section(values, "fp16")
    bf16 = _section(values, "bf16") or _section(values, "bfloat16")
    optimizer, scheduler = (_section(_section(values, name), "params") for name in ("optimizer", "scheduler"))
    found = {
        "deepspeed": True,
        "fp16": fp16.get("enabled"),
        "bf16": bf16.get("enabled"),
        "loss_scale": fp16.get("loss_scale") or None,  # 0 is the dynamic one
        "initial_scale_power": fp16.get("initial_scale_power"),
        "zero_stage": zero.get("stage"),
        "overlap_comm": zero.get("overlap_comm"),
        "contiguous_gradients": zero.get("contiguous_gradients"),
        "learning_rate": _first(optimizer.get("lr"), scheduler.get("warmup_max_lr")),
        "weight_decay": optimizer.get("weight_decay"),
        "optim": _optimizer(str(_section(values, "optimizer").get("type") or "")),
        **_betas(optimizer.get("betas")),
        "adam_epsilon": optimizer.get("eps"),
        "lr_scheduler_type": SCHEDULERS.get(str(_section(values, "scheduler").get("type"))),
        "lr_scheduler_kwargs": _kept(scheduler, "cos_min_ratio", "warmup_min_ratio"),
        "warmup_steps": scheduler.get("warmup_num_steps"),
        "max_steps": scheduler.get("total_num_steps"),
        "scheduler_steps": scheduler.get("total_num_steps"),
        "gradient_accumulation_steps": values.get("gradient_accumulation_steps"),
        "per_device_train_batch_size": values.get("train_micro_batch_size_per_gpu"),
        "total_train_batch_size": values.get("train_batch_size"),
        "max_grad_norm": values.get("gradient_clipping"),
    }
    return {name: value for name, value in found.items() if value != "auto"}


def beside(values: Mapping[str, Any], stated: Iterable[str]) -> dict[str, Any]:
    """The same beside a configuration that has `stated` these: who says how long the run is, does not ask its scheduler."""
    told = set(stated)
    return {name: value for name, value in names(values).items() if name != "max_steps" or "num_train_epochs" not in told}


def _optimizer(kind: str) -> str | None:
    """Its Adam is AdamW, which is what everybody has; others are told."""
    return None if kind.lower() in ("", "adam", "adamw") else kind.lower()


def _betas(value: Any) -> dict[str, Any]:
    return dict(zip(("adam_beta1", "adam_beta2"), value, strict=True)) if isinstance(value, list) and len(value) == 2 else {}


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _kept(values: Mapping[str, Any], *names: str) -> dict[str, Any] | None:
    return {name: values[name] for name in names if name in values} or None


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None and value != "auto"), None)


def named_file(named: str, folder: Path, within: Sequence[Path] = ()) -> Path | None:
    """The file that a `deepspeed:` setting names, if it lies below the folder of the configuration or beside that folder.

    Of a configuration that nobody named, but that was found in a folder, it has to lie in the folders `within`.
    A path from somewhere else is not followed: a configuration from a stranger must not choose which files are read.
    Often it is written from the root of a repository, so that its first part is a folder that we are in already.
    """
    if not named or len(named) > 1_000 or "\0" in named or os.path.isabs(named) or named.startswith(("~", "\\")):  # noqa: PTH117
        return None
    try:
        home = folder.resolve()
        around = home.parent
        first, _, rest = named.removeprefix("./").partition("/")
        tries = [home / named, around / named]
        tries += [place / rest for place in (home, around) if rest and place.name == first]
        allowed = within or [around if around.parent != around else home]
        return next((candidate.resolve() for candidate in tries if is_file_of(candidate, *allowed)), None)
    except (OSError, ValueError, RuntimeError):  # a name that no file system takes, a circle of links
        pass
    return None
