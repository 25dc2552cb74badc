"""All instruments of one training behind one face; a probe that fails is switched off, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import isfinite, sqrt
from typing import Any, TypeVar

import torch

from lossdoctor.language import later, say
from lossdoctor.model import Fact, NotJudged, Record
from lossdoctor.probe_columns import (
    BATCHES_SO_FAR,
    FIRST_NONFINITE,
    FIRST_TENSOR,
    GRADIENT_NORM,
    LABELS,
    LOSS_SCALE,
    LOSSES,
    NONFINITE_LOSSES,
    NONFINITE_WEIGHTS,
    PROCESS,
    SCALE,
    SKIPPED,
    WEIGHTS,
)
from lossdoctor.probes import layers, weights
from lossdoctor.probes.adapter_gradient import AdapterGradient
from lossdoctor.probes.examples import Examples
from lossdoctor.probes.forensics import Forensics
from lossdoctor.probes.loss_scale import LossScale
from lossdoctor.probes.micro_batches import MicroBatches
from lossdoctor.probes.ranks import Ranks
from lossdoctor.probes.reach import Reach
from lossdoctor.probes.trainer import Calls, TrainingStep

Result = TypeVar("Result")
#: A step is thrown away by all processes or by none: what the first one saw itself is enough.
SEEN_BY_ALL = (SKIPPED, LOSS_SCALE)
SOURCE = "seen live"
EXAMPLES, ADAPTER = "order and labels of the examples", "gradient of the adapter"
SIZE = later("the size of the weights")


class Instruments:
    """Made when a training begins, closed when it ends.

    Args:
        args, state, model: what the Trainer hands to callbacks.
        trainer: the Trainer; None where it is not known, and then the losses cannot be seen.
        ranks: the processes of this training.
        at_once: look at every loss as soon as it is there, also on a device, where that waits for it.
        keep_batch: save the batch of the first NaN.
    """

    def __init__(self, args: Any, state: Any, model: Any, trainer: Any, ranks: Ranks, *, at_once: bool, keep_batch: bool) -> None:
        self.ranks = ranks
        self.watched: dict[str, int] = {}
        self._args, self._state, self._model, self._trainer = args, state, model, trainer
        self._at_once = at_once
        self._off: dict[str, str] = {}
        self._batches, self._scale = MicroBatches(), LossScale()
        self._examples = self._try(EXAMPLES, Examples, model, getattr(trainer, "data_collator", None))
        self._adapter = self._try(ADAPTER, AdapterGradient, model)
        self._forensics = Forensics(str(args.output_dir or "."), self.ranks.rank, keep_batch)
        self._found: list[Record] = []
        self._known = True  # the losses so far were known as soon as they were there
        self._armed = False
        self._norms: tuple[int, tuple[list[str], torch.Tensor]] | None = None
        self._step_of: TrainingStep | None = None
        self._calls: Calls | None = None
        self._scaled: bool | None = None
        self._reach: Reach | None = None
        self._try("instruments", self._begin)

    def _begin(self) -> None:
        first = self._state.global_step + 1
        if self._trainer is None:
            self._off[LOSSES] = say("the Trainer is not known to the callback: use lossdoctor.attach(trainer)")
            return
        if getattr(getattr(self._args, "device", None), "type", "") == "xla":
            self._off[LOSSES] = say("on XLA nothing is added to the graph of a step")
            return
        self._scale.begin(getattr(getattr(self._trainer, "accelerator", None), "scaler", None))
        self._step_of = TrainingStep(self._trainer, self._micro_batch)
        if isinstance(self._model, torch.nn.Module):
            self._reach = self._try(SIZE, Reach, self._model)
        self.watched |= {LOSSES: first, LABELS: first}
        compiled = getattr(self._args, "torch_compile", False) or hasattr(self._model, "_orig_mod")
        compiled = compiled or getattr(self._model, "_compiled_call_impl", None) is not None
        if isinstance(self._model, torch.nn.Module) and not compiled:  # a hook would be compiled as well
            self._calls = Calls(self._model)

    def close(self) -> None:
        """Leaves Trainer and model as they were."""
        for part in (self._step_of, self._calls):
            if part is not None:
                with suppress(Exception):  # each on its own, also when one of them was never whole
                    part.close()
        self._step_of = self._calls = None
        self._forensics.forget()

    def _try(self, what: str, action: Callable[..., Result], *args: Any) -> Result | None:
        """No error leaves an instrument: the first one switches it off."""
        if what in self._off:
            return None
        try:
            return action(*args)
        except Exception as error:
            self._off[what] = say("switched off: {name}: {error}", name=type(error).__name__, error=error)
            self.watched.pop(what, None)
            return None

    def _micro_batch(self, inputs: Any, loss: Any) -> None:
        self._try(LOSSES, self._see, inputs, loss)

    def _see(self, inputs: Any, loss: Any) -> None:
        """Called after every `training_step`: the hot path."""
        call = None
        if self._calls is not None:
            call, self._calls.last = self._calls.last, None
        if not isinstance(loss, torch.Tensor):
            loss = torch.tensor(float(loss))
        step = self._state.global_step + 1
        finite = self._batches.see(step, inputs, loss)
        if self._examples is not None:
            self._try(EXAMPLES, self._examples.see, inputs, call)
        if finite is None and self._at_once:
            finite = isfinite(float(loss))
        self._known = self._known and finite is not None
        if finite or self._forensics.done:
            return
        place = self._batches.place[1]
        self._forensics.keep(step, place, inputs, call, sure=finite is False)
        if finite is False:
            self._try(say("the first tensor that is not finite"), self._look, step, place)

    def _look(self, step: int, place: int) -> None:
        found = self._forensics.look(self._model, step, place, lambda: self._order(step, place), self._state.global_step + 1)
        if found.what != "unknown":
            self._found.append(Record(step, None, "probe", {f"{FIRST_TENSOR}{found.what}/{found.name}": float(step)}))

    def _order(self, step: int, place: int) -> tuple[Any, int, int]:
        """Data loader, epoch and number of that micro-batch in it, both from 0."""
        if self._args.ignore_data_skip and self.watched.get(LOSSES, 1) > 1:
            raise LookupError("the resumed run did not go on where its data had stopped")
        loader = self._trainer.callback_handler.train_dataloader
        accumulation = self._args.gradient_accumulation_steps
        steps = -(-len(loader) // accumulation)
        epoch, within = divmod(step - 1, steps)
        return loader, epoch, within * accumulation + place - 1

    def step_ended(self, optimizer: Any) -> list[Record]:
        """After an optimizer step: what is known without waiting."""
        step = self._state.global_step
        if self._scaled is None:
            self._scaled = LossScale.there(optimizer)
            if self._scaled:
                self.watched[SCALE] = step
        if self._scaled:
            self._try(SCALE, self._scale.see, step, optimizer)
        return self._read() if self._known and (self._batches.suspicious or self._scaled) else []

    def logged(self) -> list[Record]:
        """When the Trainer logs, and has just waited for the device itself: everything since the last time."""
        records = self._read()
        notes = self._try(say("other processes"), self.ranks.heard) if self.ranks.rank == 0 else None
        return records + [Record(step, None, "probe", values) for step, values in notes or ()]

    def _read(self) -> list[Record]:
        found = self._try(LOSSES, self._batches.read) or {}
        if self._examples is not None:
            self._try(EXAMPLES, self._examples.read)
        for step, values in (self._try(SCALE, self._scale.read) or {}).items() if self._scaled else ():
            found[step] = {**found.get(step, {}), **values}
        bad = next((step for step in sorted(found) if found[step].get(NONFINITE_LOSSES)), None)
        if bad is not None and not self._forensics.done:
            self._try(say("the first tensor that is not finite"), self._look, bad, int(found[bad][FIRST_NONFINITE]))
        self._forensics.forget()
        records = [Record(step, None, "probe", values) for step, values in sorted(found.items())] + self._found
        self._found = []
        return [self._told(record) for record in records]

    def _told(self, record: Record) -> Record:
        """The record with the process that it is from, where there are several; the first one is told of it."""
        if self.ranks.size == 1:
            return record
        values = {**record.values, PROCESS: float(self.ranks.rank)}
        if self.ranks.rank:
            note = {name: value for name, value in values.items() if name not in SEEN_BY_ALL}
            if BATCHES_SO_FAR in note:
                note[BATCHES_SO_FAR] *= self.ranks.size
            if note.keys() - {PROCESS}:
                self._try(say("other processes"), self.ranks.tell, record.step, note)
        return Record(record.step, None, "probe", values)

    def weights(self) -> Record | None:
        """Whether the weights are finite, as a record; waits for the device, so it is for moments of saving."""
        counts = self._try("weights", weights.nonfinite, self._model)
        if counts is None:
            return None
        bad, total = counts
        values = {NONFINITE_WEIGHTS: float(bad), WEIGHTS: float(total)}
        record = Record(self._state.global_step, None, "probe", values)
        return self._told(record) if bad else record

    def arm(self) -> None:
        """Something is wrong: measure the gradient by layers in the next step that will be logged."""
        self._armed = True

    def optimizer_stepped(self) -> None:
        """While the gradients are still there: measures them, if asked to."""
        if self._adapter is not None:
            self._try(ADAPTER, self._adapter.stepped)
        if self._armed and self._will_be_logged():
            self._armed = False
            norms = self._try(say("gradient by layer"), layers.norms, self._model)
            if norms is not None:
                self._norms = (self._state.global_step + 1, norms)
            elif "gradient by layer" not in self._off:
                self._off["gradient by layer"] = say("no gradient is left when the Trainer calls, as under DeepSpeed")

    def _will_be_logged(self) -> bool:
        every = getattr(self._state, "logging_steps", 0) or 0
        by_steps = str(getattr(self._args.logging_strategy, "value", self._args.logging_strategy)) == "steps"
        return not by_steps or every < 1 or (self._state.global_step + 1) % every == 0

    def by_layer(self, norm: float | None) -> Record | None:
        """The norms that were measured, in units of the logged norm: gradients are clipped by the time they are measured."""
        if self._norms is None:
            return None
        step, (names, values) = self._norms
        self._norms = None
        found: list[float] = self._try(say("gradient by layer"), values.tolist) or []
        total = sqrt(sum(value * value for value in found))
        scale = norm / total if norm is not None and isfinite(norm) and isfinite(total) and total else 1.0
        columns = {f"{GRADIENT_NORM}{name}": value * scale for name, value in zip(names, found, strict=False)}
        return Record(step, None, "probe", columns) if columns else None

    def facts(self) -> dict[str, Fact]:
        """What only showed on the way."""
        facts = {}
        if self._batches.opening is not None and isfinite(self._batches.opening):
            facts["opening_loss"] = Fact(float(f"{self._batches.opening:.4g}"), SOURCE)
        reach = self._try(SIZE, self._reach.read) if self._reach else None
        if reach:
            facts["weight_change_per_rate"] = Fact(float(f"{reach:.4g}"), SOURCE)
        if self._batches.tokens and self._batches.supervised < self._batches.tokens:
            share = self._batches.supervised / self._batches.tokens
            facts["supervised_share"] = Fact(float(f"{share:.4g}"), SOURCE)
        for what, part in ((EXAMPLES, self._examples), (ADAPTER, self._adapter)):
            found: dict[str, Any] = (self._try(what, part.facts) if part is not None else None) or {}
            facts |= {name: Fact(value, SOURCE) for name, value in found.items()}
        return facts

    def unseen(self) -> tuple[NotJudged, ...]:
        """What could not be seen, with the reasons."""
        missing = [NotJudged(what, why) for what, why in self._off.items()]
        if self._reach and not self._try(SIZE, self._reach.read):
            missing.append(NotJudged(say(SIZE), say("the weights that are trained are sharded, quantised or no matrices")))
        if self.watched.get(LOSSES) and not self._batches.batches and self._state.global_step >= self.watched[LOSSES]:
            why = say(
                "this trainer makes its steps without Trainer.training_step, so losses and labels of micro-batches were not seen"
            )
            missing.append(NotJudged(LOSSES, why))
        elif self._batches.batches and not self._batches.labelled:
            why = say("the batches of this trainer have no labels")
            missing.append(NotJudged(say("share of supervised tokens"), why))
        return tuple(missing)
