"""Every symptom and cause has a sick and a healthy log, and beside each the exact text that a user reads.

`UPDATE_CASES=1 pytest tests/test_cases.py` writes the texts anew; the difference is for a reviewer to read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import CASES, ROOT, rows_of

from lossdoctor.engine import Engine
from lossdoctor.facts.canonical import translate
from lossdoctor.model import Report, Run
from lossdoctor.parsing.rows import records
from lossdoctor.probe_columns import LABELS, LOSSES, SCALE
from lossdoctor.registry import all_causes, all_detectors
from lossdoctor.reports.text import render

LOGS = sorted(CASES.glob("*/*.jsonl"))
#: Symptoms and causes; checks have configurations instead, see test_checks.py.
PAGES = {**all_detectors(), **all_causes()}


def judge(log: Path) -> Report:
    facts = log.with_suffix(".json")
    known = translate(json.loads(facts.read_text()), "--config") if facts.is_file() else {}
    rows = records(rows_of(log))[0]
    watched = dict.fromkeys((LOSSES, LABELS, SCALE), 1) if any(r.kind == "probe" for r in rows) else {}
    run = Run(path=f"{log.parent.name}/{log.name}", kind="json_lines", facts=known, watched=watched)
    engine = Engine(run, strict=True)
    for record in rows:
        engine.observe(record)
    return engine.report()


def named(report: Report) -> set[str]:
    return {s.slug for s in report.symptoms} | {d.slug for d in report.diagnoses}


@pytest.mark.parametrize("slug", PAGES)
@pytest.mark.parametrize("kind", ["sick", "healthy"])
def test_every_page_has_a_sick_and_a_healthy_log(slug: str, kind: str) -> None:
    """Nothing is promised without a log that shows it and one that does not."""
    assert (CASES / slug / f"{kind}.jsonl").is_file(), f"add tests/cases/{slug}/{kind}.jsonl"


@pytest.mark.parametrize("log", LOGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_the_sick_log_is_named_and_the_healthy_one_is_not(log: Path) -> None:
    """A sick log is named by its symptom or cause, the likeliest first; a healthy one never is."""
    report, slug = judge(log), log.parent.name
    if log.stem.startswith("healthy"):
        assert slug not in named(report)
    elif slug in all_detectors():
        assert slug in {s.slug for s in report.symptoms}
    else:
        mechanism = PAGES[slug].mechanism  # type: ignore[attr-defined]
        known = [d.slug for d in report.diagnoses]
        assert slug in known if mechanism else known[0] == slug


@pytest.mark.parametrize("log", LOGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_the_user_reads_exactly_this(log: Path) -> None:
    """The text beside the log is what the command prints at 80 columns, to the letter."""
    text = render([judge(log)], color=False, width=80)
    expected = log.with_suffix(".txt")
    if os.environ.get("UPDATE_CASES"):
        expected.write_text(text, encoding="utf-8")
    assert expected.is_file(), f"run UPDATE_CASES=1 pytest {Path(__file__).relative_to(ROOT)} and read {expected.name}"
    assert text == expected.read_text(encoding="utf-8")


def test_no_case_is_an_orphan() -> None:
    """Every folder of cases belongs to a page, and every text and fact file to a log."""
    assert {p.name for p in CASES.iterdir()} == set(PAGES)
    logs = {p.with_suffix("") for p in LOGS}
    assert {p.with_suffix("") for p in CASES.glob("*/*")} == logs
