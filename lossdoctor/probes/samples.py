"""Which examples of the data set a micro-batch was made of, where the sampler tells."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from torch.utils.data import BatchSampler, DistributedSampler, SequentialSampler

from lossdoctor.probes.micro_batches import IGNORED


def samples(dataloader: Any, epoch: int, batch: int) -> list[int] | None:
    """The indices of batch number `batch` (from 0) of that epoch, for this process; None where the sampler does not tell.

    The order is drawn again from a copy of the sampler, never from the sampler itself: that would draw from its random numbers.
    It can be told where the order follows from a seed and the epoch, which is what accelerate's samplers do.
    """
    if type(dataloader).__name__ == "DataLoaderDispatcher":  # accelerate: one process reads for all, and cuts up
        return None
    sampler = _again(getattr(dataloader, "batch_sampler", None), epoch)
    if sampler is None:
        return None
    found = next(islice(iter(sampler), batch, None), None)
    return [int(index) for index in found] if found is not None else None


def _again(sampler: Any, epoch: int) -> Any:
    """A sampler that gives the order of that epoch once more; None where the order is not known."""
    if sampler is None or type(sampler) is SequentialSampler:
        return sampler
    again = copy.copy(sampler)
    if type(sampler) is BatchSampler:
        again.sampler = _again(sampler.sampler, epoch)
        return again if again.sampler is not None else None
    if type(sampler).__name__ == "BatchSamplerShard":  # accelerate: the share of one process
        again.batch_sampler = _again(sampler.batch_sampler, epoch)
        return again if again.batch_sampler is not None else None
    if type(sampler).__name__ == "SeedableRandomSampler":  # accelerate: seeded anew in every epoch
        again.generator = torch.Generator()
        again.epoch = epoch
        return again
    if type(sampler) is DistributedSampler:
        again.epoch = epoch
        return again
    return None


def lengths(inputs: Mapping[str, Any]) -> Iterator[tuple[str, list[int]]]:
    """What can be said of the rows of a batch: tokens that are not padding, tokens with a label."""
    mask, labels = inputs.get("attention_mask"), inputs.get("labels")
    if isinstance(mask, torch.Tensor) and mask.dim() == 2:
        yield "lengths", mask.sum(dim=1).tolist()
    if isinstance(labels, torch.Tensor) and labels.dim() == 2 and not labels.is_floating_point():
        yield "labelled", (labels != IGNORED).sum(dim=1).tolist()
    ids = inputs.get("input_ids")
    if isinstance(ids, torch.Tensor):
        yield "shape", list(ids.shape)
