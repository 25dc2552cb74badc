"""lossdoctor itself, by the same protocol as the others: from this checkout, at its defaults.

Afterwards `lossdoctor.analyze(path)`, as in README.md; row by row its engine, which is what `lossdoctor watch` and the callback
feed; in a Trainer `LossDoctorCallback()`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from peer.protocol import Finding, Judgement, Tool, is_training


class Adapter(Tool):
    title = "lossdoctor"
    requires = ("-e", ".[hf]")
    package = "lossdoctor"
    in_trainer = True
    command = ("lossdoctor", "analyze", "{state}", "--fail-on", "never")
    families: Mapping[str, tuple[str, ...]] = {
        "epoch-staircase": ("memorisation",),
        "eval-loss-not-finite": ("evaluation not finite", "not finite"),
        "eval-loss-rising": ("overfitting",),
        "gradient-always-clipped": ("clipping",),
        "gradient-explosion": ("large gradient",),
        "gradient-not-finite": ("not finite",),
        "gradient-vanishing": ("small gradient",),
        "gradient-zero": ("small gradient", "flat"),
        "hidden-nan-steps": ("not finite",),
        "labels-all-masked": ("zero loss",),
        "learning-rate-frozen": ("rate",),
        "learning-rate-zero": ("rate",),
        "loss-at-chance": ("flat",),
        "loss-collapse-to-zero": ("zero loss", "not finite"),
        "loss-converged": ("converged",),
        "loss-divergence": ("divergence",),
        "loss-intermittent-zero": ("zero loss",),
        "loss-near-zero": ("memorisation", "overfitting"),
        "loss-noise": ("noise",),
        "loss-not-finite": ("not finite",),
        "loss-oscillation": ("oscillation",),
        "loss-plateau": ("flat",),
        "loss-scale-collapse": ("not finite", "rate"),
        "loss-spike": ("spike",),
        "loss-still-falling": ("still falling",),
        "skipped-steps": ("rate",),
        "tensor-not-finite": ("not finite",),
        "weights-not-finite": ("not finite",),
    }
    note = "A finding that has healed counts as said, for and against it; the row of final verdicts does not count it."

    def __init__(self) -> None:
        self._told: list[Finding] = []

    def judge(self, path: Path) -> Judgement:
        from lossdoctor import analyze

        findings, sick = [], False
        for report in analyze(path):
            own = [Finding(s.slug, s.severity, s.onset) for s in report.symptoms]
            called = report.verdict in ("warning", "critical")
            if called and report.verdict not in {f.severity for f in own}:  # because of a cause that is sure
                own.append(Finding("a sure cause", report.verdict))
            findings += own
            sick = sick or called
        return Judgement(tuple(findings), sick)

    def alarms(self, state: Mapping[str, Any], start: int) -> Iterator[tuple[int, Finding]]:
        from lossdoctor.engine import Engine
        from lossdoctor.parsing.source import Source
        from lossdoctor.readers.trainer_state import read

        history = state["log_history"]
        (log,) = read(Source("trainer_state.json", None, json.dumps(state)))
        places = {row.get("step"): place for place, row in enumerate(history)}
        rows = {row.get("step"): place for place, row in enumerate(history) if is_training(row)}
        engine, told = Engine(log.run), set()
        for record in log.records:
            place = (rows if record.kind == "train" else places).get(record.step, 0)
            for s in engine.observe(record):
                told.add((s.identity, s.severity))
                if s.open and place >= start:
                    yield place, Finding(s.slug, s.severity, s.onset)
        for s in engine.report().symptoms:  # what only the end shows
            if (s.identity, s.severity) not in told:
                yield len(history) - 1, Finding(s.slug, s.severity, s.onset)

    def callback(self) -> Any:
        """With the sinks that it has in any case, and one that listens."""
        from lossdoctor import LossDoctorCallback
        from lossdoctor.sinks.console import Console

        told = self._told = []

        def listen(event: Any) -> None:
            said = event.report().symptoms if event.symptom is None else [event.symptom]
            told.extend(Finding(s.slug, s.severity, s.last) for s in said if event.transition != "closed")

        return LossDoctorCallback(sinks=[Console(), listen])

    def heard(self, callback: Any) -> list[Finding]:
        if callback.failure is not None:
            raise RuntimeError(callback.failure)
        return self._told
