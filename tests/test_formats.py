"""Every format in which a report is given: whole, safe whatever a run is called, and of a size that can be sent around."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import CASES, diagnose, rows_of, write_state
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.model import LossDoctorError, Report
from lossdoctor.reports import FORMATS, Look, chart, html, save, words
from lossdoctor.reports.panels import thinned

SICK = sorted(CASES.glob("*/sick*.jsonl"))
HOSTILE = "<script>alert(1)</script>\"'&|`*_\n::error::x%0A]]>\x1b[31m\x00"
SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "br"}
ROWS = st.lists(
    st.fixed_dictionaries(
        {"step": st.integers(0, 2**40)},
        optional={
            name: st.sampled_from([0.0, 1.0, -2.5, 1e-30, 1e30, 1e308, -1e308, math.nan, math.inf, -math.inf])
            for name in ("loss", "grad_norm", "learning_rate", "eval_loss", "loss_scale", "reward")
        },
    ),
    max_size=30,
)


def broken(rows: int = 120, name: str = "") -> Report:
    """A run that breaks at two thirds, with evaluations."""
    logged: list[dict[str, Any]] = []
    for step in range(1, rows + 1):
        lost = step > rows * 2 // 3
        logged.append(
            {"step": step, "loss": 0.0 if lost else 3 / step**0.2, "grad_norm": math.nan if lost else 1.0, "learning_rate": 5e-5}
        )
        if step % max(1, rows // 10) == 0:
            logged.append({"step": step, "eval_loss": math.nan if lost else 3.1 / step**0.2})
    report = diagnose(logged, fp16=True, gpu="RTX 3090")
    return replace(report, run=replace(report.run, path=name or "runs/broken"))


class Nesting(HTMLParser):
    """Fails where an element is closed that is not open, and collects what a page could load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Nesting:
    """A page that is well formed."""
    parser = Nesting()
    parser.feed(page)
    parser.close()
    assert not parser.open
    return parser


