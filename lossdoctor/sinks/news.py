"""What of all that happens in a run is worth a word to somebody who does not sit beside it."""

from __future__ import annotations

from typing import Literal

from lossdoctor.engine import Event
from lossdoctor.model import RANK
from lossdoctor.reports import words

Word = Literal["begun", "critical", "over"]


class News:
    """An incident begins with the first warning and ends when all its symptoms have closed.

    Within it only a change for the worse, from warning to critical, is worth a second word. How bad it is says the report and
    not the one symptom: several open in one row, and some are explained as normal. A run that breaks and heals again and again
    is told of three times; after that the summary at its end has to do.
    """

    incidents: int = 3

    def __init__(self) -> None:
        self._told = RANK["info"]
        self._count = 0

    def of(self, event: Event) -> Word | None:
        """Whether an incident has begun (as a warning, or critical at once), turned critical or is over; None is no news."""
        if event.symptom is None:
            return None
        if event.transition == "closed":
            return self._closed(event)
        if RANK[event.symptom.severity] <= self._told:
            return None
        severity = RANK.get(event.report().verdict, RANK["info"])
        if severity <= self._told:
            return None
        begun = self._told == RANK["info"]
        self._count += begun
        self._told = severity
        if self._count > self.incidents:
            return None
        return "begun" if begun else "critical"

    def _closed(self, event: Event) -> Word | None:
        if self._told == RANK["info"] or any(s.open for s in words.alarming(event.report())):
            return None
        self._told = RANK["info"]
        return "over" if self._count <= self.incidents else None

    @property
    def last(self) -> bool:
        """Whether this incident is the last one that is told of."""
        return self._count >= self.incidents
