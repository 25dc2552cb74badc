"""The Trainer around a callback: finding it, and looking over the shoulder of its `training_step`.

`training_step` returns the loss of a micro-batch exactly as the Trainer counts it, whichever class made it and wherever: in the
model's forward, in `compute_loss`, in a preference or reinforcement trainer, compiled or not. Hooks on the model see less.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch

#: Callers that are looked at: the handler of the callbacks, its event, then the Trainer.
FRAMES = 8


def find(callback: Any) -> Any:
    """The Trainer that is calling this callback of its own; None where somebody else calls it.

    A callback is handed everything but its Trainer. The caller's frames have it; they are read once when a training begins.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(FRAMES):
        if frame is None:
            return None
        caller = frame.f_locals.get("self")
        handler = getattr(caller, "callback_handler", None) if hasattr(caller, "training_step") else None
        if any(known is callback for known in getattr(handler, "callbacks", ())):
            return caller
        frame = frame.f_back
    return None


class TrainingStep:
    """Calls `see(inputs, loss)` after every `training_step` of a Trainer until `close()`.

    The Trainer gets back the very tensor that its own method returned, and never an error of `see`.
    """

    def __init__(self, trainer: Any, see: Callable[[Any, torch.Tensor], None]) -> None:
        self._trainer, self._see = trainer, see
        self._before = vars(trainer).get("training_step")
        original = trainer.training_step

        @functools.wraps(original)
        def watched(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            loss = original(model, inputs, *args, **kwargs)
            if self._see is not None:
                with contextlib.suppress(Exception):
                    self._see(inputs, loss)
            return loss

        self._watched = trainer.training_step = watched

    def close(self) -> None:
        """Puts the method back; where somebody has wrapped it again since, ours stays and does nothing."""
        self._see = None  # type: ignore[assignment]
        if vars(self._trainer).get("training_step") is self._watched:
            if self._before is None:
                del self._trainer.training_step
            else:
                self._trainer.training_step = self._before


class Calls:
    """A hook that remembers with what the model was called last, to be able to run it again.

    A copy of the model, or one that is pickled, gets a hook that does nothing and needs nothing of ours.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.last: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._handle = model.register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with contextlib.suppress(Exception):
            self.remember(args, kwargs)

    def remember(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.is_grad_enabled():  # not a reference model that shares these weights
            self.last = (args, kwargs)

    def __reduce__(self) -> Any:
        return getattr, (contextlib.nullcontext(), "__exit__")

    def close(self) -> None:
        self.last = None
        self._handle.remove()
