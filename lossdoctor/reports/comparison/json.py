"""A comparison as strict JSON, for programs; the schema is `comparison.schema.json` beside this file."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from lossdoctor import __version__
from lossdoctor.comparison.nouns import Comparison, CurveDifference, Difference, EndDifference, Pair, Side
from lossdoctor.plan import Plan, Quantity
from lossdoctor.reports.comparison import words
from lossdoctor.reports.json import plain

#: Raised when a field changes its meaning or goes; new fields do not raise it.
FORMAT = 1
QUANTITIES = (
    *("effective_batch", "steps_per_epoch", "epochs", "total_steps", "examples_seen", "tokens_seen", "warmup", "adapter_scale"),
)


def render(comparison: Comparison) -> str:
    """The comparison as one JSON document; NaN and infinity become null."""
    document = {
        "format": FORMAT,
        "tool": {"name": "lossdoctor", "version": __version__},
        "sides": [_side(side, plan) for side, plan in zip(comparison.sides, comparison.plans, strict=True)],
        "pairs": [_pair(comparison, pair) for pair in comparison.pairs],
        "tries": list(comparison.tries),
        "not_judged": [{"what": what, "why": why} for what, why in comparison.not_judged],
    }
    return json.dumps(document, allow_nan=False, ensure_ascii=False, indent=1) + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema of what `render` writes."""
    from importlib.resources import files  # loads much, and a report does without

    text = files("lossdoctor.reports.comparison").joinpath("comparison.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _side(side: Side, plan: Plan) -> dict[str, Any]:
    run = side.plan.run
    return {
        "name": side.name,
        "source": {"path": run.path, "kind": run.kind},
        "verdict": side.report.verdict if side.report else None,
        "plan": _plan(plan),
        "facts": {name: {"value": plain(fact.value), "source": fact.source} for name, fact in sorted(run.facts.items())},
    }


def _plan(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = {name: _quantity(getattr(plan, name)) for name in QUANTITIES}
    rates = plan.rates
    return found | {
        "mean_learning_rate": plain(rates.mean()) if rates else None,
        "last_learning_rate": plain(rates.last) if rates else None,
        "trained_layers": plan.trained_layers.words if plan.trained_layers else None,
        "precision": plan.precision,
    }


def _quantity(quantity: Quantity | None) -> dict[str, Any] | None:
    if quantity is None:
        return None
    return {"value": plain(quantity.value), "how": quantity.how, "assumed": list(quantity.assumed)}


def _pair(comparison: Comparison, pair: Pair) -> dict[str, Any]:
    places = [next(place for place, side in enumerate(comparison.sides) if side is each) for each in (pair.one, pair.other)]
    return {
        "one": places[0],
        "other": places[1],
        "verdict": words.verdict(pair),
        "differences": [_difference(difference) for difference in pair.differences],
        "curves": [_curve(curve) for curve in pair.curves],
        "explained": list(pair.explained),
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "name": difference.name,
        "one": plain(difference.values[0]),
        "other": plain(difference.values[1]),
        "impact": difference.impact,
        "judged": difference.judged,
        "change": difference.change,
        "reason": difference.reason,
        "slip": difference.slip,
        "derived": difference.derived,
        "settings": list(difference.settings),
        "sources": list(difference.sources),
    }


def _end(end: EndDifference | None) -> dict[str, Any] | None:
    return {name: plain(value) for name, value in asdict(end).items()} if end else None


def _curve(curve: CurveDifference) -> dict[str, Any]:
    return {
        "series": curve.series,
        "axis": curve.axis,
        "rows": curve.rows,
        "same_until": curve.same_until,
        "parted_at": curve.parted_at,
        "end": _end(curve.end),
        "own_ends": _end(curve.own_ends),
        "best": _end(curve.best),
        "together": plain(curve.together),
        "in_order": curve.in_order,
        "identical": curve.identical,
        "widest": {"step": curve.widest[0], "share": plain(curve.widest[1])} if curve.widest else None,
        "told": list(curve.told),
    }
