"""One incident, one symptom: which symptoms tell the same story, and which of them tells it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lossdoctor.base import Detector
from lossdoctor.model import RANK, Symptom


class Incidents:
    """Knows the incident that each detector watches for; a detector without one stands for itself."""

    def __init__(self, detectors: Iterable[Detector]) -> None:
        self._incidents = {detector.slug: detector.incident for detector in detectors}

    def told_already(self, symptom: Symptom, among: Mapping[Any, Symptom]) -> bool:
        """Whether a symptom of the same incident stands that is no less severe."""
        return any(other.open for other in self._mates(symptom, among))

    def part_of_another(self, symptom: Symptom, among: Mapping[Any, Symptom]) -> bool:
        """Whether a wider symptom of the same incident covers it: a spike within a divergence is no second finding."""
        for other in self._mates(symptom, among):
            wider = other.onset <= symptom.onset and (other.open or (not symptom.open and other.last >= symptom.last))
            same = other.onset == symptom.onset and RANK[other.severity] == RANK[symptom.severity]
            if wider and not (same and other.slug > symptom.slug):
                return True
        return False

    def _mates(self, symptom: Symptom, among: Mapping[Any, Symptom]) -> Iterator[Symptom]:
        """The other symptoms of the same incident and series that are no less severe."""
        incident = self._incidents.get(symptom.slug)
        if not incident:
            return
        for other in among.values():
            if other.series == symptom.series and self._incidents.get(other.slug) == incident:
                if other.identity != symptom.identity and RANK[other.severity] >= RANK[symptom.severity]:
                    yield other
