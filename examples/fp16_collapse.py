"""Fine-tunes a tiny model in fp16 until it really breaks, with the doctor watching. Needs no GPU and no download.

The model is random-initialised and given what many models trained in bf16 have: a few very large activations, close to
65,504, the largest number of fp16. Training makes them a little larger, and from some step on every forward pass
overflows: the loss is NaN, the log says 0.0, the loss scaler skips every step and the learning rate freezes.

Run it with `python examples/fp16_collapse.py [OUTPUT_FOLDER]`, then `lossdoctor analyze OUTPUT_FOLDER`.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from lossdoctor import LossDoctorCallback

VOCABULARY = 256
#: Multiplies the MLP outputs, so that the largest activation begins a little below 65,504.
LARGE_ACTIVATIONS = 795_000.0


class Counting(Dataset[dict[str, torch.Tensor]]):
    """Sequences that count on in threes from one of a few starts: easy to learn, and nothing to download."""

    def __init__(self, rows: int = 1920, length: int = 24, starts: int = 8) -> None:
        start = torch.randint(0, starts, (rows, 1), generator=torch.Generator().manual_seed(1))
        self.tokens = (start + 3 * torch.arange(length)) % VOCABULARY

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[row], "labels": self.tokens[row]}


class HalfPrecisionTrainer(Trainer):
    """A Trainer that runs fp16 with its loss scaler on a CPU, where `fp16=True` alone is silently ignored."""

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        self.accelerator.state._mixed_precision = "fp16"
        self.accelerator.native_amp = True
        self.accelerator.scaler = torch.amp.GradScaler("cpu")


def tiny_model(large_activations: float = 1.0) -> GPT2LMHeadModel:
    """A two-layer GPT-2 with 120,000 parameters, the same at every call."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=32,
        n_embd=64,
        n_layer=2,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        loss_type="ForCausalLM",
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for block in model.transformer.h:
            block.mlp.c_proj.weight.mul_(large_activations)
    return model


def arguments(folder: str, **changes: Any) -> TrainingArguments:
    """The arguments of the run; `changes` win."""
    settings: dict[str, Any] = {
        "output_dir": folder,
        "max_steps": 120,
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 32,
        "optim": "adamw_torch",
        "logging_steps": 3,
        "save_steps": 20,
        "fp16": True,
        "use_cpu": True,
        "report_to": [],
    }
    return TrainingArguments(**{**settings, **changes})


if __name__ == "__main__":
    output = sys.argv[1] if len(sys.argv) > 1 else "demo-run"
    trainer = HalfPrecisionTrainer(
        tiny_model(LARGE_ACTIVATIONS),
        arguments(output),
        train_dataset=Counting(),
        callbacks=[LossDoctorCallback(facts={"gpu": "RTX 3090"})],
    )
    trainer.train()
    trainer.save_state()
