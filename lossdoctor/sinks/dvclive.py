"""DVCLive: one part of the metrics file, which `dvc exp show` puts into columns. It has no alerts, so titles stand there."""

from __future__ import annotations

from typing import Any

from lossdoctor.sinks.alerts import Alert, Summary


def running(trainer: Any) -> Any:
    """The Live of the Trainer's own callback, or None: DVCLive itself knows of none."""
    callbacks = getattr(getattr(trainer, "callback_handler", None), "callbacks", ())
    mine = (c for c in callbacks if any(kind.__name__ == "DVCLiveCallback" for kind in type(c).__mro__))
    return next((callback.live for callback in mine), None)


def alert(live: Any, alert: Alert) -> None:
    """`lossdoctor.alerts.critical_at_12` and so on: the title, since the whole text is too much for a metric."""
    alerts = live.summary.setdefault("lossdoctor", {}).setdefault("alerts", {})
    alerts[f"{alert.severity}_at_{alert.step}"] = alert.title


def summary(live: Any, summary: Summary, final: bool) -> None:
    """`lossdoctor.verdict` and the like; DVCLive writes them with its next row, or when it ends."""
    live.summary.setdefault("lossdoctor", {}).update(summary.values)
