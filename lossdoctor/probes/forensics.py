"""The scene of the first NaN: which batch it was, and where in the model it began. Once per training, written to a file."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from lossdoctor.language import say
from lossdoctor.probes.first_tensor import CannotRun, Place, find
from lossdoctor.probes.samples import lengths, samples

#: Batches are kept until their losses are known, the newest in so many bytes: on a device they are known when the Trainer logs.
KEPT = 32 * 1024 * 1024


@dataclass
class Kept:
    """A micro-batch that may turn out to be the one."""

    step: int
    place: int
    inputs: Any
    call: tuple[tuple[Any, ...], dict[str, Any]] | None
    size: int


class Forensics:
    """Keeps the micro-batches whose losses are not known yet, and looks into the first one that was NaN.

    Args:
        folder: the output folder of the run; the file goes into `lossdoctor/` within it.
        rank: the process, part of the file's name where it is not 0.
        keep_batch: save the batch itself as well, for `torch.load`.
    """

    def __init__(self, folder: str, rank: int, keep_batch: bool) -> None:
        self.done = False
        self._folder, self._rank, self._keep_batch = Path(folder, "lossdoctor"), rank, keep_batch
        self._batches: deque[Kept] = deque()
        self._size = 0

    def keep(self, step: int, place: int, inputs: Any, call: Any, sure: bool = False) -> None:
        """Remembers a micro-batch; only references are kept, and no more than the limit, unless it is the one for `sure`.

        What the model was called with counts as well: a trainer may make it of the inputs, and it may be a thousand times larger.
        """
        size = sum({id(tensor): tensor.nbytes for tensor in _tensors((inputs, call))}.values())
        self._batches.append(Kept(step, place, inputs, call, size))
        self._size += size
        while self._size > KEPT and len(self._batches) > sure:
            self._size -= self._batches.popleft().size

    def forget(self) -> None:
        """The losses of all that were kept are known."""
        self._batches.clear()
        self._size = 0

    def look(self, model: torch.nn.Module, step: int, place: int, order: Callable[[], Any], now: int) -> Place:
        """Examines that micro-batch, writes `forensics-<step>.json` and returns what was found.

        Args:
            order: gives data loader, epoch and number of the batch in it; called for the indices of the examples.
            now: the step that the training has come to since.
        """
        self.done = True
        kept = next((batch for batch in self._batches if (batch.step, batch.place) == (step, place)), None)
        self.forget()
        report: dict[str, Any] = {"format": 1, "step": step, "micro_batch": place, "rank": self._rank, "seen_at_step": now}
        found = Place("unknown", "")
        if kept is None:
            report["not_run_again"] = say("the batch was no longer in memory when its loss became known")
        else:
            report |= dict(lengths(kept.inputs)) if isinstance(kept.inputs, Mapping) else {}
            try:
                args, kwargs = kept.call or ((), dict(kept.inputs) if isinstance(kept.inputs, Mapping) else {})
                found = find(model, args, kwargs)
            except CannotRun as reason:
                report["not_run_again"] = str(reason)
            except Exception as error:
                report["not_run_again"] = f"{type(error).__name__}: {error}"
        report["first_not_finite"] = {"what": found.what, "name": found.name, **found.numbers}
        report["samples"] = _samples(order, kept)
        self._write(step, report, kept)
        return found

    def _write(self, step: int, report: dict[str, Any], kept: Kept | None) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{step}-rank{self._rank}" if self._rank else str(step)
        path = self._folder / f"forensics-{name}.json"
        if self._keep_batch and kept is not None:
            batch = self._folder / f"batch-{name}.pt"
            torch.save(dict(kept.inputs) if isinstance(kept.inputs, Mapping) else kept.inputs, batch)
            report["batch"] = batch.name
        path.write_text(json.dumps(_strict(report), indent=2) + "\n", encoding="utf-8")


def _samples(order: Callable[[], Any], kept: Kept | None) -> Any:
    """The indices of the examples, or why they are not known."""
    try:
        found = samples(*order())
    except Exception as error:
        return say("not known: {error}", error=error)
    sizes = {len(value) for value in _values(kept.inputs) if isinstance(value, torch.Tensor) and value.dim()} if kept else set()
    if found is None or (sizes and len(found) not in sizes):
        return say("not known: the order of the sampler does not follow from a seed")
    return found


def _values(inputs: Any) -> Any:
    return inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, (list, tuple)) else [inputs]


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """All tensors in a batch or a call, however they are nested."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)


def _strict(value: Any) -> Any:
    """As JSON allows it: numbers that are not finite become text."""
    if isinstance(value, dict):
        return {name: _strict(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_strict(part) for part in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value
