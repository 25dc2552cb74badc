"""What a tracker is told: an alert when a run gets worse, and a summary by which runs can be filtered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lossdoctor.engine import Event
from lossdoctor.model import RANK, Report, Symptom
from lossdoctor.reports.text import brief, one_line

#: W&B takes titles of fewer characters than this.
TITLE = 64
WIDTH = 100


@dataclass(frozen=True)
class Alert:
    """One message: `title` has fewer than 64 characters and names the global step in which it began; `text` is plain.

    `severity` is "warning" or "critical"; `step` is the global step that training has reached.
    """

    severity: str
    step: int
    title: str
    text: str


@dataclass(frozen=True)
class Summary:
    """The outcome so far: `values` by short names, without those that are not known, and the verdict in one line."""

    verdict: str
    values: Mapping[str, str | int]
    words: str


def alert(event: Event) -> Alert:
    """The alert for an event that has a symptom: what happened, the likeliest cause with its why, and what to change."""
    report = event.report()
    symptom = _subject(event.symptom, report)
    step = max(symptom.last, report.last_step or 0)
    title = f"lossdoctor: {report.verdict} from step {symptom.onset:,}: {symptom.slug}"
    if len(title) >= TITLE:
        title = title[: TITLE - 2] + "…"
    return Alert(report.verdict, step, title, brief(report, color=False, width=WIDTH).strip())


def _subject(changed: Symptom | None, report: Report) -> Symptom:
    """The symptom of the title: the one that has changed, unless a worse one stands beside it."""
    bad = [s for s in report.symptoms if s.open and s.severity == report.verdict]
    assert changed is not None
    return changed if not bad or changed.severity == report.verdict else bad[0]


def summary(report: Report) -> Summary:
    """Verdict, first critical step, symptoms of at least a warning, first cause and last good step."""
    seen = sorted((s for s in report.symptoms if RANK[s.severity] > RANK["info"]), key=lambda s: s.onset)
    bad = report.verdict in ("critical", "warning")
    values = {
        "verdict": report.verdict,
        "first_critical_step": next((s.onset for s in seen if s.severity == "critical"), None),
        "symptoms": ", ".join(dict.fromkeys(s.slug for s in seen)) or None,
        "cause": next((d.slug for d in report.diagnoses if bad and not d.normal and not d.mechanism), None),
        "last_good_step": report.last_good_step,
    }
    known = {name: value for name, value in values.items() if value is not None}
    return Summary(report.verdict, known, one_line(report, color=False).strip())
