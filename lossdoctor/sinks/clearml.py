"""ClearML: alerts in the console of the task with a tag, by which tasks can be filtered, and user properties."""

from __future__ import annotations

import logging
import sys
from typing import Any

from lossdoctor.sinks.alerts import Alert, Summary

LEVELS = {"warning": logging.WARNING, "critical": logging.ERROR}


def running(trainer: Any) -> Any:
    """The task that is going on, or None."""
    clearml = sys.modules.get("clearml")
    return clearml.Task.current_task() if clearml is not None else None


def alert(task: Any, alert: Alert) -> None:
    """The text in the task's console at its level, and the tag `lossdoctor:critical`."""
    task.add_tags([f"lossdoctor:{alert.severity}"])
    task.get_logger().report_text(f"{alert.title}\n\n{alert.text}", level=LEVELS[alert.severity], print_console=False)


def summary(task: Any, summary: Summary, final: bool) -> None:
    """`lossdoctor_verdict` and the like among the user properties: columns of the table of tasks; the words in the console."""
    task.set_user_properties(**{f"lossdoctor_{name}": value for name, value in summary.values.items()})
    if final:
        task.get_logger().report_text(summary.words, print_console=False)
