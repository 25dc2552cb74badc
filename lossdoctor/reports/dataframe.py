"""The rows of a report as a pandas DataFrame, for whoever wants to draw or count them in a way of their own."""

from __future__ import annotations

from typing import Any

from lossdoctor.model import LossDoctorError, Report


def render(report: Report) -> Any:
    """One row for each record: `step`, `epoch`, `kind`, the numbers that were logged, and `symptoms` with the slugs of that row.

    Raises:
        LossDoctorError: pandas is not installed.
    """
    try:
        from pandas import DataFrame
    except ImportError:
        raise LossDoctorError("to_dataframe takes the package pandas: pip install pandas") from None
    rows = [
        {"step": row.step, "epoch": row.epoch, "kind": row.kind, **row.values, "symptoms": _symptoms(report, row.step)}
        for row in report.records
    ]
    frame = DataFrame(rows, columns=None if rows else ["step", "epoch", "kind", "symptoms"])
    return frame[[*(name for name in frame.columns if name != "symptoms"), "symptoms"]]


def _symptoms(report: Report, step: int) -> str:
    there = (s.slug for s in report.symptoms if s.onset <= step <= max(s.onset, s.last))
    return ", ".join(dict.fromkeys(there))
