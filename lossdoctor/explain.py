"""The page of a symptom or cause: its docstring, its thresholds, and the list of all pages."""

from __future__ import annotations

import difflib
import inspect

from lossdoctor.base import Cause, Detector, Page
from lossdoctor.model import LossDoctorError
from lossdoctor.registry import all_causes, all_detectors, thresholds

#: The headings that a page must have, in this order.
DETECTOR_HEADINGS = ("What it watches", "Why it matters", "What it misses")
CAUSE_HEADINGS = ("How we tell", "What else it could be")


def pages() -> dict[str, type[Page]]:
    """Every page by its slug, symptoms first."""
    return {**all_detectors(), **all_causes()}


def summary(page: type[Page]) -> str:
    """The first sentence of a page."""
    return inspect.getdoc(page).partition("\n")[0] if page.__doc__ else ""  # type: ignore[union-attr]


def markdown(slug: str) -> str:
    """The page as Markdown.

    Raises:
        LossDoctorError: there is no such page; the nearest names are given.
    """
    known = pages()
    page = known.get(slug)
    if page is None:
        near = difflib.get_close_matches(slug, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "see: lossdoctor list"
        raise LossDoctorError(f"no such page: {slug!r}; {hint}")
    kind = "symptom" if issubclass(page, Detector) else "expected behaviour" if _normal(page) else "cause"
    parts = [f"# {slug} ({kind})", inspect.getdoc(page) or ""]
    if issubclass(page, Cause) and page.decide_by:
        parts.append(f"## How to decide\n{page.decide_by[:1].upper()}{page.decide_by[1:]}.")
    if rows := thresholds(page):
        lines = "\n".join(f"- `{name}`: {value!r}" for name, value in rows.items())
        parts.append(f"## Thresholds\nKeys of `[tool.lossdoctor.{slug}]`.\n\n{lines}")
    return "\n\n".join(parts) + "\n"


def _normal(page: type[Page]) -> bool:
    return issubclass(page, Cause) and page.normal
