"""The loss scale of fp16 training, step by step, from the scaler itself."""

from __future__ import annotations

from typing import Any

import torch

from lossdoctor.probe_columns import LOSS_SCALE, SKIPPED
from lossdoctor.probes.trace import Trace


class LossScale:
    """Follows a GradScaler, or what DeepSpeed has instead, from one optimizer step to the next.

    A GradScaler lowers its scale in every step that it throws away and in no other, whatever optimizer is used: a fused one
    hides that from accelerate. DeepSpeed says itself whether a step overflowed. Both without waiting for the device.
    """

    def __init__(self) -> None:
        self._trace = Trace()
        self._steps: list[int] = []
        self._before: float | None = None
        self._known: dict[int, dict[str, float]] = {}

    @staticmethod
    def there(optimizer: Any) -> bool:
        """Whether this optimizer has a scale that can be followed."""
        return _scaler(optimizer) is not None or _deepspeed(optimizer) is not None

    def begin(self, scaler: Any) -> None:
        """The scale before the first step that is seen: the scaler may have worked before, in this training or another."""
        scale = getattr(scaler, "_scale", None)
        if isinstance(scale, torch.Tensor):
            self._steps.append(0)
            self._trace.push(scale)

    def see(self, step: int, optimizer: Any) -> None:
        """After the optimizer step number `step`."""
        scaler = _scaler(optimizer)
        if scaler is not None:
            scale = getattr(scaler, "_scale", None)  # `get_scale()` would wait for the device
            if isinstance(scale, torch.Tensor):
                if self._before is None:
                    self._before = getattr(scaler, "_init_scale", None)
                self._steps.append(step)
                self._trace.push(scale)
        elif (inner := _deepspeed(optimizer)) is not None and inner.overflow:
            self._known[step] = {SKIPPED: 1.0, LOSS_SCALE: float(getattr(inner, "cur_scale", 0.0) or inner.loss_scale)}

    def read(self) -> dict[int, dict[str, float]]:
        """The steps since the last reading that were thrown away, with the scale after them."""
        skipped, self._known = self._known, {}
        for step, scale in zip(self._steps, self._trace.read(), strict=True):
            if step and self._before is not None and (scale < self._before or scale == 0.0):
                skipped[step] = {SKIPPED: 1.0, LOSS_SCALE: scale}
            self._before = scale
        self._steps = []
        return skipped


def _scaler(optimizer: Any) -> Any:
    """The GradScaler in accelerate's wrapper; None where there is none, or it is switched off."""
    scaler = getattr(optimizer, "scaler", None)
    return scaler if scaler is not None and scaler.is_enabled() else None


def _deepspeed(optimizer: Any) -> Any:
    """DeepSpeed's own optimizer in accelerate's wrapper, where it scales the loss dynamically; else None."""
    inner = getattr(optimizer, "optimizer", None)
    kept = inner if hasattr(inner, "dynamic_loss_scale") else getattr(inner, "loss_scale_config", None)  # ZeRO; no ZeRO
    scales = getattr(kept, "dynamic_loss_scale", False) and isinstance(getattr(inner, "overflow", None), bool)
    return inner if scales else None
