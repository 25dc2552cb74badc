"""Comet: alerts as notifications by mail, texts and a tag; the summary among the other values of the experiment."""

from __future__ import annotations

import sys
from typing import Any

from lossdoctor.sinks.alerts import Alert, Summary


def running(trainer: Any) -> Any:
    """The experiment that is going on, or None."""
    comet = sys.modules.get("comet_ml")
    experiment = comet.get_global_experiment() if comet is not None else None
    return experiment if experiment is not None and experiment.alive else None


def alert(experiment: Any, alert: Alert) -> None:
    """A mail to those who want notifications (online only), the text at its step, and the tag `lossdoctor:critical`."""
    experiment.add_tag(f"lossdoctor:{alert.severity}")
    experiment.log_text(f"{alert.title}\n\n{alert.text}", step=alert.step, metadata={"severity": alert.severity})
    experiment.send_notification(alert.title, status=alert.severity)


def summary(experiment: Any, summary: Summary, final: bool) -> None:
    """`lossdoctor/verdict` and the like: columns of the table of experiments."""
    for name, value in summary.values.items():
        experiment.log_other(f"lossdoctor/{name}", value)
