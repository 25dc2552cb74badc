"""Gradient norms by groups of layers, for the step after an anomaly."""

from __future__ import annotations

import re
from collections import defaultdict

import torch

from lossdoctor.probes.weights import local

#: What wrappers put before the names of parameters.
WRAPPERS = re.compile(r"^(?:_orig_mod\.|module\.|_fsdp_wrapped_module\.|base_model\.model\.)+")
#: Up to the first number, which counts the blocks: `model.layers.11`.
BLOCK = re.compile(r"^(.*?\.\d+)(?:\.|$)")
#: More groups than this are put into one, so that a record stays small.
MOST = 128


def group(name: str) -> str:
    """The group of a parameter: its block of layers, or the module that holds it where there are no blocks."""
    plain = WRAPPERS.sub("", name)
    block = BLOCK.match(plain)
    return block[1] if block else ".".join(plain.split(".")[:2]).removesuffix(".weight").removesuffix(".bias")


def norms(model: torch.nn.Module) -> tuple[list[str], torch.Tensor] | None:
    """The groups in the order of the model, and the norms of their gradients as they are now, on the device.

    Under DeepSpeed and FSDP these are the parts that this process holds. None where no parameter has a gradient.
    """
    found: dict[str, list[torch.Tensor]] = defaultdict(list)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.grad is not None and parameter.grad.numel():
                where = group(name)
                where = where if where in found or len(found) < MOST else "others"
                found[where].append(torch.linalg.vector_norm(local(parameter.grad).detach().float()))
        if not found:
            return None
        device = next(iter(found.values()))[0].device
        values = [torch.linalg.vector_norm(torch.stack([part.to(device) for part in parts])) for parts in found.values()]
        return list(found), torch.stack(values)
