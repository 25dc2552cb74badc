"""JUnit XML, which every CI system shows: a suite for each run, a case for its verdict and one for each detector."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from lossdoctor.model import RANK, Report, fails
from lossdoctor.registry import all_detectors
from lossdoctor.reports import words
from lossdoctor.reports.text import brief

#: What XML 1.0 cannot hold, escaped or not.
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: More runs than this share one suite.
MOST_SUITES = 100


def render(reports: Sequence[Report], *, fail_on: str = "critical", unreadable: Sequence[str] = ()) -> str:
    """The document. A case fails from the severity `fail_on` on, so that it agrees with the exit code.

    A detector that could not judge is skipped, with its reason; an input that could not be read is an error. Of more than 100
    runs only the verdicts are cases.
    """
    root = ElementTree.Element("testsuites", name="lossdoctor")
    if len(reports) <= MOST_SUITES:
        for report in reports:
            _suite(root, report, fail_on)
    else:
        _one_suite(root, reports, fail_on)
    if unreadable:
        count = str(len(unreadable))
        suite = ElementTree.SubElement(root, "testsuite", name="unreadable", tests=count, errors=count, failures="0", skipped="0")
        for problem in unreadable:
            case = ElementTree.SubElement(suite, "testcase", classname="lossdoctor", name=clean(problem.partition(": ")[0]))
            ElementTree.SubElement(case, "error", message=clean(problem), type="unreadable")
    return document(root)


def document(root: ElementTree.Element) -> str:
    """The tree as a file."""
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _one_suite(root: ElementTree.Element, reports: Sequence[Report], fail_on: str) -> None:
    """A case for each run alone: those of 2,000 runs and all detectors would be 70,000."""
    suite = ElementTree.SubElement(root, "testsuite", name="runs", tests=str(len(reports)), errors="0", skipped="0")
    for report in reports:
        _verdict(suite, "lossdoctor", report, fail_on, clean(words.name(report)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))


def _suite(root: ElementTree.Element, report: Report, fail_on: str) -> None:
    name = clean(words.name(report))
    suite = ElementTree.SubElement(root, "testsuite", name=name)
    _verdict(suite, name, report, fail_on)
    seen = {s.slug: s for s in sorted(words.seen(report), key=lambda s: (s.open, RANK[s.severity]))}  # the worst of each stays
    unseen = {slug.strip(): item.why for item in report.not_judged for slug in item.what.split(",")}
    alarming = {symptom.identity for symptom in words.alarming(report) if symptom.open}
    for slug in sorted({*all_detectors(), *seen}):
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=slug)
        symptom = seen.get(slug)
        if symptom is not None and symptom.identity in alarming and fails(symptom.severity, fail_on):
            ElementTree.SubElement(case, "failure", message=clean(symptom.message), type=symptom.severity)
        elif symptom is not None:
            ElementTree.SubElement(case, "system-out").text = clean(words.what_was_seen(symptom))
        elif slug in unseen:
            ElementTree.SubElement(case, "skipped", message=clean(unseen[slug]))
    for counted in ("failure", "skipped"):
        suite.set("failures" if counted == "failure" else counted, str(len(suite.findall(f"testcase/{counted}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("errors", "0")


def _verdict(suite: ElementTree.Element, name: str, report: Report, fail_on: str, case_name: str = "verdict") -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=name, name=case_name)
    told = clean(brief(report, color=False, width=100).strip())
    if fails(report.verdict, fail_on):
        ElementTree.SubElement(case, "failure", message=clean(words.verdict(report)), type=report.verdict).text = told
    else:
        ElementTree.SubElement(case, "system-out").text = told


def clean(said: str) -> str:
    """Without what XML cannot hold."""
    return _FORBIDDEN.sub("�", said)
