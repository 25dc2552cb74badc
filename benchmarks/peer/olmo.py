"""The skipped steps of OLMo-core: https://olmo-core.readthedocs.io/en/latest/optim.html (`SkipStepOptimizer`).

The class itself at its defaults (6 standard deviations over 128 steps), given the loss and the gradient norm of every row in
place of those of every step. A step that it would skip is an alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from peer.protocol import Finding, Row, Tool, is_training


class Adapter(Tool):
    title = "OLMo-core"
    requires = ("ai2-olmo-core==3.0.0", "torch==2.13.0")
    package = "ai2-olmo-core"
    documentation = "https://olmo-core.readthedocs.io/en/latest/optim.html"
    families: Mapping[str, tuple[str, ...]] = {"skipped step": ("spike", "divergence", "large gradient", "not finite")}
    note = "Its `SkipStepOptimizer`: sees the training loss and the gradient norm, from the 64th row on."

    def follow(self) -> Callable[[Row], list[Finding]]:
        import torch
        from olmo_core.optim import SkipStepAdamW

        optimizer = SkipStepAdamW([torch.nn.Parameter(torch.zeros(1))])

        def watch(row: Row) -> list[Finding]:
            if not is_training(row):
                return []
            optimizer.latest_loss = torch.tensor(float(row["loss"]))
            if "grad_norm" in row:
                optimizer.latest_grad_norm = torch.tensor(float(row["grad_norm"]))
            return [] if bool(optimizer.get_step_factor()) else [Finding("skipped step", "warning", row.get("step"))]

        return watch
