"""How far one optimizer step can change the weights, as a multiple of their size.

The first steps of Adam move every weight by about the learning rate, all in the direction that the batch asks for. For a matrix
of m × n weights that is a change of spectral norm rate × √(m·n). Divided by the spectral norm of the weights, it says the same
of narrow and of wide models (https://arxiv.org/abs/2310.17813), and of adapters, whose update s·B·A counts by what it adds to
the weights beneath.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import isfinite, sqrt
from typing import Any, TypeGuard

import torch

from lossdoctor.probes.weights import local
from lossdoctor.stats import median

#: Matrices that are looked at, evenly over the depth of the model: the middle one of them is told.
LOOKED_AT = 12
#: Rounds of the power iteration; the rest of the error is a few hundredths.
ROUNDS = 8


class Reach:
    """The change per unit of the learning rate; begun when a training begins, and read when the device is waited for anyway."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._known: float | None = None
        with torch.no_grad():
            found: list[tuple[Any, ...]] = [*_adapters(model)] or [*_matrices(model)]
            every = max(1, len(found) // LOOKED_AT)
            chosen = list(islice(found, 0, None, every))
            self._factors = [(factor, len(weights)) for factor, *weights in chosen]
            self._sizes = [_norm(weight) for _, *weights in chosen for weight in weights]

    def read(self) -> float | None:
        """None where no weight that is trained has a size: sharded or quantised ones are not looked at."""
        if self._sizes:
            home = self._sizes[0].device
            sizes = iter(torch.stack([size.to(home) for size in self._sizes]).tolist())  # one wait for all of them
            self._sizes = []
            values = [factor * _quotient(*islice(sizes, parts)) for factor, parts in self._factors]
            values = [value for value in values if isfinite(value) and value > 0]
            self._known = median(values) if values else None
        return self._known


def _quotient(beneath: float, inner: float = 1.0) -> float:
    return inner / beneath if beneath else 0.0


def _norm(weight: torch.Tensor) -> torch.Tensor:
    """The spectral norm, by power iteration from the norms of the columns: it draws no random numbers and takes no copy."""
    matrix = weight.detach()
    right = torch.linalg.vector_norm(matrix, dim=0, dtype=torch.float32)
    size = torch.linalg.vector_norm(right)
    for _ in range(ROUNDS):
        left = (matrix @ (right / size).to(matrix.dtype)).float()
        right = (matrix.T @ (left / torch.linalg.vector_norm(left)).to(matrix.dtype)).float()
        size = torch.linalg.vector_norm(right)
    return size


def _whole(weight: Any) -> TypeGuard[torch.Tensor]:
    """Whether it is a matrix of numbers that this process holds."""
    return (
        isinstance(weight, torch.Tensor)
        and weight.dim() == 2
        and weight.numel() > 0
        and weight.is_floating_point()
        and weight.device.type != "meta"
        and local(weight) is weight
    )


def _matrices(model: torch.nn.Module) -> Iterator[tuple[float, torch.Tensor]]:
    """The matrices that are trained, without embeddings, whose rows are looked up: a factor, to be divided by their norm."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    for module in model.modules():
        weight: Any = getattr(module, "weight", None)
        if _whole(weight) and weight.requires_grad and id(weight) not in tables:
            rows, columns = weight.shape
            yield sqrt(rows * columns), weight


def _adapters(model: torch.nn.Module) -> Iterator[tuple[float, torch.Tensor, torch.Tensor]]:
    """The same of LoRA: B begins at 0, and each step moves it by the rate; the weights beneath, and A."""
    for module in model.modules():
        inner, outer, scales = (getattr(module, name, None) for name in ("lora_A", "lora_B", "scaling"))
        base = getattr(getattr(module, "base_layer", None), "weight", None)
        if not isinstance(scales, dict) or not inner or not outer or not _whole(base):
            continue
        for name, scale in scales.items():
            if name in inner and name in outer and _whole(a := inner[name].weight) and outer[name].weight.requires_grad:
                yield abs(scale) * sqrt(outer[name].weight.shape[0] * a.shape[0]), base, a
