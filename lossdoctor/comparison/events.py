"""What happened in one of two runs, and not in the other, where their curves part: a fault, a spike, a resume, a new epoch."""

from __future__ import annotations

import numpy as np

from lossdoctor.comparison.broken import fault
from lossdoctor.comparison.case import Case, Reason
from lossdoctor.comparison.nouns import Side
from lossdoctor.language import say

#: Symptoms of a moment that may set a curve on another course.
MOMENTS = ("loss-spike", "loss-divergence", "gradient-explosion", "resume-jump", "loss-intermittent-zero", "gradient-not-finite")
#: Two things happen together that lie within so many rows of the log, or this share of the steps so far.
ROWS, SHARE = 3, 0.04
#: A parting lies at a new epoch if it is within this share of one.
OF_EPOCH = 0.03


def broken(case: Case) -> Reason | None:
    """That one of them broke and the other did not."""
    faults = [fault(side) for side in case.sides]
    if (faults[0] is None) == (faults[1] is None):
        return None
    side, found = next((side, found) for side, found in zip(case.sides, faults, strict=True) if found)
    causes = [d for d in side.report.diagnoses if not d.normal and not d.mechanism] if side.report else []
    sure = next((cause for cause in causes if cause.confidence != "low"), None)
    why = (
        say(
            "; the likeliest cause in its report ({confidence} confidence): {sure_title}",
            confidence=say(sure.confidence),
            sure_title=sure.title,
        )
        if sure
        else ""
    )
    return Reason(
        11,
        say(
            "{side_name} broke at step {step:,} ({slug}) and the other did not{why}.",
            side_name=side.name,
            step=found.step,
            slug=found.slug,
            why=why,
        ),
    )


def moment(case: Case) -> Reason | None:
    """That one of them had a spike or a jump where they part."""
    if case.parted is None or broken(case) is not None:
        return None
    for side, other, at in zip(case.sides, case.sides[::-1], case.parted, strict=True):
        near = max(SHARE * at, ROWS * _gap(side))
        for symptom in side.report.symptoms if side.report else ():
            if symptom.slug in MOMENTS and abs(symptom.onset - at) <= near and not _has(other, symptom.slug, at, near):
                words = say(
                    "{side_name} has a {slug} from step {onset:,} that the other has not",
                    side_name=side.name,
                    slug=symptom.slug,
                    onset=symptom.onset,
                )
                return Reason(
                    8,
                    say(
                        "The curves part at about step {at:,.0f}, and {words}: {message}.",
                        at=at,
                        words=words,
                        message=symptom.message,
                    ),
                )
    return None


def resumed(case: Case) -> Reason | None:
    """That one of them went on from a checkpoint where they part."""
    if case.parted is None:
        return None
    for side, at in zip(case.sides, case.parted, strict=True):
        near = (
            [step for step in side.log.run.resumed_at if abs(step - at) <= max(SHARE * at, ROWS * _gap(side))] if side.log else []
        )
        if near:
            words = say("{side_name} went on from a checkpoint at step {first_near:,}", side_name=side.name, first_near=near[0])
            return Reason(
                7,
                say(
                    "The curves part at about step {at:,.0f}, and {words}: what was not restored may have set it off.",
                    at=at,
                    words=words,
                ),
            )
    return None


def epoch(case: Case) -> Reason | None:
    """That they part where an epoch begins, from where on examples are seen again."""
    if case.parted is None or case.laid is None or case.training is None:
        return None
    epochs = case.laid.epochs
    row = int(case.laid.steps.searchsorted(case.parted[0]))
    if row == 0 or row >= len(epochs) or not np.isfinite(epochs[row]):
        return None
    whole = round(float(epochs[row]))
    between = float(epochs[row] - epochs[row - 1])
    if whole < 1 or abs(epochs[row] - whole) > max(OF_EPOCH, 1.5 * between) or between > 0.2:
        return None
    words = say(
        "at about step {first_parted:,.0f}, where epoch {whole} ends (epoch {epochs:.2f})",
        first_parted=case.parted[0],
        whole=whole,
        epochs=epochs[row],
    )
    return Reason(
        5, say("The curves part {words} and examples are seen again: one learns them by heart more than the other.", words=words)
    )


def _has(side: Side, slug: str, at: float, near: float) -> bool:
    return any(s.slug == slug and abs(s.onset - at) <= near for s in side.report.symptoms) if side.report else False


def _gap(side: Side) -> float:
    steps = [record.step for record in side.log.records if record.kind == "train"][:400] if side.log else []
    return float(np.median(np.diff(steps))) if len(steps) > 1 else 1.0
