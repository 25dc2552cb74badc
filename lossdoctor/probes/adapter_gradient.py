"""Whether the backward pass reaches an adapter at all, where a head that is trained beside it gets its gradient.

Asks only whether there are gradients, not what is in them, so nothing waits for a device.
"""

from __future__ import annotations

from typing import Any

#: Optimizer steps that are looked at: an expert or a modality that one batch does not use comes with another one.
STEPS = 5


class AdapterGradient:
    """Looks at the first steps of a training. `facts` is silent unless something else than the adapter has a gradient."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._left = STEPS if getattr(model, "peft_config", None) else 0
        self._adapter = self._others = False

    def stepped(self) -> None:
        """After an optimizer step, while the gradients are there."""
        if not self._left:
            return
        self._left -= 1
        if any(type(module).__name__ == "FullyShardedDataParallel" for module in self._model.modules()):
            self._left, self._others = 0, False  # this process may hold no part of the adapter
            return
        prefix = getattr(getattr(self._model, "base_model", None), "prefix", None) or "lora_"
        trained = [(prefix in name, p.grad is not None) for name, p in self._model.named_parameters() if p.requires_grad]
        self._adapter = self._adapter or (True, True) in trained or not any(part for part, _ in trained)
        self._others = self._others or (False, True) in trained

    def facts(self) -> dict[str, bool]:
        """Whether the adapter got a gradient, where that is known."""
        return {"adapter_gradient": self._adapter} if self._others and not self._left else {}