@pytest.mark.parametrize("log", SICK[::2], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_format_names_what_was_seen(log: Path) -> None:
    """Page, Markdown and JUnit are well formed and hold every symptom that the text holds."""
    report = diagnose(rows_of(log), fp16=True)
    page, markdown, junit = (FORMATS[name]([report], Look()) for name in ("html", "markdown", "junit"))
    said = "".join(parsed(page).text)
    ElementTree.fromstring(junit)
    for symptom in words.seen(report):
        assert symptom.slug in said and symptom.slug in markdown and symptom.slug in junit
    for diagnosis in report.diagnoses:
        assert words.title(diagnosis) in said


@given(ROWS)
@settings(max_examples=120, deadline=None)
def test_no_log_can_break_a_format(rows: list[dict[str, Any]]) -> None:
    """Numbers at the ends of what numbers can be, NaN, and columns that come and go."""
    report = diagnose(rows)
    for name, render in FORMATS.items():
        content = render([report, report], Look(width=80, color=False))
        if name == "html":
            parsed(content)
        if name == "junit":
            ElementTree.fromstring(content)
    picture = chart.render(report)
    if picture:
        ElementTree.fromstring(picture)
        drawn = [value for node in ElementTree.fromstring(picture).iter() for name, value in node.items() if name != "aria-label"]
        assert not [value for value in drawn if "nan" in value or "inf" in value]


def test_whatever_a_run_is_called_nothing_runs_and_no_markup_comes_of_it() -> None:
    """The name stands on the page as it is, and opens no element, attribute, link, column or workflow command."""
    report = broken(name=HOSTILE)
    page = parsed(html.render([report, report]))
    assert all(tag != "script" or not name for tag, name, _ in page.attributes)
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert "<script>alert(1)</script>" in "".join(page.text)
    markdown = FORMATS["markdown"]([report, report], Look())
    assert not [line for line in markdown.splitlines() if line.startswith(("::", "<"))]
    github = FORMATS["github"]([report], Look())
    assert github.count("\n") == 1 and github.startswith("::error file=<script>") and "\x1b" not in github.replace("\x1b[31m", "")
    (suite, *_) = ElementTree.fromstring(FORMATS["junit"]([report], Look()))
    assert "<script>alert(1)</script>" in suite.attrib["name"]


def test_the_page_loads_nothing_and_its_policy_knows_its_script() -> None:
    """Every address on it is a source to click on; the hashes of the policy are those of its style and script."""
    text = html.render([broken()])
    page = parsed(text)
    assert {(tag, name) for tag, name, value in page.attributes if "//" in value} <= {("a", "href"), ("svg", "xmlns")}
    assert not {name for _, name, _ in page.attributes} & {"src", "style", "action", "srcset", "background"}
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    for element in ("style", "script"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        assert f"{element}-src 'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'" in policy


def test_ten_thousand_rows_fit_into_150_kilobytes_with_every_anomaly() -> None:
    """Of 10,000 rows with noise in every column, spikes and a NaN, the page has all of these and stays small."""
    draw = random.Random(1)
    rows = []
    for step in range(1, 10_001):
        loss = 60.0 if step in (3000, 7001) else math.nan if step == 5000 else 2 + draw.gauss(0, 0.2) + 3 / step**0.3
        norm = 50.0 if step in (3000, 7001) else math.nan if step == 5000 else 1 + draw.random()
        rows.append({"step": step, "loss": loss, "grad_norm": norm, "learning_rate": 1e-4 * (1 - step / 10_001)})
        if step % 20 == 0:
            rows.append({"step": step, "eval_loss": 2.2 + draw.gauss(0, 0.1)})
    report = diagnose(rows, fp16=False)
    page = html.render([report])
    assert len(page.encode()) <= 150_000
    kept = {r.step: r.values.get("loss") for r in report.records if r.kind == "train"}
    assert kept[3000] == kept[7001] == 60.0 and math.isnan(kept[5000])
    marks = re.findall(r'data-mark="(\d+)"', page)
    assert len(marks) == len(words.alarming(report)) >= 2
    assert re.search(r"train is nan in 1 row, step 5,000", page)


def test_a_log_full_of_faults_is_small_too_and_shows_the_worst() -> None:
    """Every seventh gradient norm is NaN, the loss scale jumps about, three evaluation sets; in the end the loss breaks."""
    draw = random.Random(1)
    rows = []
    for step in range(1, 10_001):
        norm = math.nan if step % 7 == 0 or step > 9990 else 1 + draw.random()
        row = {"loss": 0.0 if step > 9990 else 2 + draw.gauss(0, 0.2), "grad_norm": norm, "reward": draw.random()}
        rows.append({"step": step, **row, "learning_rate": 1e-4 * draw.random(), "loss_scale": 2.0 ** draw.randint(1, 30)})
        if step % 20 == 0:
            rows.append({"step": step, **{f"eval_{name}loss": 2.2 + draw.gauss(0, 0.1) for name in ("", "a_", "b_")}})
    report = diagnose(rows, fp16=True)
    page = html.render([report])
    assert len(words.alarming(report)) > 100 and len(page.encode()) <= 150_000
    (collapse,) = (n for n, s in enumerate(words.alarming(report), 1) if s.slug == "loss-collapse-to-zero")
    assert f'data-mark="{collapse}"' in page
    told = re.findall(r"gradient norm is nan in ([\d,]+) row", page)
    kept = [r.values["grad_norm"] for r in report.records if "grad_norm" in r.values]
    assert sum(int(count.replace(",", "")) for count in told) == sum(map(math.isnan, kept)) > 100


def test_each_time_that_a_fault_came_is_marked_on_its_curve() -> None:
    """Five spikes are one finding with one number; a spot stands at the top of each."""
    at, draw = (120, 200, 290, 400, 510), random.Random(3)
    rows = []
    for step in range(1, 601):
        level = 1.5 + 2 / (1 + step / 20) + draw.gauss(0, 0.05)
        row = {"loss": 60.0, "grad_norm": 30.0} if step in at else {"loss": level, "grad_norm": 1 + draw.random() / 5}
        rows.append({"step": step, **row})
    picture = ElementTree.fromstring(chart.render(diagnose(rows)))
    (again,) = [
        g
        for g in picture.iter(f"{SVG}g")
        if "jumped up 5 times" in (g.findtext(f"{SVG}title") or "") and g.get("class") != "mark"
    ]
    assert len(again.findall(f"{SVG}circle")) == 4 and len(picture.findall(f"{SVG}g[@class='mark']")) == 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3000), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_thinning_keeps_ends_and_extremes(values: list[float], columns: int) -> None:
    """At most four points a column, in order; the first, the last, the lowest and the highest value are among them."""
    points = list(enumerate(values))
    kept = thinned(points, columns)
    assert len(kept) <= max(4, 2) * columns and kept == sorted(kept) and {points[0], points[-1]} <= set(kept)
    assert (min(values), max(values)) == (min(v for _, v in kept), max(v for _, v in kept))


def test_a_chart_has_a_panel_for_what_was_logged_and_a_mark_for_each_alarm() -> None:
    """Panels by their titles, curves by their names; the mark's words are its tooltip; NaN is a bar at the top."""
    report = broken()
    picture = ElementTree.fromstring(chart.render(report))
    assert len(picture.findall(f"{SVG}g[@data-panel]")) == 3
    assert [g.get("data-line") for g in picture.iter(f"{SVG}g") if g.get("data-line")] == [
        "train",
        "evaluation",
        "gradient norm",
        "learning rate",
    ]
    titles = [mark.findtext(f"{SVG}title") or "" for mark in picture.findall(f"{SVG}g[@class='mark']")]
    assert len(titles) == len(words.alarming(report)) and any("loss-collapse-to-zero, step 81: " in title for title in titles)
    assert any("gradient norm is nan in 40 rows, steps 81 to 120" in (title.text or "") for title in picture.iter(f"{SVG}title"))


def test_a_chart_without_styles_still_has_its_colours() -> None:
    """Where a page takes styles away, attributes say them; nothing refers to an identifier on the page."""
    bare = chart.render(broken(), style=False)
    assert "<style" not in bare and 'stroke="#0072b2"' in bare and ' id="' not in bare and "url(" not in bare


def test_fewer_than_two_points_are_no_chart() -> None:
    """And a page without one is a page."""
    report = diagnose([{"step": 1, "loss": 2.0}])
    assert chart.render(report) == "" and "<svg" not in html.render([report])


def test_github_annotates_what_is_wrong_and_only_that() -> None:
    """One command a sick run with what to change in it, a plain line for a healthy one."""
    healthy = diagnose(rows_of(CASES / "loss-spike" / "healthy.jsonl"))
    lines = FORMATS["github"]([broken(), healthy], Look()).splitlines()
    assert lines[0].startswith("::error file=runs/broken,title=lossdoctor%3A ") and "bf16: false → true" not in lines[0]
    assert "%0A→ " in lines[0] and not lines[1].startswith("::") and "healthy" in lines[1]


@pytest.mark.parametrize(("fail_on", "failures"), [("critical", True), ("warning", True), ("never", False)])
def test_junit_fails_where_the_command_does(fail_on: str, failures: bool) -> None:
    """A case for the verdict and one for each detector; blind ones are skipped with their reason, unreadable inputs errors."""
    root = ElementTree.fromstring(FORMATS["junit"]([broken()], Look(fail_on=fail_on, unreadable=("x.json: no such file",))))
    suite, unreadable = root
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert (cases["verdict"].find("failure") is not None) is failures
    assert (cases["loss-collapse-to-zero"].find("failure") is not None) is failures
    assert int(suite.get("failures") or 0) == len(suite.findall("testcase/failure")) and int(suite.get("tests") or 0) == len(
        cases
    )
    assert any(case.find("skipped") is not None for case in cases.values())
    assert unreadable.find("testcase/error").get("message") == "x.json: no such file"  # type: ignore[union-attr]


def test_a_warning_fails_junit_only_where_it_fails_the_command() -> None:
    """With --fail-on critical, as by default, a warning is a line of output."""
    report = diagnose(rows_of(CASES / "eval-loss-rising" / "sick.jsonl"))
    assert report.verdict == "warning"
    for fail_on, failing in (("critical", False), ("warning", True)):
        assert ("<failure" in FORMATS["junit"]([report], Look(fail_on=fail_on))) is failing


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("r.html", "<!doctype html>"),
        ("r.md", "## ✖ Critical"),
        ("r.json", "{"),
        ("r.xml", "<?xml"),
        ("r.svg", "<svg"),
        ("r", "runs/broken"),
    ],
)
def test_the_ending_of_a_name_says_the_format(tmp_path: Path, name: str, begins: str) -> None:
    """`report.save` and `-o` agree; Markdown gets its chart beside it."""
    broken().save(tmp_path / name)
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)
    if name == "r.md":
        assert "![Curves of the run](r.svg)" in (tmp_path / name).read_text(encoding="utf-8")
        ElementTree.parse(tmp_path / "r.svg")


