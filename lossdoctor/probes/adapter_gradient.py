"""How much of an adapter the backward pass reaches, where a head or a layer behind it gets its gradient.

Asks only whether there are gradients, not what is in them, so nothing waits for a device.
"""

from __future__ import annotations

from typing import Any

#: Optimizer steps that are looked at: an expert or a modality that one batch does not use comes with another one.
STEPS = 5


class AdapterGradient:
    """Looks at the first steps of a training. `facts` is silent where nothing at all has a gradient."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._left = STEPS if getattr(model, "peft_config", None) else 0
        self._reached: set[str] = set()  # parameters of the adapter that had a gradient
        self._trained = 0  # all of them
        self._others = self._looked = False

    def stepped(self) -> None:
        """After an optimizer step, while the gradients are there."""
        if not self._left:
            return
        self._left -= 1
        if any(type(module).__name__ == "FullyShardedDataParallel" for module in self._model.modules()):
            self._left = self._trained = 0  # this process may hold no part of the adapter
            return
        prefix = getattr(getattr(self._model, "base_model", None), "prefix", None) or "lora_"
        for name, parameter in self._model.named_parameters():
            if parameter.requires_grad and prefix in name:
                self._trained += not self._looked
                if parameter.grad is not None:
                    self._reached.add(name)
            elif parameter.grad is not None:
                self._others = True
        self._looked = True

    def facts(self) -> dict[str, float]:
        """The share of its parameters that a gradient has reached, where something is known to have one."""
        if self._left or not self._trained or not (self._others or self._reached):
            return {}
        return {"adapter_gradient": round(len(self._reached) / self._trained, 4)}
