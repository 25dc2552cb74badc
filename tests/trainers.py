"""Tiny Trainers with faults: what the tests of the live doctor train."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fp16_collapse import Counting, arguments, tiny_model
from transformers import Trainer

from lossdoctor import LossDoctorCallback

torch.set_num_threads(1)  # the models are tiny: a second thread only waits, and the other core has tests of its own

Train = Callable[..., tuple[Trainer, LossDoctorCallback | None]]


class NanLoss(Trainer):
    """A Trainer whose loss is NaN in the micro-batches that `nan_in` chooses, counted from 1."""

    def __init__(self, *args: Any, nan_in: Callable[[int], bool], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.nan_in, self.batches = nan_in, 0

    def compute_loss(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(model, *args, **kwargs)
        if not model.training:
            return loss
        self.batches += 1
        return loss * math.nan if self.nan_in(self.batches) else loss


class Harmless(NanLoss):
    """The loss is NaN in those batches and their gradient 0, as without labels: the weights are left as they were."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return Trainer.compute_loss(self, *args, **kwargs)

    def training_step(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(model, *args, **kwargs)
        self.batches += 1
        if not self.nan_in(self.batches):
            return loss
        model.zero_grad(set_to_none=False)
        return loss * math.nan


class Masked(Counting):
    """Sequences of which no token has a label."""

    def __getitem__(self, row: int) -> dict[str, Any]:
        item = super().__getitem__(row)
        return {**item, "labels": torch.full_like(item["labels"], -100)}


def trains_in(folder: Path) -> Train:
    """Trains the example's tiny model; `doctor` may be None, a callback, or left out for a silent one."""

    def run(
        kind: type[Trainer] = Trainer, *, doctor: Any = "silent", model: Any = None, resume: Any = None, **changes: Any
    ) -> Any:
        more = {name: changes.pop(name) for name in ("nan_in", "callbacks", "train_dataset", "eval_dataset") if name in changes}
        doctor = LossDoctorCallback(sinks=[]) if doctor == "silent" else doctor
        settings = {"max_steps": 30, "save_strategy": "no", "fp16": False, "disable_tqdm": True, "logging_steps": 1, **changes}
        settings.setdefault("per_device_train_batch_size", 8)
        more.setdefault("train_dataset", Counting())
        more["callbacks"] = [*more.get("callbacks", []), *([doctor] if doctor else [])]
        trainer = kind(model or tiny_model(), arguments(str(folder), **settings), **more)
        trainer.train(resume_from_checkpoint=resume)
        trainer.save_state()
        torch.save(trainer.args, folder / "training_args.bin")  # as the Trainer does in every checkpoint
        return trainer, doctor

    return run
