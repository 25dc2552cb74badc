"""The first tensor of a forward pass that is not finite, found by running one batch again under hooks."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lossdoctor.probes.weights import sharded

#: Modules with the largest outputs that are listed: in fp16 the one next to 65,504 is what to look at.
LARGEST = 8
#: Buffers (rotary tables, running means, causal masks) beyond this are not copied, and the model is not run again.
BUFFERS = 1 << 29


@dataclass
class Place:
    """What was found: `what` is input, parameter, output, loss or nothing; `name` that of the module or input."""

    what: str
    name: str
    numbers: dict[str, Any] = field(default_factory=dict)


class CannotRun(Exception):
    """The batch cannot be run again; the text says why."""


def find(model: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Place:
    """Runs `model(*args, **kwargs)` forward, first in evaluation mode and, if that is sound, as in training.

    Weights, gradients, buffers, random numbers and what modules keep of their last call are left as they were.

    Raises:
        CannotRun: the model is sharded, does not take this batch, or its buffers are too large to be kept.
    """
    if sharded(model):
        raise CannotRun("the model is sharded: running it again would take all processes")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    args, kwargs = _moved(args, device), _moved(dict(kwargs), device)
    for name, value in [*((str(place), value) for place, value in enumerate(args)), *kwargs.items()]:
        if isinstance(value, torch.Tensor) and not isfinite(_largest(value)):
            return Place("input", name)
    for name, parameter in model.named_parameters():
        if not isfinite(_largest(parameter)):
            return Place("parameter", name.rpartition(".")[0], {"parameter": name})
    place = Place("nothing", "")
    with _as_it_was(model), torch.no_grad():
        for training in (False, True):
            place = _run(model, args, dict(kwargs), training)
            if place.what != "nothing":
                break
    return place


def _run(model: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool) -> Place:
    seen: list[Place] = []
    heights: dict[str, float] = {}
    handles = []

    def hook(name: str, module: torch.nn.Module) -> Any:
        def look(_: Any, given: Any, output: Any) -> None:
            for tensor in _tensors(output):
                low, high = _extremes(tensor)
                heights[name] = max(heights.get(name, 0.0), abs(low), abs(high))
                if len(seen) < LARGEST and not (isfinite(low) and isfinite(high)):
                    before = max((_largest(t) for t in _tensors(given)), default=0.0)
                    kind = {"class": type(module).__name__, "dtype": str(tensor.dtype).removeprefix("torch.")}
                    numbers = {"largest_input": before, "lowest_output": low, "highest_output": high}
                    seen.append(Place("output", name, {**kind, **numbers}))

        return look

    for mode in model.modules():
        mode.training = training
    try:
        for name, module in model.named_modules():
            if name:
                handles.append(module.register_forward_hook(hook(name, module)))
        with _eagerly(), _Alone():
            outputs = model(*args, **kwargs)
    except TypeError as error:
        raise CannotRun(f"the model does not take this batch by itself: {error}") from None
    finally:
        for handle in handles:
            handle.remove()
    first = next((place for place in seen if not _mask(place)), seen[0] if seen else None)
    if first is None:
        whole = all(isfinite(_largest(tensor)) for tensor in _tensors(_loss(outputs)))
        first = Place("nothing" if whole else "loss", "")
    elif all(isfinite(_largest(tensor)) for tensor in _tensors(_loss(outputs))) and _mask(first):
        first = Place("nothing", "")
    largest = sorted(heights.items(), key=lambda item: -item[1] if isfinite(item[1]) else -inf)[:LARGEST]
    first.numbers["largest_outputs"] = dict(largest)
    first.numbers["mode"] = "training" if training else "evaluation"
    return first


def _mask(place: Place) -> bool:
    """Whether nothing but minus infinity in a format that does not overflow: an attention mask, most likely."""
    low, high = place.numbers.get("lowest_output", 0.0), place.numbers.get("highest_output", 0.0)
    return low == -inf and isfinite(high) and place.numbers.get("dtype") != "float16"


def _loss(outputs: Any) -> Any:
    """The loss among the outputs of a model; all of them where there is none."""
    loss = getattr(outputs, "loss", None)
    return outputs if loss is None else loss


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """The floating-point tensors in an output of any shape."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point() and value.numel():
            yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


def _extremes(tensor: torch.Tensor) -> tuple[float, float]:
    low, high = torch.aminmax(tensor.detach())
    return float(low), float(high)


def _largest(tensor: torch.Tensor) -> float:
    """The largest magnitude; NaN or infinite where any element is, 0.0 for what has no floating-point numbers."""
    if not tensor.is_floating_point() or not tensor.numel() or tensor.device.type == "meta":
        return 0.0
    low, high = _extremes(tensor)
    return high - low if low != low or high != high else max(abs(low), abs(high))


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(part, device) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_moved(part, device) for part in value) if type(value) in (tuple, list) else value
    return value


@contextlib.contextmanager
def _as_it_was(model: torch.nn.Module) -> Iterator[None]:
    """Puts back modes, buffers, plain attributes of the modules and all random states, whatever happens."""
    buffers = list(model.buffers())
    if sum(buffer.nbytes for buffer in buffers) > BUFFERS:
        raise CannotRun("the buffers of the model are too large to be kept aside")
    copies = [buffer.detach().clone() for buffer in buffers]
    modules = [(module, dict(module.__dict__), dict(module._buffers)) for module in model.modules()]
    states = random.getstate(), np.random.get_state()
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type not in ("cpu", "meta")}
    kind = next((device.type for device in devices), "cuda")
    try:
        with torch.random.fork_rng([device.index or 0 for device in devices], device_type=kind):
            yield
    finally:
        for module, attributes, own in modules:
            for name in module.__dict__.keys() - attributes.keys():
                del module.__dict__[name]
            module.__dict__.update(attributes)
            module._buffers.update(own)
        with torch.no_grad():
            for buffer, copy in zip(buffers, copies, strict=True):
                buffer.copy_(copy)
        random.setstate(states[0])
        np.random.set_state(states[1])


class _Alone(TorchDispatchMode):  # type: ignore[misc]
    """Stops before the first collective: this process alone runs the model, and nobody would answer."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace in ("c10d", "_c10d_functional", "_c10d_functional_autograd", "c10d_functional"):
            raise CannotRun("the model talks to other processes: running it again would take all of them")
        return func(*args, **(kwargs or {}))


def _eagerly() -> Any:
    """Without torch.compile, which would compile the hooks as well; a no-op before torch 2.6."""
    stance = getattr(torch.compiler, "set_stance", None)
    return stance("force_eager") if stance else contextlib.nullcontext()
