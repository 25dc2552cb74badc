"""What `test_sharded.py` runs on every rank: trainings of which FSDP or DeepSpeed spreads model or optimizer over the ranks.

All of it on a CPU. There DeepSpeed has to be told of the processes, and FSDP that it may shard, which accelerate allows on an
accelerator alone; the model is wrapped, trained and asked by the code that a GPU has.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from fp16_collapse import Counting, arguments, tiny_model
from transformers import TrainerCallback, TrainingArguments
from two_ranks import Failing, Faulty

from lossdoctor import LossDoctorCallback
from lossdoctor.probes import weights
from lossdoctor.probes.ranks import Ranks

RANK = int(os.environ["RANK"])
LOST = range(8, 1000)
FEW = (5, 9)
#: FSDP 1 cannot write its checkpoints on a CPU, with or without a doctor.
SAVES = {"save_strategy": "steps", "save_steps": 4}


class Masking(Faulty):
    """And no token of rank 1 has a label, if asked for."""

    masked = False

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self.masked and RANK == 1:
            inputs["labels"].fill_(-100)
        return super().training_step(model, inputs, *args, **kwargs)


class Planted(TrainerCallback):
    """One number of the share of rank 1 becomes NaN after step 4."""

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == 4 and RANK == 1:
            weights.local(list(model.parameters())[3]).data.view(-1)[0] = math.nan


class Padding(TrainerCallback):
    """What is behind the last number of an odd share is NaN: DeepSpeed leaves there whatever was in the memory before."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if RANK == 1:
            model.odd.ds_tensor.data[-1] = math.nan
        self.nonfinite = weights.nonfinite(model)


