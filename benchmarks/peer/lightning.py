"""SpikeDetection of Lightning: https://lightning.ai/docs/pytorch/stable/ (`lightning.fabric.utilities.spike`).

The class itself at its defaults, given the training loss of every row in place of that of every batch. It stops a run where it
raises; here the run goes on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from peer.protocol import Finding, Row, Tool, is_training


class Adapter(Tool):
    title = "Lightning"
    requires = ("lightning==2.6.6", "torch==2.13.0")
    package = "lightning"
    documentation = "https://lightning.ai/docs/pytorch/stable/"
    families: Mapping[str, tuple[str, ...]] = {"spike": ("spike", "divergence", "not finite")}
    note = "Its `SpikeDetection`: sees the training loss and nothing else. In its own Trainer it would see every batch."

    def follow(self) -> Callable[[Row], list[Finding]]:
        import torch
        from lightning.fabric import Fabric
        from lightning.fabric.utilities.spike import SpikeDetection, TrainingSpikeException

        fabric = Fabric(accelerator="cpu", devices=1)
        detection = SpikeDetection(exclude_batches_path=Path(tempfile.gettempdir(), "skip_batches.json"))
        batch = 0

        def watch(row: Row) -> list[Finding]:
            nonlocal batch
            if not is_training(row):
                return []
            batch += 1
            try:
                detection.on_train_batch_end(fabric, torch.tensor(float(row["loss"])), None, batch - 1)
            except TrainingSpikeException:
                return [Finding("spike", "critical", row.get("step"))]
            return []

        return watch
