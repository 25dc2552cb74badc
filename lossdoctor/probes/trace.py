"""Single numbers of a device, kept there until somebody reads them all at once."""

from __future__ import annotations

import torch

#: A number on a CPU is known as soon as it is computed: there is nothing to wait for.
AT_ONCE = True
#: Numbers per block of device memory (4 kB), and blocks after which all are fetched: one wait in 65,536 numbers.
BLOCK, BLOCKS = 1024, 64


def known_at_once(value: torch.Tensor) -> bool:
    """Whether reading this tensor waits for nothing."""
    return AT_ONCE and value.is_cpu  # quicker than to ask for the device


class Trace:
    """Numbers in the order they were pushed. On a CPU they are known at once; on a device a push is one small copy within it.

    `read()` is what waits for the device: it is for moments when the Trainer has just waited itself.
    """

    def __init__(self) -> None:
        self._known: list[float] = []
        self._blocks: list[torch.Tensor] = []
        self._used = 0

    def push(self, value: torch.Tensor) -> float | None:
        """Takes a tensor of one element; returns it as a number where that needs no waiting."""
        value = value.detach()
        if known_at_once(value) and not self._blocks:
            number = float(value)
            self._known.append(number)
            return number
        if self._used == len(self._blocks) * BLOCK:
            if self._used == BLOCKS * BLOCK:
                self._fetch()
            self._blocks.append(torch.empty(BLOCK, dtype=torch.float32, device=value.device))
        self._blocks[-1][self._used % BLOCK].copy_(value.reshape(()), non_blocking=True)
        self._used += 1
        return None

    def read(self) -> list[float]:
        """All numbers since the last reading, as 32-bit floats."""
        self._fetch()
        numbers, self._known = self._known, []
        return numbers

    def _fetch(self) -> None:
        if self._used:
            self._known += torch.cat(self._blocks)[: self._used].tolist()
            self._blocks, self._used = [], 0