class Overflows(TrainerCallback):
    """Counts the steps that DeepSpeed throws away."""

    count = 0

    def on_step_end(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
        self.count += optimizer.step_was_skipped


class Talks(torch.nn.Module):
    """A layer whose forward pass asks the other processes, as synchronised batch norms and parallel layers do."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inner(x)
        mean = x.detach().mean()
        torch.distributed.all_reduce(mean)
        return x + 0.0 * mean


def settings(mode: str, folder: Path, changes: dict[str, Any]) -> TrainingArguments:
    """The arguments of a training in that mode, with the processes set up for it."""
    more: dict[str, Any] = {"fp16": False, "max_steps": 12, "logging_steps": 1, "save_strategy": "no", "disable_tqdm": True}
    more |= {"per_device_train_batch_size": 4, **changes}
    if mode.startswith("zero"):
        AcceleratorState._reset_state(reset_partial_state=True)
        os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
        PartialState(backend="gloo")
        more["accelerator_config"] = {"use_configured_state": True}
        more["deepspeed"] = {
            "zero_optimization": {"stage": int(mode[-1]), "stage3_param_persistence_threshold": 0},
            "bf16": {"enabled": "auto"},
            "fp16": {"enabled": "auto", "initial_scale_power": 20, "hysteresis": 1},
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto",
            "zero_allow_untested_optimizer": True,
        }
    elif mode.startswith("fsdp"):
        more["fsdp"] = True
        config = {"transformer_layer_cls_to_wrap": ["GPT2Block"], "sync_module_states": False}
        more["fsdp_config"] = {"version": int(mode[-1]), **config}
    args = arguments(str(folder), **more)
    if mode.startswith("fsdp"):
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    return args


def run(mode: str, folder: Path, doctor: LossDoctorCallback | None, **changes: Any) -> dict[str, Any]:
    """One training on all ranks, and what this rank knows at its end."""
    faults = {name: changes.pop(name) for name in ("nan_in", "harmless", "masked") if name in changes}
    callbacks, model = changes.pop("callbacks", []), changes.pop("model", None) or tiny_model()
    args = settings(mode, folder, changes)
    trainer = Masking(model, args, train_dataset=Counting(), callbacks=[*callbacks, *([doctor] if doctor else [])])
    for name, value in faults.items():
        setattr(trainer, name, value)
    trainer.train()
    shares = [weights.local(parameter).detach().double() for parameter in trainer.model.parameters()]
    outcome: dict[str, Any] = {
        "step": trainer.state.global_step,
        "weights": [float(share.abs().sum()) for share in shares],
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
        "sharded": weights.sharded(trainer.model),
        "nonfinite": weights.nonfinite(trainer.model),
        "saved": sorted(path.name for path in folder.glob("checkpoint-*")),
    }
    if doctor is not None:
        report = doctor.report
        outcome |= {"verdict": report.verdict, "failure": doctor.failure, "watched": list(report.run.watched)}
        outcome["symptoms"] = {s.slug: [s.severity, s.message] for s in report.symptoms}
        outcome["unseen"] = {n.what: n.why for n in report.run.unseen}
        outcome["trainable"] = report.run.get("trainable_parameters")
    return outcome


def silent(on_critical: Any = "warn", **options: Any) -> LossDoctorCallback:
    return LossDoctorCallback(on_critical, sinks=[], **options)


def sharded(mode: str, folder: Path) -> dict[str, Any]:
    """Trainings in a mode that shards."""
    few: dict[str, Any] = {"nan_in": FEW, "harmless": True, "bf16": mode in ("fsdp2", "zero2")}
    saves = SAVES if mode != "fsdp1" else {}
    found = {
        "alone": run(mode, folder / "alone", None, **few),
        "watched": run(mode, folder / "watched", silent(), **few),
        "both stop": run(mode, folder / "both", silent("stop"), nan_in=LOST, max_steps=30),
        "doctor on one": run(mode, folder / "one", silent("stop") if RANK == 0 else None, nan_in=LOST, **saves),
        "one fails": run(mode, folder / "fails", (Failing if RANK else LossDoctorCallback)("stop", sinks=[]), nan_in=LOST),
    }
    if mode in ("fsdp2", "zero3"):
        found["share"] = run(mode, folder / "share", silent(), callbacks=[Planted()], **SAVES)
    if mode == "zero3":
        model, look = tiny_model(), Padding()
        model.odd = torch.nn.Parameter(torch.ones(5))
        found["padding"] = run(mode, folder / "padding", silent(), model=model, callbacks=[look], max_steps=1)
        found["padding"]["nonfinite"] = look.nonfinite
    if mode.startswith("zero"):
        for name, stage in (("fp16", mode), *((("fp16 without ZeRO", "zero0"),) if mode == "zero1" else ())):
            overflows = Overflows()
            faults = {"nan_in": (3,)} if stage == "zero0" else {}  # there the first scale is DeepSpeed's own, which is low
            found[name] = run(stage, folder / name, silent(), callbacks=[overflows], fp16=True, max_steps=10, **faults)
            found[name]["skipped"] = overflows.count
    return found


def whole(mode: str, folder: Path) -> dict[str, Any]:
    """Trainings of which every process has the whole model, each with a way to stop or wait alone."""
    talking = tiny_model()
    talking.transformer.h[0].mlp = Talks(talking.transformer.h[0].mlp)
    vote = Ranks.vote

    def fails_after_voting(self: Any, *args: Any, **kwargs: Any) -> None:
        vote(self, *args, **kwargs)
        if RANK == 1:
            raise RuntimeError("planted")

    found = {
        "talks": run(mode, folder / "talks", silent(), model=talking, nan_in=(5,)),
        "log only": run(mode, folder / "log", silent("stop", probes=False) if RANK == 0 else None, nan_in=LOST, max_steps=24),
        "masked on one": run(mode, folder / "masked", silent(), masked=True),
    }
    for name, doctors in (("first", RANK == 0), ("again", True)):
        found[name] = run(mode, folder / "twice", silent("stop") if doctors else None, nan_in=LOST, max_steps=24)
    Ranks.vote = fails_after_voting  # type: ignore[method-assign]
    found["fails after voting"] = run(mode, folder / "voted", silent("stop"), nan_in=LOST, max_steps=24)
    return found


def main(modes: list[str], folder: Path) -> None:
    if any(mode.startswith("zero") for mode in modes):
        import deepspeed
        from deepspeed.accelerator import get_accelerator

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # it would be compiled for a minute
        type(get_accelerator()).is_fp16_supported = lambda self: True  # slow on a CPU without it, and exact
    if "fsdp1" in modes:
        from torch.distributed.fsdp import FullyShardedDataParallel

        original = FullyShardedDataParallel.__init__

        def on_cpu(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **{**kwargs, "device_id": torch.device("cpu")})  # accelerate gives it an index

        FullyShardedDataParallel.__init__ = on_cpu
    for mode in modes:
        found = (whole if mode == "ddp" else sharded)(mode, folder / mode)
        found["folder"] = str(folder / mode)
        (folder / f"{mode}-{RANK}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()  # without it a rank may abort the other while it leaves


if __name__ == "__main__":
    main(sys.argv[1].split(","), Path(sys.argv[2]))
