"""trainproof: https://pypi.org/project/trainproof/ ("The commands", "Live guardian").

Afterwards as `trainproof epoch trainer_state.json --format hf`; row by row the same check on the log so far, as `trainproof
watch` does when it looks after every row, from the tenth on; in a Trainer `TrainproofCallback()`, which looks every 25 steps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from peer.protocol import Finding, Tool

SEVERITY = {"FAIL": "critical", "WARN": "warning", "INFO": "info"}
#: These say that nothing could be judged, or that the machine was slow.
NOT_COUNTED = ("TP-NO-LOSS", "TP-NO-RECORDS", "TP-STEP-CLIFF", "TP-LOADER-BOUND")


class Adapter(Tool):
    title = "trainproof"
    requires = ("trainproof==0.22.0",)
    package = "trainproof"
    documentation = "https://pypi.org/project/trainproof/"
    in_trainer = True
    command = ("trainproof", "epoch", "{state}", "--format", "hf")
    families: Mapping[str, tuple[str, ...]] = {
        "TP-NAN": ("not finite",),
        "TP-NAN-GRAD": ("not finite", "large gradient"),
        "TP-ZERO-LOSS": ("zero loss",),
        "TP-ZERO-LOSS-ONSET": ("zero loss", "not finite"),
        "TP-FLAT": ("flat",),
        "TP-DIVERGE": ("divergence", "spike"),
        "TP-DEAD-RUN": ("flat", "divergence"),
        "TP-ZERO-GRAD": ("small gradient", "flat", "zero loss"),
        "TP-GRAD-SPIKE": ("large gradient", "spike"),
        "TP-ZERO-LR": ("rate",),
        "TP-ZERO-LR-PARTIAL": ("rate",),
        "TP-OVERFIT": ("overfitting", "memorisation"),
    }
    least = 10
    note = "FAIL counts as critical, WARN as a warning. That a log has no losses or a step was slow is not counted."

    def __init__(self) -> None:
        self._reports: list[tuple[int, list[Finding]]] = []

    def standing(self, state: Mapping[str, Any]) -> list[Finding]:
        from trainproof.adapters import parse_hf_trainer_state
        from trainproof.epoch import check_records

        return understood(check_records(parse_hf_trainer_state(json.dumps(state))[0]))

    def callback(self) -> Any:
        from trainproof.integrations import hf

        original = getattr(hf.check_records, "original", hf.check_records)
        reports = self._reports = []

        def listened_to(records: list[dict[str, Any]]) -> Any:
            report = original(records)
            reports.append((int(max(r.get("step", 0) for r in records)), understood(report)))
            return report

        listened_to.original = original  # type: ignore[attr-defined]
        hf.check_records = listened_to
        return hf.TrainproofCallback()

    def heard(self, callback: Any) -> list[Finding]:
        """A WARN alone is never printed; it counts all the same."""
        said, before = [], set()
        for step, findings in self._reports:
            said += [finding._replace(step=step) for finding in findings if finding.name not in before]
            before = {finding.name for finding in findings}
        return said


def understood(report: Mapping[str, Any]) -> list[Finding]:
    """Its findings, from the JSON that it prints too."""
    told = [f for f in report["findings"] if f["level"] in SEVERITY and f["id"] not in NOT_COUNTED]
    return [Finding(f["id"], SEVERITY[f["level"]]) for f in told]
