"""The differential diagnosis: every cause weighs the chart, and the ranked candidates remain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lossdoctor.base import Cause, Opinion
from lossdoctor.language import say
from lossdoctor.model import Chart, Diagnosis, NotJudged

#: Candidates for which the cheapest deciding check is given.
TO_DECIDE = 2


def diagnose(causes: Iterable[Cause], chart: Chart, strict: bool = False) -> tuple[tuple[Diagnosis, ...], list[NotJudged]]:
    """The candidates, those for what is critical and the likeliest first; mechanisms after them, what is normal last.

    Also what could not be weighed, unless `strict` lets a failing cause raise.
    """
    opinions: list[tuple[Cause, Opinion]] = []
    failed: list[NotJudged] = []
    for cause in causes:
        try:
            opinion = cause.weigh(chart)
            counts = opinion is not None and opinion.points > 0
        except Exception as error:
            if strict:
                raise
            failed.append(
                NotJudged(cause.slug, say("could not be weighed: {name}: {error}", name=type(error).__name__, error=error))
            )
            continue
        if opinion is not None and counts:
            opinions.append((cause, opinion))
    worst = _worst(chart)

    def place(pair: tuple[Cause, Opinion]) -> tuple[Any, ...]:
        cause, opinion = pair
        beside = bool(worst) and not any(symptom.identity in worst for symptom in opinion.because)
        return (cause.normal, cause.mechanism, beside, -opinion.points, -cause.confirmed, cause.slug)

    opinions.sort(key=place)
    found: list[Diagnosis] = []
    for cause, opinion in _without_absorbed(opinions):
        try:
            found.append(_diagnosis(cause, opinion, chart, decide=len(found) < TO_DECIDE))
        except Exception as error:
            if strict:
                raise
            failed.append(NotJudged(cause.slug, say("has no remedies: {name}: {error}", name=type(error).__name__, error=error)))
    return tuple(found), failed


def _worst(chart: Chart) -> set[tuple[str, str, int]]:
    """The critical symptoms that stand: a cause that explains none of them does not come before one that does."""
    return {symptom.identity for symptom in chart.symptoms if symptom.open and symptom.severity == "critical"}


def _without_absorbed(opinions: list[tuple[Cause, Opinion]]) -> list[tuple[Cause, Opinion]]:
    """Without the weak candidates for what a strong one explains: a run in NaN is not also a run with too small a rate."""
    explained = {
        symptom.identity
        for cause, opinion in opinions
        if opinion.confidence == "high" and not cause.normal and not cause.mechanism
        for symptom in opinion.because
    }

    def absorbed(cause: Cause, opinion: Opinion) -> bool:
        weak = opinion.confidence == "low" and not cause.normal and not cause.mechanism
        return weak and bool(opinion.because) and all(symptom.identity in explained for symptom in opinion.because)

    return [(cause, opinion) for cause, opinion in opinions if not absorbed(cause, opinion)]


def _diagnosis(cause: Cause, opinion: Opinion, chart: Chart, decide: bool) -> Diagnosis:
    return Diagnosis(
        slug=cause.slug,
        title=cause.named(chart),
        confidence=opinion.confidence,
        because=opinion.because,
        explanation=opinion.explanation,
        supports=tuple(opinion.supports),
        contradicts=tuple(opinion.contradicts),
        decide_by=cause.check(chart) if decide else "",
        remedies=cause.remedies(chart),
        normal=cause.normal,
        mechanism=cause.mechanism,
    )
