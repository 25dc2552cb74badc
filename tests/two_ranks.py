"""What `test_distributed.py` runs on every rank: one training after the other, each with its own fault and doctors."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import torch
from fp16_collapse import Counting, arguments, tiny_model
from transformers import Trainer

from lossdoctor import LossDoctorCallback


class Faulty(Trainer):
    """The loss of rank 1 alone is NaN in the micro-batches that `nan_in` chooses; harmless ones leave no gradient."""

    nan_in: Any = ()
    harmless = False
    batches = 0

    def training_step(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        self.batches += 1
        self.bad = self.args.process_index == 1 and self.batches in self.nan_in
        loss = super().training_step(model, *args, **kwargs)
        return loss * math.nan if self.bad else loss

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        return loss * math.nan if self.bad and not self.harmless else loss


class Failing(LossDoctorCallback):
    """A doctor that falls ill itself in the sixth row."""

    def _observe(self, record: Any, control: Any) -> None:
        if record.step == 6:
            raise RuntimeError("planted")
        super()._observe(record, control)


def run(folder: Path, doctor: LossDoctorCallback | None, **changes: Any) -> dict[str, Any]:
    """One training on all ranks, and what this rank knows at its end."""
    more = {name: changes.pop(name) for name in ("nan_in", "harmless") if name in changes}
    settings = {"fp16": False, "max_steps": 30, "logging_steps": 1, "save_strategy": "no", "per_device_train_batch_size": 4}
    args = arguments(str(folder), **{**settings, "disable_tqdm": True, **changes})
    trainer = Faulty(tiny_model(), args, train_dataset=Counting(), callbacks=[doctor] if doctor else [])
    for name, value in more.items():
        setattr(trainer, name, value)
    trainer.train()
    outcome = {"step": trainer.state.global_step, "weights": sum(float(p.double().sum()) for p in trainer.model.parameters())}
    if doctor is not None:
        report = doctor.report
        outcome |= {"verdict": report.verdict, "failure": doctor.failure, "last_good": report.last_good_checkpoint}
        outcome["symptoms"] = {s.slug: s.message for s in report.symptoms}
    return outcome


def main(folder: Path) -> None:
    rank = int(torch.distributed.get_rank()) if torch.distributed.is_initialized() else None
    outcomes: dict[str, Any] = {}
    for name, doctor, changes in scenarios():
        if rank is None:  # only the first training knows: accelerate sets the processes up
            rank = arguments(str(folder), fp16=False).process_index
        outcomes[name] = run(folder / name, doctor(rank), **changes)
    (folder / f"rank-{rank}.json").write_text(json.dumps(outcomes))
    torch.distributed.destroy_process_group()  # without it a rank may abort the other while it leaves


def scenarios() -> list[tuple[str, Any, dict[str, Any]]]:
    """Name, the doctor of each rank, and the fault."""
    lost = {"nan_in": range(8, 1000)}
    few = {"nan_in": (5, 9), "harmless": True, "logging_steps": 10}
    saves = {"save_strategy": "steps", "save_steps": 5, "save_total_limit": 1}
    return [
        ("alone", lambda rank: None, few),
        ("watched", lambda rank: LossDoctorCallback(sinks=[]), few),
        ("both stop", lambda rank: LossDoctorCallback("stop", sinks=[lambda event: 1 / 0]), lost),
        ("doctor on one", lambda rank: LossDoctorCallback("stop", sinks=[]) if rank == 0 else None, {**lost, **saves}),
        ("one fails", lambda rank: (Failing if rank == 1 else LossDoctorCallback)("stop", sinks=[]), lost),
        ("protected", lambda rank: LossDoctorCallback(sinks=[]), {**lost, **saves}),
        ("loud", lambda rank: LossDoctorCallback(), lost),
    ]


if __name__ == "__main__":
    if "--launch" in sys.argv:
        from accelerate import debug_launcher

        debug_launcher(main, args=(Path(sys.argv[-1]),), num_processes=2)
    else:
        main(Path(sys.argv[-1]))
