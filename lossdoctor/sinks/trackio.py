"""trackio: alerts in its dashboard and its webhook. It has no summary of a run, so a run that did not end well gets one more."""

from __future__ import annotations

import sys
from typing import Any

from lossdoctor.language import later, say
from lossdoctor.sinks.alerts import Alert, Summary

LEVELS = {"warning": "warn", "critical": "error"}


def running(trainer: Any) -> Any:
    """trackio itself while it has a run, or None."""
    trackio = sys.modules.get("trackio")
    return trackio if trackio is not None and trackio.context_vars.current_run.get() is not None else None


def alert(trackio: Any, alert: Alert) -> None:
    """An alert; the step beside it is the count of trackio's own rows, so the title has the global one."""
    trackio.alert(title=alert.title, text=alert.text, level=trackio.AlertLevel(LEVELS[alert.severity]))


def summary(trackio: Any, summary: Summary, final: bool) -> None:
    """A note at the end; nothing for a run without a fault, which shall have no alert of any kind."""
    if final and summary.verdict in LEVELS:
        warned, critical = later("lossdoctor: the run ended with a warning"), later("lossdoctor: the run ended critical")
        title = say(warned if summary.verdict == "warning" else critical)
        trackio.alert(title=title, text=summary.words, level=trackio.AlertLevel("info"))
