"""finetune-doctor: https://pypi.org/project/finetune-doctor/ ("finetune-doctor trainer_state.json").

It reads finished logs, and has no callback; row by row it is given the log so far, again and again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peer.protocol import Finding, Judgement, Tool

SEVERITY = {"CRITICAL": "critical", "WARNING": "warning", "INFO": "info", "OK": "info"}
#: Checks that say several things, told apart by their title.
SEVERAL = ("loss_degenerate", "not_learning", "loss_spikes", "gradients")


class Adapter(Tool):
    title = "finetune-doctor"
    requires = ("finetune-doctor==0.2.2",)
    package = "finetune-doctor"
    documentation = "https://pypi.org/project/finetune-doctor/"
    command = ("finetune-doctor", "{state}")
    families: Mapping[str, tuple[str, ...]] = {
        "overfitting": ("overfitting", "memorisation"),
        "stopped_improving": ("converged", "overfitting", "flat"),
        "NaN loss": ("not finite",),
        "Loss is exactly zero": ("zero loss",),
        "Training loss went up": ("divergence", "spike", "flat"),
        "Not learning": ("flat",),
        "Loss spikes": ("spike",),
        "Periodic loss spikes": ("spike", "oscillation"),
        "Loss jumps at every epoch boundary": ("spike", "oscillation", "memorisation"),
        "lr_schedule": ("rate",),
        "Occasional overflowing gradients": ("not finite", "rate"),
        "NaN gradients": ("not finite",),
        "Zero gradients": ("small gradient", "flat", "zero loss"),
        "Gradient spikes": ("large gradient", "spike"),
    }
    note = "Its advice that a run has no or too few evaluations is not counted, nor that a run did not finish."

    def standing(self, state: Mapping[str, Any]) -> list[Finding]:
        from finetune_doctor import diagnose
        from finetune_doctor.history import from_trainer_state

        return understood(finding.to_dict() for finding in diagnose(from_trainer_state(dict(state))).findings)

    def judge(self, path: Path) -> Judgement:
        from finetune_doctor import diagnose, load

        return Judgement.of(understood(finding.to_dict() for finding in diagnose(load(str(path))).findings))


def understood(findings: Any) -> list[Finding]:
    """Its findings, from the JSON that it prints too."""
    told = [f for f in findings if f["check"] not in ("no_eval", "incomplete")]
    return [Finding(f["title"] if f["check"] in SEVERAL else f["check"], SEVERITY[f["severity"]]) for f in told]
