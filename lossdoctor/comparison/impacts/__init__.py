"""How much a difference matters, and why: one file for each theme, one small function for each setting or derived quantity.

A rating rests on the numbers of the pair and on evidence that it names, and is the same whichever side comes first.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from lossdoctor.comparison.impacts.rating import Rater, Rating
from lossdoctor.plan import Plan


@cache
def raters() -> dict[str, Rater]:
    """Every rating by the name of its setting or derived quantity."""
    found: dict[str, Rater] = {}
    for info in iter_modules(__path__):
        found |= getattr(import_module(f"{__name__}.{info.name}"), "RATERS", {})
    return found


def rating(name: str, one: Plan, other: Plan) -> Rating:
    """What a difference of that name does."""
    return raters()[name](name, one, other)


@cache
def bookkeeping() -> frozenset[str]:
    """Facts that are no settings of the training: what is logged, evaluated and saved, and the versions of the tools."""
    from lossdoctor.comparison.impacts import evaluation, versions

    return frozenset(evaluation.RATERS) - {"resume_from_checkpoint", "early_stopping_patience"} | frozenset(versions.RATERS)
