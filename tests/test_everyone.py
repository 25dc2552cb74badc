"""Promises that hold for every detector, cause and check, checked by reflection: a new one is covered as soon as it exists."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import pickle
import re
import sys
from typing import Any

import pytest
from conftest import CASES, rows_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossdoctor.base import Cause, Check, DataCheck, Detector, Page, slug_of
from lossdoctor.checkup import check
from lossdoctor.checkup import examine as examine_configuration
from lossdoctor.engine import Engine, Event, examine
from lossdoctor.explain import CAUSE_HEADINGS, CHECK_HEADINGS, DETECTOR_HEADINGS, pages
from lossdoctor.facts.canonical import ALIASES, NAMES
from lossdoctor.model import RANK, Record, Run
from lossdoctor.parsing.rows import records
from lossdoctor.registry import all_causes, all_checks, all_data_checks, all_detectors, thresholds
from lossdoctor.reports.json import render as as_json
from lossdoctor.reports.text import render as as_text
from lossdoctor.vitals import Vitals

NUMBERS = st.sampled_from(
    [0.0, -0.0, 1.0, 2.5, 2.5001, 0.0312, 1e-9, 63.4, 1e308, -3.0, 65536.0, 2e-5, math.nan, math.inf, -math.inf]
)
COLUMNS = st.sampled_from(
    [
        "loss",
        "grad_norm",
        "learning_rate",
        "eval_loss",
        "eval_a_loss",
        "loss_scale",
        "train_loss",
        "train_runtime",
        "reward",
        "kl",
        "logps/chosen",
        "logps/rejected",
        "rewards/margins",
        "predict_loss",
        "mean_token_accuracy",
    ]
)
ROWS = st.lists(st.dictionaries(COLUMNS, NUMBERS, max_size=6), max_size=40)
STEPS = st.sampled_from([0, 1, 1, 1, 5, 10, 500, -3])
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

every_page = pytest.mark.parametrize("page", pages().values(), ids=lambda p: p.slug)
every_detector = pytest.mark.parametrize("detector", all_detectors().values(), ids=lambda p: p.slug)


def stepped(rows: list[dict[str, float]], step: int) -> list[dict[str, Any]]:
    return [{**row, "step": max(0, 1 + place * step)} for place, row in enumerate(rows)]


@QUIET
@given(
    rows=ROWS, step=STEPS, facts=st.sampled_from([{}, {"fp16": True, "max_steps": 50, "learning_rate": 1e-3}, {"max_steps": -1}])
)
def test_no_log_can_crash_anything(rows: list[dict[str, float]], step: int, facts: dict[str, Any]) -> None:
    """Whatever a log holds, every detector, cause and report survives it."""
    from lossdoctor.model import Fact

    known = {name: Fact(value, "test") for name, value in {"lr_scheduler_type": "linear", **facts}.items()}
    engine = Engine(Run(facts=known), strict=True)
    for record in records(stepped(rows, step))[0]:
        engine.observe(record)
        engine.report()
    report = engine.report()
    as_text([report], color=False, width=80)
    as_json([report])


@QUIET
@given(rows=ROWS, step=STEPS, cut=st.integers(0, 40))
def test_asking_for_a_report_changes_nothing(rows: list[dict[str, float]], step: int, cut: int) -> None:
    """A report in the middle of a run, as the callback makes it, leaves the rest of the run as it would have been."""
    log = records(stepped(rows, step))[0]
    engine = Engine(strict=True)
    for place, record in enumerate(log):
        engine.observe(record)
        if place == cut:
            engine.report()
            engine.finish()
    assert as_json([engine.report()]) == as_json([examine(log)])


@QUIET
@given(rows=ROWS, step=STEPS)
def test_every_symptom_is_well_formed(rows: list[dict[str, float]], step: int) -> None:
    """A symptom never ends before it begins, has a finished sentence, and counts are not negative."""
    for symptom in examine(records(stepped(rows, step))[0]).symptoms:
        assert symptom.slug in all_detectors()
        assert symptom.message and "{" not in symptom.message
        assert all(isinstance(value, float) for value in symptom.evidence.values())


@every_detector
def test_memory_does_not_grow_with_the_run(detector: type[Detector]) -> None:
    """A detector that has seen 20,000 rows is no larger than one that has seen 2,000."""
    sizes = []
    for count in (2_000, 20_000):
        one, vitals = detector(), Vitals(Run())
        for step in range(1, count + 1):
            loss = 0.0 if step % 7 == 0 else 2.0 + step % 5 / 10
            norm = math.nan if step % 7 == 0 else 0.0 if step % 11 == 0 else 1.0
            values = {"loss": loss, "grad_norm": norm, "learning_rate": 1e-4 / (1 + step // 3), "loss_scale": 2.0 ** (step % 16)}
            record = Record(step, None, "eval" if step % 13 == 0 else "train", values | {"eval_loss": loss})
            vitals.observe(record)
            if record.kind in one.kinds:
                one.update(record, vitals)
        sizes.append(len(pickle.dumps(one)) + len(pickle.dumps(list(one.finish(vitals)))))
    assert sizes[1] < sizes[0] + 2_000


def test_the_engine_keeps_a_bounded_number_of_records_and_symptoms() -> None:
    """A run of 60,000 rows leaves as much in memory as one of 6,000, and its curve is still whole."""
    engine = Engine()
    for step in range(1, 60_001):
        engine.observe(Record(step, None, "train", {"loss": 0.0 if step % 40 < 4 else 2.0}))
    report = engine.report()
    assert report.rows == 60_000
    assert len(report.records) <= 4096 and len(report.symptoms) <= 400
    assert report.records[0].step < 100 and report.records[-1].step > 59_900


@pytest.mark.parametrize("log", sorted(CASES.glob("*/*.jsonl")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_resumed_run_sees_what_an_unbroken_run_sees(log: Any) -> None:
    """Replaying the first half into a new engine and going on, as a resume does, gives the same report."""
    rows = records(rows_of(log))[0]
    half = len(rows) // 2
    first = Engine(strict=True)
    for record in rows[:half]:
        first.observe(record)
    resumed = Engine(strict=True)
    for record in [*rows[:half], *rows[half:]]:
        resumed.observe(record)
    for record in rows[half:]:
        first.observe(record)
    assert as_json([first.report()]) == as_json([resumed.report()])


@pytest.mark.parametrize("log", sorted(CASES.glob("*/*.jsonl")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_nothing_is_told_twice(log: Any) -> None:
    """A symptom opens once, gets worse a step at a time, and closes once; only one that has closed may come back."""
    standing: dict[Any, str] = {}

    def sink(event: Event) -> None:
        symptom = event.symptom
        assert symptom is not None
        before = standing.pop(symptom.identity, None)
        if event.transition == "opened":
            assert before is None and symptom.open
        elif event.transition == "worsened":
            assert before is not None and RANK[symptom.severity] > RANK[before]
        else:
            assert before is not None and not symptom.open
        if symptom.open:
            standing[symptom.identity] = symptom.severity

    engine = Engine(sinks=[sink], strict=True)
    for record in records(rows_of(log))[0]:
        engine.observe(record)


@every_page
def test_a_page_is_named_for_its_file(page: type[Page]) -> None:
    """File, class and slug share one name, without abbreviations, and it names the sickness rather than the cure."""
    assert page.slug == slug_of(page.__name__) == page.__module__.rpartition(".")[2].replace("_", "-")
    assert not re.match(r"(use|check|set|fix|avoid|lower|raise|disable|enable|bad-lr)-", page.slug)
    assert not set(page.slug.split("-")) & {"lr", "grad", "ga", "bs", "init", "eval-nan", "dtype-err"}


@every_page
def test_a_page_has_its_headings_in_order(page: type[Page]) -> None:
    """The docstring is the page: a first sentence, then the fixed headings, each with text under it."""
    text = inspect.getdoc(page) or ""
    kinds = {Detector: DETECTOR_HEADINGS, Cause: CAUSE_HEADINGS, Check: CHECK_HEADINGS, DataCheck: CHECK_HEADINGS}
    headings = next(headings for kind, headings in kinds.items() if issubclass(page, kind))
    assert text.partition("\n")[0].endswith(".")
    assert tuple(re.findall(r"^## (.+)$", text, re.M)) == headings
    assert all(part.strip() for part in re.split(r"^## .+$", text, flags=re.M)[1:])


@every_page
def test_thresholds_are_all_that_a_page_can_be_given(page: type[Page]) -> None:
    """Every field is a number with a default; state is not a field, so it cannot leak into the settings."""
    page()
    for field in dataclasses.fields(page):  # type: ignore[arg-type]
        assert not field.name.startswith("_")
        assert isinstance(field.default, (int, float)), f"{page.slug}.{field.name} needs a number as default"
    assert set(thresholds(page)) == {f.name for f in dataclasses.fields(page)}  # type: ignore[arg-type]


@every_page
def test_a_file_stays_small(page: type[Page]) -> None:
    """A detector or cause that outgrows 220 lines does more than one thing; a statement is one, however it is laid out."""
    code = ast.unparse(ast.parse(inspect.getsource(sys.modules[page.__module__])))
    assert len(code.splitlines()) <= 220


@pytest.mark.parametrize("cause", all_causes().values(), ids=lambda p: p.slug)
def test_a_cause_says_how_to_decide(cause: type[Cause]) -> None:
    """Every cause has a title and the cheapest check that decides for or against it."""
    assert cause.title and not cause.title.endswith(".")
    assert cause.decide_by and not cause.decide_by.endswith(".")


#: What somebody may write behind a name, right or wrong.
VALUES = st.sampled_from(
    [0, 1, -1, 2, 8, 500, 10**12, 2**62, 0.0, 0.03, 0.5, 2e-4, 5.0, 1e300, True, False, "no", "steps", "epoch", "constant",
     "linear", "cosine", "warmup_stable_decay", "auto", "", "T4", "4x A100", "fp16", "float16", "bfloat16", "full", "sdpa",
     "flash_attention_2", "Qwen/Qwen2-7B",
     "t5-small", "lion_8bit", "4bit", "8bit", [], ["q_proj"], ["all", 3], {}, {"use_reentrant": True},
     {"num_stable_steps": 5, "num_decay_steps": 0}, {"zero_optimization": {"stage": 2, "overlap_comm": True}}, None]
)  # fmt: skip


@QUIET
@given(values=st.dictionaries(st.sampled_from(sorted({*NAMES, *ALIASES})), VALUES, max_size=14))
def test_no_configuration_can_crash_anything(values: dict[str, Any]) -> None:
    """Whatever a configuration holds, every check and report survives it, and every finding is a finished sentence."""
    from lossdoctor.reports import Look
    from lossdoctor.reports.checkup import FORMATS

    report = examine_configuration(check(values).run, strict=True)
    for finding in report.findings:
        assert finding.slug in all_checks() and finding.message and "{" not in finding.message and "None" not in finding.message
        assert "nan" not in finding.message.lower().split() or "NaN" in finding.message
    for render in FORMATS.values():
        assert render(report, Look(color=False, width=80))


@pytest.mark.parametrize("one", all_checks().values(), ids=lambda p: p.slug)
def test_a_check_has_a_title_and_knows_those_that_it_includes(one: type[Check]) -> None:
    """The title is no sentence, and what a check includes is there."""
    assert one.title and not one.title.endswith(".")
    assert set(one.includes) <= set(all_checks()) - {one.slug}


def test_no_two_pages_share_a_slug() -> None:
    """A symptom, a cause and a check of one name would share one table of thresholds."""
    assert len(pages()) == len(all_detectors()) + len(all_causes()) + len(all_checks()) + len(all_data_checks())


@QUIET
@given(factor=st.sampled_from([0.25, 0.5, 2.0, 4.0]), log=st.sampled_from(["nan_once", "healthy"]))
def test_scaling_the_loss_changes_no_symptom(factor: float, log: str) -> None:
    """A loss in other units (bits, summed) shows the same symptoms at the same steps, save what is held against chance."""
    slug = "loss-collapse-to-zero" if log == "nan_once" else "loss-not-finite"
    rows = rows_of(CASES / slug / ("sick.jsonl" if log == "nan_once" else "healthy.jsonl"))
    scaled = [{k: v * factor if k.endswith("loss") else v for k, v in row.items()} for row in rows]
    seen = [[s.identity for s in examine(records(r)[0]).symptoms if "chance" not in s.slug] for r in (rows, scaled)]
    assert seen[0] == seen[1]
