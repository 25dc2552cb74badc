"""lossdoctor tells what is wrong with a fine-tuning run, why, and what to change.

Live: `trainer.add_callback(LossDoctorCallback())`. Afterwards: `lossdoctor.analyze("trainer_state.json")`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Cause",
    "Chart",
    "Check",
    "CheckReport",
    "Detector",
    "Diagnosis",
    "Engine",
    "Fact",
    "Finding",
    "LossDoctorCallback",
    "LossDoctorError",
    "Opinion",
    "Outcome",
    "Outline",
    "Record",
    "Remedy",
    "Report",
    "Rule",
    "Run",
    "Streak",
    "Suggestion",
    "Symptom",
    "Vitals",
    "__version__",
    "analyze",
    "analyze_many",
    "attach",
    "check",
    "compare",
    "find_runs",
]

if TYPE_CHECKING:
    from lossdoctor.analysis import analyze, find_runs
    from lossdoctor.base import Cause, Check, Detector, Opinion, Streak
    from lossdoctor.callback import LossDoctorCallback, attach
    from lossdoctor.checkup import CheckReport, check
    from lossdoctor.comparing import compare
    from lossdoctor.engine import Engine
    from lossdoctor.many import Outcome, analyze_many
    from lossdoctor.model import (
        Chart,
        Diagnosis,
        Fact,
        Finding,
        LossDoctorError,
        Outline,
        Record,
        Remedy,
        Report,
        Rule,
        Run,
        Suggestion,
        Symptom,
    )
    from lossdoctor.vitals import Vitals

_HOMES = {
    **dict.fromkeys(("analyze", "find_runs"), "lossdoctor.analysis"),
    **dict.fromkeys(("Outcome", "analyze_many"), "lossdoctor.many"),
    **dict.fromkeys(("LossDoctorCallback", "attach"), "lossdoctor.callback"),
    "compare": "lossdoctor.comparing",
    "Engine": "lossdoctor.engine",
    "Vitals": "lossdoctor.vitals",
    **dict.fromkeys(("CheckReport", "check"), "lossdoctor.checkup"),
    **dict.fromkeys(("Cause", "Check", "Detector", "Opinion", "Streak"), "lossdoctor.base"),
    **dict.fromkeys(
        ("Chart", "Diagnosis", "Fact", "Finding", "LossDoctorError", "Outline", "Record", "Remedy"), "lossdoctor.model"
    ),
    **dict.fromkeys(("Report", "Rule", "Run", "Suggestion", "Symptom"), "lossdoctor.model"),
}


def __getattr__(name: str) -> Any:
    """Fetches a public name when it is first used: importing lossdoctor costs nothing, and never imports transformers."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lossdoctor' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
