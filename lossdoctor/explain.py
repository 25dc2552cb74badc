"""The page of a symptom, cause or check: its docstring, its thresholds, and the list of all pages.

`python -m lossdoctor.explain docs` writes the pages of all that is built in to a folder.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path

from lossdoctor.base import Cause, Detector, Page
from lossdoctor.language import capital, later, say, spoken
from lossdoctor.model import LossDoctorError
from lossdoctor.registry import all_causes, all_checks, all_data_checks, all_detectors, built_in, thresholds
from lossdoctor.wrapping import wrapped

#: Columns of a translated page.
WIDTH = 100
#: The headings that a page must have, in this order.
DETECTOR_HEADINGS = ("What it watches", "Why it matters", "What it misses")
CAUSE_HEADINGS = ("How we tell", "What else it could be", "Remedies and their sources")
CHECK_HEADINGS = ("What it looks at", "Why it matters", "What it misses")

#: The symptoms of the index by what they are about; one that is in no group stands under the last heading.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Numbers that are lost": (
        "loss-not-finite",
        "loss-collapse-to-zero",
        "loss-intermittent-zero",
        "gradient-not-finite",
        "eval-loss-not-finite",
        "gradient-zero",
        "gradient-constant",
        "learning-rate-frozen",
        "learning-rate-zero",
        "loss-scale-collapse",
        "skipped-steps",
        "hidden-nan-steps",
        "tensor-not-finite",
        "weights-not-finite",
    ),
    "The shape of the loss": (
        "loss-spike",
        "loss-divergence",
        "loss-plateau",
        "loss-at-chance",
        "loss-oscillation",
        "loss-noise",
        "loss-near-zero",
        "epoch-staircase",
        "loss-still-falling",
        "loss-converged",
        "resume-jump",
        "train-eval-scale-gap",
        "opening-loss-above-chance",
    ),
    "Gradients": (
        "gradient-explosion",
        "gradient-vanishing",
        "gradient-always-clipped",
        "gradient-by-layer",
        "update-too-large",
        "update-too-small",
    ),
    "Generalisation, preference tuning and reinforcement learning": (
        "eval-loss-rising",
        "reward-variance-zero",
        "reward-collapse",
        "preference-start-offset",
    ),
    "Data": ("labels-all-masked",),
    "Others": (),
}
READ_ME = """\
# Symptoms, causes and checks

A page for everything that lossdoctor can name; `lossdoctor explain SLUG` prints the same text.
The rest of the manual begins [here](index.md).
If your loss is [0.0](loss-is-zero.md), [NaN](loss-is-nan.md) or [stuck](loss-is-stuck.md), or [exploded](loss-exploded.md):
each has a page to begin with.

