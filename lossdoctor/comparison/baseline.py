"""Whether a run is worse than the one it is measured by: what `compare --baseline` fails on."""

from __future__ import annotations

from lossdoctor.comparison.broken import fault
from lossdoctor.comparison.nouns import CurveDifference, EndDifference, Pair


def worse(pair: Pair) -> bool:
    """Whether the other side ends worse beyond noise, or broke where the first did not.

    By the evaluation loss if both have one (by those of all sets where there are only such), else by the training loss; by
    each one's own end where that is another place.
    """
    if fault(pair.other) is not None:
        return fault(pair.one) is None
    if fault(pair.one) is not None:
        return False
    judged = [curve for curve in pair.curves if _judged(_decisive(pair, curve))]
    groups = (
        [curve for curve in judged if curve.series == "eval_loss"],
        [curve for curve in judged if curve.series not in ("loss", "eval_loss")],
        judged,
    )
    curves: list[CurveDifference] = next(filter(None, groups), [])
    return any(_is_worse(_decisive(pair, curve)) for curve in curves)


def _decisive(pair: Pair, curve: CurveDifference) -> EndDifference | None:
    """The end to judge by: the best evaluation where both keep the best model, else where each ends."""
    if curve.best is not None and all(side.plan.get("load_best_model_at_end") is True for side in (pair.one, pair.other)):
        return curve.best
    return curve.own_ends or curve.end


def _judged(end: EndDifference | None) -> bool:
    return end is not None and end.ending != "unknown"


def _is_worse(end: EndDifference | None) -> bool:
    return end is not None and end.ending == "worse"
