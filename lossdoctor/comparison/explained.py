"""What explains best how two curves differ, the likeliest first; or that nothing does, or that there is nothing to explain."""

from __future__ import annotations

from collections.abc import Sequence

from lossdoctor.comparison.case import Case, Reason, listed
from lossdoctor.comparison.courses import generalisation, longer, rates
from lossdoctor.comparison.events import broken, epoch, moment, resumed
from lossdoctor.comparison.nouns import CurveDifference, Difference, Side
from lossdoctor.comparison.openings import opening
from lossdoctor.language import plural, say

REASONS = (broken, opening, moment, resumed, generalisation, longer, rates, epoch)
#: Settings that change which examples come when, and nothing of what is learned from them on average.
CHANCE = ("seed", "data_seed")
#: Settings that are named together.
NAMED = 6


def explain(one: Side, other: Side, curves: Sequence[CurveDifference], differences: Sequence[Difference]) -> tuple[str, ...]:
    """Sentences on what explains the difference of the curves, each with its evidence; nothing where there are no curves."""
    case = Case(one, other, tuple(curves), tuple(differences))
    if not any(curve.told for curve in curves):
        return ()
    found = [reason for ask in REASONS if (reason := ask(case)) is not None]
    if not _differ(case) and not any(reason.weight > 8 for reason in found):
        return _no_difference(case)
    found.sort(key=lambda reason: -reason.weight)
    likely = [reason for reason in found if reason.weight > 1]
    return (*[reason.words for reason in found], *_rest(case, likely))


def _differ(case: Case) -> bool:
    """Whether any curve ends beyond noise apart, or was on the way, or has no end to compare because one side broke."""
    ends = [end for curve in case.curves for end in (curve.end, curve.own_ends) if end]
    apart = any(end.ending in ("better", "worse") for end in ends) or any(curve.widest for curve in case.curves)
    return apart or broken(case) is not None


def _no_difference(case: Case) -> tuple[str, ...]:
    """That there is nothing to explain, or nothing that could be judged; and what differs without showing."""
    judged = [end for curve in case.curves if (end := curve.end) and end.ending != "unknown"]
    if not judged:
        return (say("Not enough evidence: no end of these curves could be judged, so that there is no difference to explain."),)
    if all(curve.identical for curve in case.curves):
        return (say("There is nothing to explain: the curves are the same."),)
    if not any(end.alike for end in judged):
        return (
            say("Not enough evidence: these curves scatter too much for their difference to be sure and need an explanation."),
        )
    said = say("There is nothing to explain: no curve is apart beyond noise.")
    if case.training is not None and not case.training.in_order:
        said += say(" That their rows differ is chance: {case}.", case=_order(case))
    shown = [d for d in case.effective if d.name not in CHANCE and d.impact in ("high", "medium")]
    if not shown:
        return (said,)
    return said, _without_effect(shown)


def _order(case: Case) -> str:
    seeds = [side.plan.get("seed") for side in case.sides]
    if None not in seeds and seeds[0] != seeds[1]:
        return say("the seeds differ ({first_seeds} and {second_seeds})", first_seeds=seeds[0], second_seeds=seeds[1])
    return say("the examples are others, or came in another order")


def _rest(case: Case, found: Sequence[Reason]) -> list[str]:
    """What else differs, what cannot be told apart; or that nothing in the configuration explains it."""
    used = frozenset(name for reason in found for name in reason.settings)
    strong = [d for d in case.effective if d.name not in CHANCE and d.impact in ("high", "medium")]
    other = [d for d in strong if not {d.name, *d.settings} & used]
    said = []
    if other and found:
        said.append(_differ_too(other))
    elif other:
        which = say("; which of them cannot be told from two logs: change one at a time.") if len(other) > 1 else "."
        said.append(say("Of what differs, {other} may do it{which}", other=listed(other[:NAMED]), which=which))
    if not found and not other:
        said.append(_unexplained(case))
    return said


def _without_effect(differences: Sequence[Difference]) -> str:
    return plural(
        "{names} differs; these curves show no effect of that beyond noise.",
        "{names} differ; these curves show no effect of that beyond noise.",
        len(differences),
        names=listed(differences[:NAMED]),
    )


def _differ_too(differences: Sequence[Difference]) -> str:
    return plural(
        "{names} differs as well; how much of it that does cannot be told from two logs.",
        "{names} differ as well; how much of it that does cannot be told from two logs.",
        len(differences),
        names=listed(differences[:NAMED]),
    )


def _unexplained(case: Case) -> str:
    seeds = [side.plan.get("seed") for side in case.sides]
    if None not in seeds and seeds[0] != seeds[1]:
        rest = say(
            "the seeds differ ({first_seeds} and {second_seeds}), and more than seeds of one run usually do",
            first_seeds=seeds[0],
            second_seeds=seeds[1],
        )
    elif case.training is not None and case.training.in_order:
        rest = say("the examples came in the same order, so that something else differs that is not stated")
    else:
        rest = say("other examples, another order of them, or something that is not stated")
    return say("Nothing in the configuration explains it: {rest}.", rest=rest)
