"""What `test_manual_live.py` runs on every rank: a program of docs/live.md, on CPUs, where accelerate has to be told to shard.

torchrun --nproc_per_node 2 tests/manual_ranks.py MODE PROGRAM.py OUTCOME_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import sharded_ranks
import torch
import transformers
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from fp16_collapse import Counting, tiny_model
from transformers import TrainingArguments


def on_cpu(mode: str) -> Any:
    """TrainingArguments as the program has them, with what a CPU needs besides: see `sharded_ranks.settings`."""

    def made(folder: str, **settings: Any) -> TrainingArguments:
        more: dict[str, Any] = {
            "use_cpu": True,
            "save_strategy": "no",
            "disable_tqdm": True,
            "optim": "adamw_torch",
            "report_to": [],
        }
        if mode.startswith("zero"):
            import os

            AcceleratorState._reset_state(reset_partial_state=True)
            os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
            PartialState(backend="gloo")
            more["accelerator_config"] = {"use_configured_state": True}
        args = TrainingArguments(folder, **{**settings, **more})
        if mode.startswith("fsdp"):
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        return args

    return made


def main(mode: str, program: Path, outcome: Path) -> None:
    if mode.startswith("zero"):
        import deepspeed

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # it would be compiled for a minute
    transformers.TrainingArguments = on_cpu(mode)
    names: dict[str, Any] = {"model": tiny_model(), "data": Counting()}
    exec(compile(program.read_text(), program.name, "exec"), names)
    doctor, trainer = names["doctor"], names["trainer"]
    found = {
        "verdict": doctor.report.verdict,
        "failure": doctor.failure,
        "step": trainer.state.global_step,
        "watched": list(doctor.report.run.watched),
        "zero_stage": doctor.report.run.get("zero_stage"),
        "wrapped": type(trainer.model_wrapped).__name__,
    }
    (outcome / f"{sharded_ranks.RANK}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
