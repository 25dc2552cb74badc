"""trainpulse: https://pypi.org/project/trainpulse/ ("Full training loop", "CLI"; its `make_hf_callback`).

Afterwards and row by row the loss, the learning rate and the gradient norm of every row are logged to a `Monitor()`, which is
what its command line does with a JSONL file; in a Trainer `make_hf_callback()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from peer.protocol import Finding, Judgement, Row, Tool, is_training, read

#: Below this its README does not call a run healthy.
HEALTHY = 0.8


class Adapter(Tool):
    title = "trainpulse"
    requires = ("trainpulse[cli]==0.4.0",)
    package = "trainpulse"
    documentation = "https://pypi.org/project/trainpulse/"
    in_trainer = True
    command = ("python", "-m", "trainpulse.cli", "analyze", "{jsonl}")
    families: Mapping[str, tuple[str, ...]] = {
        "nan_detector": ("not finite",),
        "loss_spike": ("spike", "divergence"),
        "Gradient explosion": ("large gradient", "divergence"),
        "Vanishing gradient": ("small gradient", "flat"),
        "learning_rate": ("rate",),
        "plateau": ("flat", "converged", "zero loss"),
    }
    note = (
        "That a step was slow is not counted. In its own word a run is sick with a critical alert or a score below 0.8. The "
        "command of its README is not in its wheel; `python -m trainpulse.cli` is."
    )

    def follow(self) -> Callable[[Row], list[Finding]]:
        from trainpulse import Monitor

        return watcher(Monitor())

    def judge(self, path: Path) -> Judgement:
        from trainpulse import Monitor

        monitor = Monitor()
        watch = watcher(monitor)
        findings = [finding for row in read(path)["log_history"] for finding in watch(row)]
        report = monitor.report()
        return Judgement(tuple(findings), not report.is_healthy or report.health_score < HEALTHY)

    def callback(self) -> Any:
        from trainpulse.callbacks import make_hf_callback

        return make_hf_callback()

    def heard(self, callback: Any) -> list[Finding]:
        return understood(callback.trainpulse_monitor.report().alerts)


def watcher(monitor: Any) -> Callable[[Row], list[Finding]]:
    """Logs what its own callback logs."""

    def watch(row: Row) -> list[Finding]:
        if not is_training(row):
            return []
        names = [name for name in ("loss", "learning_rate", "grad_norm") if name in row]
        return understood(alert for name in names for alert in monitor.log(name, row["step"], float(row[name])))

    return watch


def understood(alerts: Iterable[Any]) -> list[Finding]:
    """Its alerts; one detector sees two faults, told apart by how the message begins."""
    return [
        Finding(a.message.partition(":")[0] if a.detector == "gradient" else a.detector, a.severity.value, a.step)
        for a in alerts
        if a.detector != "step_time"
    ]
