"""The report as strict JSON, for programs; the schema is `report.schema.json` beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from lossdoctor import __version__
from lossdoctor.model import Conflict, Diagnosis, Report, Run, Symptom

#: Raised when a field changes its meaning or goes; new fields do not raise it.
FORMAT = 1


def render(reports: Sequence[Report]) -> str:
    """All reports as one JSON document; NaN and infinity become null, or their names inside evidence."""
    document = {
        "format": FORMAT,
        "tool": {"name": "lossdoctor", "version": __version__},
        "reports": [as_dict(report) for report in reports],
    }
    return json.dumps(document, allow_nan=False, ensure_ascii=False, indent=1) + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema of what `render` writes."""
    from importlib.resources import files  # loads much, and a report does without

    text = files("lossdoctor.reports").joinpath("report.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def as_dict(report: Report) -> dict[str, Any]:
    """One report as plain values."""
    places = {s.identity: place for place, s in enumerate(report.symptoms)}
    return {
        "source": _source(report.run),
        "run": {
            "rows": report.rows,
            "first_step": report.first_step,
            "last_step": report.last_step,
            "epochs": _number(report.epochs),
            "facts": {name: {"value": plain(f.value), "source": f.source} for name, f in sorted(report.run.facts.items())},
            "conflicts": [_conflict(c) for c in report.run.conflicts],
        },
        "verdict": report.verdict,
        "symptoms": [_symptom(s) for s in report.symptoms],
        "diagnoses": [_diagnosis(d, places) for d in report.diagnoses],
        "not_judged": [{"what": n.what, "why": n.why} for n in report.not_judged],
        "last_good_step": report.last_good_step,
        "last_good_checkpoint": report.last_good_checkpoint,
    }


def _source(run: Run) -> dict[str, Any]:
    source: dict[str, Any] = {"path": run.path, "kind": run.kind}
    if run.name:
        source["name"] = run.name
    if run.same:
        source["same"] = list(run.same)
    return source


def _conflict(conflict: Conflict) -> dict[str, Any]:
    used, *others = ({"value": plain(fact.value), "source": fact.source} for fact in conflict.facts)
    return {"name": conflict.name, "used": used, "others": others}


def _symptom(symptom: Symptom) -> dict[str, Any]:
    return {
        "slug": symptom.slug,
        "series": symptom.series,
        "severity": symptom.severity,
        "onset": symptom.onset,
        "last": symptom.last,
        "open": symptom.open,
        "message": symptom.message,
        "evidence": {name: value if isfinite(value) else str(value) for name, value in symptom.evidence.items()},
    }


def _diagnosis(diagnosis: Diagnosis, places: Mapping[tuple[str, str, int], int]) -> dict[str, Any]:
    return {
        "slug": diagnosis.slug,
        "title": diagnosis.title,
        "confidence": diagnosis.confidence,
        "normal": diagnosis.normal,
        "because": sorted({places[s.identity] for s in diagnosis.because if s.identity in places}),
        "explanation": diagnosis.explanation,
        "supports": list(diagnosis.supports),
        "contradicts": list(diagnosis.contradicts),
        "decide_by": diagnosis.decide_by,
        "remedies": [
            {"do": r.do, "why": r.why, "settings": plain(dict(r.settings)), "cost": r.cost, "sources": list(r.sources)}
            for r in diagnosis.remedies
        ],
    }


def _number(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def plain(value: Any) -> Any:
    """Anything a fact may hold as a value that strict JSON can write."""
    if isinstance(value, float):
        return _number(value)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(inner) for inner in value]
    return str(value)
