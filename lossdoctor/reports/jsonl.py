"""The report as JSON lines, one a run, which can be written as they come; the schema is `$defs/line` in `report.schema.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from lossdoctor import __version__
from lossdoctor.model import Report
from lossdoctor.reports.json import FORMAT, as_dict
from lossdoctor.reports.json import schema as of_documents

HEAD: Mapping[str, Any] = {"format": FORMAT, "tool": {"name": "lossdoctor", "version": __version__}}


def render(reports: Sequence[Report]) -> str:
    """A line for each run."""
    return "".join(map(line, reports))


def line(report: Report, **source: Any) -> str:
    """The line of one run: what a document has of it; `source` adds to what is said of where it is from."""
    found = as_dict(report)
    return _line({**found, "source": {**found["source"], **source}})


def unreadable(path: str, error: str, **source: Any) -> str:
    """The line of a source that could not be used."""
    return _line({"source": {"path": path, **source}, "error": " ".join(error.split())})


def stamped(stamp: tuple[int, int] | None) -> dict[str, Any]:
    """Size and last change of a log, as they stand in a line; nothing where they are not known."""
    if stamp is None:
        return {}
    size, nanoseconds = stamp
    when = datetime.fromtimestamp(nanoseconds // 10**9, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return {"size": size, "modified": f"{when}.{nanoseconds % 10**9 // 1000:06}Z"}


def schema() -> dict[str, Any]:
    """The JSON Schema of one line."""
    documents = of_documents()
    return {"$schema": documents["$schema"], "title": "lossdoctor line", "$ref": "#/$defs/line", "$defs": documents["$defs"]}


def _line(found: Mapping[str, Any]) -> str:
    return json.dumps({**HEAD, **found}, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"