A **symptom** is what was seen in the log, with the steps and numbers that show it.
A **cause** is why: several may explain the same symptoms, and the report ranks them with what speaks for and against each.
A **check** looks at a configuration before the first step: `lossdoctor check CONFIG` ([check.md](check.md)) makes all of them.
Checks of the data and the model are made where both are on this machine and named ([how](check.md#with-the-data-and-the-model)).

How to read a page: the first sentence is what is true of a sick run.
On the page of a symptom follow what is watched, why it matters, and what it misses, which is where it is blind.
On the page of a cause follow how we tell it from the log, what looks the same, and which remedies have which evidence.
The cheapest check that decides stands below.
On the page of a check follow what it looks at, why that matters, and what it misses.
The thresholds at the end are keys of `[tool.lossdoctor.<slug>]` in `pyproject.toml`
([how](how-it-works.md#thresholds-of-your-own)).

These files are generated from the code by `make docs`.
"""


def pages() -> dict[str, type[Page]]:
    """Every page by its slug: symptoms, causes, checks of a configuration and of the data."""
    return {**all_detectors(), **all_causes(), **all_checks(), **all_data_checks()}


def summary(page: type[Page]) -> str:
    """The first sentence of a page."""
    return say(paragraphs(page)[0]) if page.__doc__ else ""


def paragraphs(page: type[Page]) -> list[str]:
    """The docstring in parts that are translated one by one, each in one line: the first sentence, headings, paragraphs."""
    parts: list[str] = []
    for block in (inspect.getdoc(page) or "").split("\n\n"):
        head, _, rest = block.partition("\n") if block.startswith("## ") else ("", "", block)
        parts += [" ".join(part.split()) for part in (head.removeprefix("## "), rest) if part.strip()]
    return parts


def _text(page: type[Page]) -> str:
    """The docstring: as it stands, or translated part by part."""
    whole = inspect.getdoc(page) or ""
    if spoken() == "en":
        return whole
    lines: list[str] = []
    for block in whole.split("\n\n"):
        head, _, rest = block.partition("\n") if block.startswith("## ") else ("", "", block)
        lines += [f"## {say(head.removeprefix('## '))}"] if head else []
        lines += [wrapped(say(" ".join(rest.split())), WIDTH), ""] if rest.strip() else [""]
    return "\n".join(lines).strip()


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
    parts = [f"# {slug} ({say(kind(page))})", _text(page)]
    if issubclass(page, Cause) and page.decide_by:
        check = say(page.decide_by)
        code = "." in check.split()[0]  # the name of a function stays as it is written
        check = check if code else capital(check)
        parts.append(f"## {say('How to decide')}\n{check}{'' if check.endswith('?') else '.'}")
    if rows := thresholds(page):
        lines = "\n".join(f"- `{name}`: {value!r}" for name, value in rows.items())
        keys = say("Keys of `[tool.lossdoctor.{slug}]`.", slug=slug)
        parts.append(f"## {say('Thresholds')}\n{keys}\n\n{lines}")
    return "\n\n".join(parts) + "\n"


def kind(page: type[Page]) -> str:
    """What a page is about, in a word or two."""
    if issubclass(page, Cause):
        return later("expected behaviour") if page.normal else later("cause")
    return later("symptom") if issubclass(page, Detector) else later("check")


def documents() -> dict[str, str]:
    """The text of every file of the manual by its path: an index, and a page for all that is built in."""
    texts = {"README.md": _index()}
    for slug, page in _own().items():
        texts[f"{_folder(page)}/{slug}.md"] = markdown(slug)
    return texts


def _own() -> dict[str, type[Page]]:
    return {**built_in(), **all_checks(), **all_data_checks()}


def write_documents(folder: Path) -> None:
    """Writes the manual, and deletes the pages of what is no longer there."""
    texts = documents()
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in orphans(folder):
        path.unlink()


def orphans(folder: Path) -> list[Path]:
    """Pages in the folders of the manual that belong to nothing."""
    known = {folder / name for name in documents()}
    return [
        path for place in ("symptoms", "causes", "checks") for path in sorted((folder / place).glob("*.md")) if path not in known
    ]


def _folder(page: type[Page]) -> str:
    return "symptoms" if issubclass(page, Detector) else "causes" if issubclass(page, Cause) else "checks"


def _index() -> str:
    symptoms = [slug for slug, page in built_in().items() if issubclass(page, Detector)]
    causes = {slug: page for slug, page in built_in().items() if issubclass(page, Cause)}
    grouped = {slug for slugs in GROUPS.values() for slug in slugs}
    parts = [READ_ME, "## Symptoms: this run shows a …\n"]
    for heading, slugs in GROUPS.items():
        there = [s for s in slugs if s in symptoms] if slugs else [s for s in symptoms if s not in grouped]
        parts += [f"### {heading}\n", _lines(there)] if there else []
    proper = [slug for slug, page in causes.items() if not page.normal and not page.mechanism]
    parts += ["## Causes: because …\n", _lines(proper)]
    parts += ["### Why the log looks as it does\n", _lines([s for s, page in causes.items() if page.mechanism])]
    parts += ["### Alarming, but expected\n", _lines([s for s, page in causes.items() if page.normal])]
    parts += ["## Checks: this configuration has a …\n", _lines(list(all_checks()))]
    parts += ["### What lies in the data and the model\n", _lines(list(all_data_checks()))]
    return "\n".join(parts)


def _lines(slugs: list[str]) -> str:
    known = _own()
    return "".join(f"- [{slug}]({_folder(known[slug])}/{slug}.md): {summary(known[slug])}\n" for slug in slugs)


if __name__ == "__main__":
    write_documents(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
