"""Prints one message per incident to stderr, cleanly beside a progress bar, and a summary at the end."""

from __future__ import annotations

import sys

from lossdoctor.engine import Event
from lossdoctor.model import RANK, Report
from lossdoctor.reports.text import brief, one_line


class Console:
    """An incident begins with the first warning and ends when all its symptoms have closed.

    Within it only a change for the worse, from warning to critical, is worth a second message. A run that breaks and heals
    again and again is told of three times; after that the summary at the end has to do.
    """

    incidents: int = 3

    def __init__(self) -> None:
        self._told = RANK["info"]
        self._count = 0

    def __call__(self, event: Event) -> None:
        if event.symptom is None:
            self._finished(event.report())
        elif event.transition == "closed":
            self._closed(event)
        elif RANK[event.symptom.severity] > self._told:
            self._count += self._told == RANK["info"]
            self._told = RANK[event.symptom.severity]
            if self._count > self.incidents:
                return
            write(brief(event.report(), color=sys.stderr.isatty()))

    def _closed(self, event: Event) -> None:
        if self._told == RANK["info"] or event.symptom is None:
            return
        if not any(s.open and s.severity != "info" for s in event.report().symptoms):
            self._told = RANK["info"]
            if self._count > self.incidents:
                return
            more = "" if self._count < self.incidents else " (further ones of this kind are only counted)"
            write(f"lossdoctor: {event.symptom.slug} healed by step {event.symptom.last:,}; training goes on{more}")

    def _finished(self, report: Report) -> None:
        write(one_line(report, color=sys.stderr.isatty()))


def write(text: str) -> None:
    """To stderr; through tqdm while a bar is up, which would otherwise be torn apart."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is not None and getattr(tqdm.tqdm, "_instances", None):
        tqdm.tqdm.write(text.rstrip("\n"), file=sys.stderr)
    else:
        print(text.rstrip("\n"), file=sys.stderr, flush=True)
