"""Weights & Biases: alerts, which it sends by mail or Slack as the user has chosen there, and the summary of the run."""

from __future__ import annotations

import sys
from typing import Any

from lossdoctor.sinks.alerts import Alert, Summary

LEVELS = {"warning": "WARN", "critical": "ERROR"}


def running(trainer: Any) -> Any:
    """The run that is going on, or None."""
    return getattr(sys.modules.get("wandb"), "run", None)


def alert(run: Any, alert: Alert) -> None:
    """An alert of the run; W&B takes titles of fewer than 64 characters."""
    run.alert(title=alert.title, text=alert.text, level=LEVELS[alert.severity])


def summary(run: Any, summary: Summary, final: bool) -> None:
    """`lossdoctor/verdict` and the like: columns of the table of runs."""
    run.summary.update({f"lossdoctor/{name}": value for name, value in summary.values.items()})
