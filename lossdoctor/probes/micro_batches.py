"""The loss and the labels of every micro-batch of this process."""

from __future__ import annotations

from math import isfinite
from typing import Any

import torch

from lossdoctor.probe_columns import BATCHES_SO_FAR, FIRST_NONFINITE, LABELLED, MICRO_BATCHES, NONFINITE_LOSSES, UNLABELLED
from lossdoctor.probes.trace import Trace, known_at_once

#: The label of a token that is not learned, in transformers and torch.
IGNORED = -100
#: Labels on a CPU that are kept before they are counted: many in a row take a tenth of the time that single ones take, when
#: the model has driven all else out of the caches.
PENDING = 64


class MicroBatches:
    """Takes each micro-batch as the Trainer makes it; `read` tells of the steps in which one was NaN or had no labels.

    `tokens` and `supervised` count positions of the labels, and those among them that have one.
    """

    def __init__(self) -> None:
        self.batches = self.tokens = 0
        self.supervised = 0.0
        self.labelled = False  # whether batches have labels of any kind
        self.opening: float | None = None  # the loss of the first step, of which no update has changed anything yet
        self.suspicious = False  # a loss since the last reading is not finite, or 0 as without labels
        self._losses, self._labels = Trace(), Trace()
        self._pending: list[torch.Tensor] = []
        self._places: list[tuple[int, int, int]] = []  # step, micro-batch in it from 1, positions of its labels (0: no labels)
        self._step = self._in_step = 0

    def see(self, step: int, inputs: Any, loss: torch.Tensor) -> bool | None:
        """Whether the loss is finite; None where that will only be known at the next reading."""
        self._in_step = self._in_step + 1 if step == self._step else 1
        self._step = step
        labels = inputs.get("labels") if hasattr(inputs, "get") else None
        self.labelled = self.labelled or labels is not None
        positions = 0
        if isinstance(labels, torch.Tensor) and labels.dim() > 1 and not labels.is_floating_point():
            positions = labels.numel()
            self._pending.append(labels)
            if not known_at_once(labels) or len(self._pending) == PENDING:
                self._count()
        self._places.append((step, self._in_step, positions))
        number = self._losses.push(loss)
        if number is None:
            return None
        finite = isfinite(number)
        self.suspicious = self.suspicious or not finite or number == 0.0
        return finite

    def _count(self) -> None:
        for labels in self._pending:
            self._labels.push((labels != IGNORED).sum())
        self._pending.clear()

    @property
    def place(self) -> tuple[int, int]:
        """Step and micro-batch, both counted from 1, of the last one that was seen."""
        return self._step, self._in_step

    def read(self) -> dict[int, dict[str, float]]:
        """The steps since the last reading in which something was wrong, with the columns of their probe records."""
        self._count()
        self.suspicious = False
        losses, places = self._losses.read(), self._places
        labels = iter(self._labels.read())
        self._places = []
        wrong: dict[int, dict[str, float]] = {}
        for loss, (step, place, positions) in zip(losses, places, strict=True):
            self.batches += 1
            if step == 1:
                self.opening = (self.opening or 0.0) + loss  # the Trainer divides by the number of micro-batches
            supervised = next(labels) if positions else 0.0
            self.tokens += positions
            self.supervised += supervised
            if not isfinite(loss):
                found = wrong.setdefault(step, {})
                found[NONFINITE_LOSSES] = found.get(NONFINITE_LOSSES, 0.0) + 1
                found.setdefault(FIRST_NONFINITE, float(place))
            if positions and not supervised:
                found = wrong.setdefault(step, {})
                found[UNLABELLED] = found.get(UNLABELLED, 0.0) + 1
                found[BATCHES_SO_FAR] = float(self.batches)
        for step, _, positions in places if wrong else ():
            if step in wrong:
                wrong[step][MICRO_BATCHES] = wrong[step].get(MICRO_BATCHES, 0.0) + 1
                wrong[step][LABELLED] = float(positions > 0)
        return wrong
