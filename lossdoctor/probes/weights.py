"""Whether the trained weights are still numbers."""

from __future__ import annotations

from collections import defaultdict
from math import isfinite

import torch

#: What a wrapper of sharded parameters calls the part that this process holds: DTensor (FSDP 2), DeepSpeed ZeRO-3.
LOCAL_PARTS = ("_local_tensor", "ds_tensor")


def local(parameter: torch.Tensor) -> torch.Tensor:
    """The part of a parameter that this process holds: all of it, unless it is sharded."""
    part = next((part for name in LOCAL_PARTS if (part := getattr(parameter, name, None)) is not None), parameter)
    whole = getattr(parameter, "ds_numel", None)
    if whole is None or part is parameter:
        return part
    before = part.numel() * torch.distributed.get_rank(getattr(parameter, "ds_process_group", None))
    return part.flatten()[: max(0, min(part.numel(), whole - before))]  # behind it is padding, which nobody has set


def nonfinite(model: torch.nn.Module) -> tuple[int, int]:
    """How many trainable tensors hold a NaN or an infinity, and how many there are.

    Reads every trainable weight once and waits for the result: for moments when a checkpoint is to be written anyway. Takes
    no memory to speak of: a maximum is NaN where any element is.
    """
    extremes: dict[torch.device, list[torch.Tensor]] = defaultdict(list)
    with torch.no_grad():
        for parameter in model.parameters():
            part = local(parameter).detach()
            if parameter.requires_grad and part.is_floating_point() and part.numel() and part.device.type != "meta":
                low, high = torch.aminmax(part)
                extremes[part.device].append(torch.stack((low.float(), high.float())))
        pairs = [pair for found in extremes.values() for pair in torch.stack(found).tolist()]
    return sum(not (isfinite(low) and isfinite(high)) for low, high in pairs), len(pairs)


def sharded(model: torch.nn.Module) -> bool:
    """Whether parameters are spread over processes, so that no process alone can run the model."""
    names = {type(module).__name__ for module in model.modules()}
    wrapped = any("FSDP" in name or "FullyShardedDataParallel" in name for name in names)
    return wrapped or any(local(parameter) is not parameter for parameter in model.parameters())
