"""What is wrong with a training that has just begun: said once, in a few lines, and only where it is worth a warning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lossdoctor.language import say
from lossdoctor.model import Run
from lossdoctor.sinks.console import write


def tell(
    run: Run, settings: dict[str, dict[str, Any]] | None = None, to: Callable[[str], None] = write, *, before: str = ""
) -> str:
    """Looks at the configuration of a run; an error of our own is said in one line, and is nobody else's.

    Returns what there was to say, to be passed as `before` when training begins again: nobody is told the same twice.
    """
    said = ""
    try:
        from lossdoctor import checkup
        from lossdoctor.reports.checkup_text import brief

        report = checkup.examine(run, settings)
        if report.verdict in ("critical", "warning"):
            said = brief(report)
    except Exception as error:
        said = say(
            "lossdoctor: the configuration could not be checked ({name}: {error}); training goes on",
            name=type(error).__name__,
            error=error,
        )
    if said and said != before:
        to(said)
    return said
