"""What a tracker is told: an alert when a run gets worse, and a summary by which runs can be filtered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lossdoctor.engine import Event
from lossdoctor.language import say
from lossdoctor.model import Report
from lossdoctor.reports import words
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
    """The outcome so far: its `values` by short names, and the verdict in one line (`words`).

    `symptoms` are those of at least a warning that are not expected, `cause` is the first that is not of low confidence,
    `last_good_step` is 0 where no step was good.
    """

    verdict: str
    values: Mapping[str, str | int]
    words: str


def alert(event: Event) -> Alert:
    """The alert for an event that has a symptom: what happened, the likeliest cause with its why, and what to change."""
    report = event.report()
    symptom = words.worst(report) or event.symptom
    assert symptom is not None
    step = max(symptom.last, report.last_step or 0)
    title = say(
        "lossdoctor: {verdict} from step {onset:,}: {slug}", verdict=say(report.verdict), onset=symptom.onset, slug=symptom.slug
    )
    if len(title) >= TITLE:
        title = title[: TITLE - 2] + "…"
    return Alert(report.verdict, step, title, brief(report, color=False, width=WIDTH).strip())


def summary(report: Report) -> Summary:
    """The same names every time, so that none keeps an old value; only the first critical step is missing until there is one."""
    seen = sorted(words.alarming(report), key=lambda s: s.onset)
    causes = (d.slug for d in words.sick(report) if d.confidence != "low")
    values: dict[str, str | int] = {
        "verdict": report.verdict,
        "symptoms": ", ".join(dict.fromkeys(s.slug for s in seen)) or "none",
        "cause": next(causes, "none") if report.verdict in ("critical", "warning") else "none",
        "last_good_step": report.last_good_step or 0,
    }
    if critical := [s.onset for s in seen if s.severity == "critical"]:
        values["first_critical_step"] = critical[0]
    return Summary(report.verdict, values, one_line(report, color=False).strip())
