"""What kind of training a run is, told from its columns or its trainer: what the loss means depends on it."""

from __future__ import annotations

from collections.abc import Iterable

from lossdoctor.language import later
from lossdoctor.model import Run

SUPERVISED = later("supervised")
REINFORCEMENT = later("reinforcement learning")
PREFERENCE = later("preference tuning")

_REINFORCEMENT_TRAINERS = ("grpo", "ppo", "rloo", "reinforce", "online_dpo", "onlinedpo", "dapo")
_PREFERENCE_TRAINERS = ("dpo", "kto", "orpo", "simpo", "cpo", "ipo", "reward")
#: What preference trainers log under `rewards/`; everything else there is a reward function of GRPO.
_PAIRS = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "rewards/average")

#: Models that are fine-tuned whole unless something says otherwise.
SMALL_MODELS = ("bert", "electra", "bart", "pegasus", "gpt2", "whisper", "vit", "swin", "t5", "wav2vec", "hubert")


def task_of_run(run: Run) -> str:
    """From the facts `trainer` and `framework`; supervised where they say nothing."""
    words = run.words("trainer", "framework")
    if any(name in words for name in _REINFORCEMENT_TRAINERS):
        return REINFORCEMENT
    if any(name in words for name in _PREFERENCE_TRAINERS):
        return PREFERENCE
    return SUPERVISED


def task_of_columns(columns: Iterable[str]) -> str | None:
    """From the columns that TRL's trainers log; None where none of them is there."""
    found = None
    for name in columns:
        if name.startswith(("rewards/", "objective/", "clip_ratio", "policy/")) and name not in _PAIRS:
            return REINFORCEMENT
        if name in ("reward", "reward_std", "frac_reward_zero_std", "completion_length") or name.startswith("completions/"):
            return REINFORCEMENT
        if name == "kl" and found is None:
            found = REINFORCEMENT
        elif name in _PAIRS or name == "logps/chosen":
            found = PREFERENCE
    return found


def soft_prompt(run: Run) -> bool:
    """Whether a prompt or a few scales are trained rather than matrices: such ways of training bear rates of 1e-2."""
    return run.words("peft_type").rpartition(".")[2] in ("prompt_tuning", "prefix_tuning", "p_tuning", "ia3")


def adapter(run: Run) -> bool | None:
    """Whether an adapter is trained rather than all weights; None where the facts do not say."""
    for name in ("use_lora", "lora_r", "lora_alpha", "lora_target_modules"):
        if (value := run.get(name)) is not None:
            return bool(value)
    method = run.words("finetuning_type")
    if method:
        return "lora" in method
    words = run.words("quantization")
    if any(word in words for word in ("4", "8", "nf", "int", "gptq", "awq")):
        return True  # quantised weights are not trained themselves
    name = run.words("model_name_or_path", "model_type")
    return False if any(word in name for word in SMALL_MODELS) else None
