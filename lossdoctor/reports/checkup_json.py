"""The report on a configuration as strict JSON, for programs; the schema is `check.schema.json` beside this file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lossdoctor import __version__
from lossdoctor.model import Finding
from lossdoctor.plan import Plan, Quantity
from lossdoctor.reports.json import FORMAT, plain

if TYPE_CHECKING:
    from lossdoctor.checkup import CheckReport

_QUANTITIES = (
    *("effective_batch", "steps_per_epoch", "epochs", "total_steps", "examples_seen", "tokens_seen", "warmup", "adapter_scale"),
)


def render(report: CheckReport) -> str:
    """The report as one JSON document."""
    tool = {"name": "lossdoctor", "version": __version__}
    return (
        json.dumps({"format": FORMAT, "tool": tool, "check": as_dict(report)}, allow_nan=False, ensure_ascii=False, indent=1)
        + "\n"
    )


def schema() -> dict[str, Any]:
    """The JSON Schema of what `render` writes."""
    from importlib.resources import files  # loads much, and a report does without

    text = files("lossdoctor.reports").joinpath("check.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def as_dict(report: CheckReport) -> dict[str, Any]:
    """The report as plain values."""
    run = report.run
    return {
        "source": {"path": run.path, "kind": run.kind},
        "facts": {name: {"value": plain(f.value), "source": f.source} for name, f in sorted(run.facts.items())},
        "plan": _plan(report.plan),
        "looked_at": report.looked_at,
        "verdict": report.verdict,
        "findings": [_finding(finding) for finding in report.findings],
        "not_judged": [{"what": item.what, "why": item.why} for item in report.not_judged],
    }


def _plan(plan: Plan) -> dict[str, Any]:
    told: dict[str, Any] = {name: _quantity(getattr(plan, name)) for name in _QUANTITIES}
    layers = plan.trained_layers
    return {**told, "precision": plan.precision, "trained_layers": layers.words if layers else None}


def _quantity(quantity: Quantity | None) -> dict[str, Any] | None:
    if quantity is None:
        return None
    return {"value": plain(quantity.value), "how": quantity.how, "assumed": list(quantity.assumed)}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "slug": finding.slug,
        "severity": finding.severity,
        "message": finding.message,
        "because": list(finding.because),
        "remedies": [
            {
                "do": r.do,
                "why": r.why,
                "settings": plain(dict(r.settings)),
                "cost": r.cost,
                "sources": list(r.sources),
                "alternative": r.alternative,
            }
            for r in finding.remedies
        ],
    }
