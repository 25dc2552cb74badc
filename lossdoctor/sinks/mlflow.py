"""MLflow: tags of the run, by which `search_runs` filters. It has no alerts, so each one is a tag as well."""

from __future__ import annotations

import sys
from typing import Any

from lossdoctor.sinks.alerts import Alert, Summary

#: Characters of a tag's value that every release takes.
LONGEST = 5000


def running(trainer: Any) -> Any:
    """MLflow itself while it has a run, or None: without one it would begin another."""
    mlflow = sys.modules.get("mlflow")
    return mlflow if mlflow is not None and mlflow.active_run() is not None else None


def alert(mlflow: Any, alert: Alert) -> None:
    """`lossdoctor.alert.critical_at_12` and so on; no artifact, since a client often has no access to their store."""
    mlflow.set_tag(f"lossdoctor.alert.{alert.severity}_at_{alert.step}", f"{alert.title}\n\n{alert.text}"[:LONGEST])


def summary(mlflow: Any, summary: Summary, final: bool) -> None:
    """`lossdoctor.verdict` and the like."""
    mlflow.set_tags({f"lossdoctor.{name}": str(value) for name, value in summary.values.items()})
