"""One file per output format. They compute nothing: every number comes from the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lossdoctor.model import Report


def _text(reports: Sequence[Report], *, color: bool | None, width: int | None) -> str:
    from lossdoctor.reports.text import render

    return render(reports, color=color, width=width)


def _json(reports: Sequence[Report], *, color: bool | None, width: int | None) -> str:
    from lossdoctor.reports.json import render

    return render(reports)


#: Format name → renderer; each is imported when it is used.
FORMATS: dict[str, Callable[..., str]] = {"text": _text, "json": _json}
