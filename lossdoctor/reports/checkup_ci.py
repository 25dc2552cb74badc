"""The report on a configuration for CI systems: annotations of GitHub Actions, and JUnit XML."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from lossdoctor.language import say
from lossdoctor.model import fails
from lossdoctor.registry import all_checks
from lossdoctor.reports import checkup, words
from lossdoctor.reports.github import COMMANDS, as_data, as_property, on_one_line
from lossdoctor.reports.junit import clean, document

if TYPE_CHECKING:
    from lossdoctor.checkup import CheckReport


def github(report: CheckReport) -> str:
    """One workflow command for each warning or worse; a plain line where there is none."""
    lines = []
    for one in checkup.shown(report):
        command = COMMANDS.get(one.finding.severity)
        if command is None:
            continue
        said = [one.finding.message, *one.finding.because]
        for remedy in one.remedies:
            if not remedy.alternative:
                settings = "; ".join(words.settings(remedy, report.run))
                said.append(f"→ {remedy.do}" + (f" ({settings})" if settings else ""))
        place = f"file={as_property(report.run.path)},title={as_property(f'lossdoctor: {one.finding.slug}')}"
        lines.append(f"::{command} {place}::{as_data(chr(10).join(said))}")
    if not lines:
        lines.append(
            say(
                "lossdoctor: {report} is {verdict}. {report2}",
                report=on_one_line(checkup.name(report)),
                verdict=say(report.verdict),
                report2=on_one_line(checkup.verdict(report)),
            )
        )
    return "".join(f"{line}\n" for line in lines)


def junit(report: CheckReport, fail_on: str = "critical") -> str:
    """A suite with a case for each check, which fails from the severity `fail_on` on; what could not be judged is skipped."""
    root = ElementTree.Element("testsuites", name="lossdoctor")
    name = clean(checkup.name(report))
    suite = ElementTree.SubElement(root, "testsuite", name=name)
    found = {finding.slug: finding for finding in report.findings}
    unseen = {slug.strip(): item.why for item in report.not_judged for slug in item.what.split(",")}
    for slug in sorted({*all_checks(), *found}):
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=slug)
        finding = found.get(slug)
        if finding is not None and fails(finding.severity, fail_on):
            failure = ElementTree.SubElement(case, "failure", message=clean(finding.message), type=finding.severity)
            failure.text = clean("\n".join(finding.because))
        elif finding is not None:
            ElementTree.SubElement(case, "system-out").text = clean(finding.message)
        elif slug in unseen:
            ElementTree.SubElement(case, "skipped", message=clean(unseen[slug]))
    counts = {"failures": "failure", "skipped": "skipped"}
    for counted, tag in counts.items():
        suite.set(counted, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("errors", "0")
    return document(root)
