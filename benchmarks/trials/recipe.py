"""A fine-tune as people write it: a script with settings. What lossdoctor suggests is put into these, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from lossdoctor.model import Rule
from lossdoctor.settings import OBJECTS, SUCCESSORS, owner

#: Settings of scripts like those of TRL, and of the collator and the calls around them.
SCRIPT = {
    "max_length": 48,
    "completion_only_loss": True,
    "shuffle_dataset": True,
    "response_template": "\n### Answer:",
    "label_pad_token_id": -100,
    "padding": "longest",
    "labels": "input_ids",
    "dataset.shuffle": None,
    "model_accepts_loss_kwargs": None,
    "torch_dtype": "float32",
    "attn_implementation": "sdpa",
    "mean_resizing": True,
    "resume_from_checkpoint": None,
}
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": "all-linear", "use_rslora": False, "is_trainable": True}
#: What a script with a scheduler of its own hands to get_scheduler.
OWN_SCHEDULE = ("num_warmup_steps", "num_training_steps")
#: Fields whose old name is still told to users.
ALIASES = {"dtype": "torch_dtype", "max_seq_length": "max_length", "evaluation_strategy": "eval_strategy"}


@dataclass(frozen=True)
class Recipe:
    """One fine-tune.

    Attributes:
        family, method: `llama`, `gpt2`, `bert` or `t5`; `full` or `lora`.
        settings: by name, for TrainingArguments, LoraConfig, from_pretrained, the collator and the script itself.
        data: what is wrong with the data or the code, which no setting changes: `noise 0.4`, `garbage 0.05`, `sorted`, …
        examples: how many training examples there are.
        gpu: the GPU that lossdoctor is told of, since all this runs on a CPU; empty where it plays no part.
        width: of the residual stream of the model.
        stop_at: a run that is stopped there and resumed, as a share of its steps; 0 for one in one piece.
    """

    family: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: frozenset[str] = frozenset()
    examples: int = 640
    gpu: str = ""
    width: int = 64
    stop_at: float = 0.0

    @property
    def task(self) -> str:
        return {"bert": "classification", "t5": "seq2seq"}.get(self.family, "language modelling")

    def get(self, name: str) -> Any:
        """A setting of the script, or its default there."""
        return self.settings.get(name, {**SCRIPT, **LORA}.get(name))

    def of(self, holder: str) -> dict[str, Any]:
        """The settings that go to TrainingArguments or to LoraConfig."""
        if holder == "LoraConfig":
            return {n: self.get(n) for n in {**LORA, **self.settings} if n in OBJECTS["LoraConfig"]}
        known = _arguments()
        return {name: value for name, value in self.settings.items() if name in known}

    def why_not(self, name: str, value: Any) -> str | None:
        """Why this script has no place for a setting; None where it has one."""
        if isinstance(value, Rule):
            return f"somebody has to choose {name}: {value}"
        if name in _arguments() or name in SUCCESSORS or ALIASES.get(name, name) in SCRIPT:
            return None
        if name in OWN_SCHEDULE and name in self.settings:
            return None
        if self.method == "lora" and (name in OBJECTS["LoraConfig"] or name == "is_trainable"):
            return None
        return f"this script has no {name} ({owner(name)})"

    def with_settings(self, changes: Mapping[str, Any]) -> Recipe:
        """The same fine-tune with settings changed; a mapping adds to the one that is there."""
        settings = dict(self.settings)
        for name, value in changes.items():
            name = ALIASES.get(name, name)
            if name in SUCCESSORS and name not in _arguments():
                name, values = SUCCESSORS[name]
                value = values.get(value, value)
            both = isinstance(value, Mapping) and isinstance(settings.get(name), Mapping)
            settings[name] = {**settings[name], **value} if both else value
        return replace(self, settings=settings)


def _arguments() -> set[str]:
    from transformers import TrainingArguments

    return {f.name for f in fields(TrainingArguments) if f.init}