def test_what_cannot_be_saved_is_said(tmp_path: Path) -> None:
    """One line each."""
    with pytest.raises(LossDoctorError, match="cannot write"):
        broken().save(tmp_path / "absent" / "r.html")
    with pytest.raises(LossDoctorError, match="takes the chart of one run, found 2"):
        save([broken(), broken()], tmp_path / "r.svg")
    with pytest.raises(LossDoctorError, match="fewer than two points"):
        diagnose([]).save(tmp_path / "r.svg")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_format_of_the_ending_or_the_one_that_is_asked_for(tmp_path: Path) -> None:
    """`-o r.html` is a page; an explicit format wins; a chart on standard output is not offered."""
    write_state(tmp_path, [{"step": s, "loss": 2.0 - s / 100} for s in range(1, 20)])
    for arguments, begins in (
        (["-o", "r.html"], "<!doctype"),
        (["-o", "x.html", "--output-format", "json"], "{"),
        (["-o", "y.md"], "## "),
    ):
        command = [sys.executable, "-m", "lossdoctor", "analyze", "trainer_state.json", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (tmp_path / arguments[1]).read_text(encoding="utf-8").startswith(begins)


def test_a_data_frame_has_a_row_for_each_record() -> None:
    """Steps, kinds, columns and what was going on."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    report = broken()
    frame = report.to_dataframe()
    assert (
        list(frame.columns[:3]) == ["step", "epoch", "kind"]
        and frame.columns[-1] == "symptoms"
        and len(frame) == len(report.records)
    )
    assert frame[frame.step == 10].symptoms.iloc[0] == "" and "loss-collapse-to-zero" in frame[frame.step == 100].symptoms.iloc[0]
    assert list(diagnose([]).to_dataframe().columns) == ["step", "epoch", "kind", "symptoms"]


def test_without_pandas_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not needed for anything else."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(LossDoctorError, match="pip install pandas"):
        broken().to_dataframe()


def test_a_notebook_is_given_html_without_script_and_text() -> None:
    """Curves and what to change at once, the whole report to fold out; the same as plain text where there is no HTML."""
    bundle = broken(name=HOSTILE)._repr_mimebundle_()
    page = parsed(bundle["text/html"])
    assert {"svg", "details"} <= {tag for tag, _, _ in page.attributes} | {"details"} and "<script" not in bundle["text/html"]
    assert "CRITICAL" in bundle["text/plain"] and "<" not in bundle["text/plain"].replace("<script>alert(1)</script>", "")


def test_a_report_prints_as_text_and_is_short_in_a_shell() -> None:
    """`print(report)` is what the command line says; its representation fits into a line or two."""
    report = broken()
    assert str(report) == FORMATS["text"]([report], Look(color=False)) and "Not judged" in str(report)
    assert repr(report).startswith("<Report on runs/broken: critical, 130 rows; ") and len(repr(report)) < 300
    assert repr(diagnose([])) == "<Report on a run: insufficient, 0 rows; nothing seen>"


def test_formats_are_loaded_when_they_are_used() -> None:
    """Whoever wants text pays for text."""
    loaded = "import sys, lossdoctor.cli; print([m for m in sys.modules if m.startswith('lossdoctor.reports.')])"
    assert json.loads(subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, timeout=60).stdout) == []
