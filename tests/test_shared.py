"""The bars that hold for ever, on labelled real runs and reported cases (where they are at hand)."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from conftest import SHARED, needs_shared

from lossdoctor.analysis import analyze
from lossdoctor.engine import examine
from lossdoctor.facts.canonical import translate
from lossdoctor.model import LossDoctorError, Report, Run
from lossdoctor.parsing.rows import records

pytestmark = needs_shared
NUMERICAL = {"loss-collapse-to-zero", "eval-loss-not-finite", "gradient-zero"}


def lines(path: str) -> list[dict[str, Any]]:
    file = SHARED / path
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


@cache
def corpus_report(name: str) -> Report:
    return analyze(SHARED / "corpus" / "runs" / f"{name}.json")[0]


def case_report(case: dict[str, Any]) -> Report:
    return examine(records(case["log"])[0], Run(facts=translate(case["facts"], "case")))


CORPUS = lines("corpus/truth.jsonl")
MADE = lines("runs/truth.jsonl")
CASES = lines("cases/cases.jsonl")


@pytest.mark.parametrize("truth", [t for t in CORPUS if t["class"] in ("healthy", "trap")], ids=lambda t: t["id"])
def test_a_healthy_real_run_is_left_alone(truth: dict[str, Any]) -> None:
    """Neither critical nor warning, on runs that are healthy or only strange to look at."""
    assert corpus_report(truth["id"]).verdict in ("healthy", "insufficient")


@pytest.mark.parametrize(
    "truth", [t for t in CORPUS if t["class"] == "broken" and set(t["any_of"]) & NUMERICAL], ids=lambda t: t["id"]
)
def test_a_numerically_broken_real_run_is_critical(truth: dict[str, Any]) -> None:
    """Every run whose loss is zero or NaN is critical, by a symptom that says so."""
    report = corpus_report(truth["id"])
    assert report.verdict == "critical"
    assert {s.slug for s in report.symptoms if s.severity == "critical"} & {*truth["any_of"], "loss-not-finite"}


@pytest.mark.parametrize("truth", [t for t in CORPUS if t["class"] in ("memorised", "eval_side")], ids=lambda t: t["id"])
def test_memorised_runs_and_broken_evaluations_are_not_critical(truth: dict[str, Any]) -> None:
    """A loss that faded to 0.0000 and a NaN that only the evaluation has do not destroy a run."""
    assert corpus_report(truth["id"]).verdict != "critical"


@pytest.mark.parametrize("truth", MADE, ids=lambda t: t["name"])
def test_a_fault_made_on_purpose_is_told_right(truth: dict[str, Any]) -> None:
    """The verdict, a symptom that says so and the true cause first; where the numbers are lost, the onset within three steps."""
    report = analyze(SHARED / "runs" / f"{truth['name']}.json")[0]
    seen = {s.slug: s for s in report.symptoms}
    assert report.verdict in truth["verdict"]
    assert not truth["any_of"] or set(seen) & set(truth["any_of"])
    if truth["cause"]:
        assert next(d.slug for d in report.diagnoses if not d.normal) in truth["cause"]
    if truth["onset"] and set(truth["any_of"]) & NUMERICAL:
        onset = min(seen[slug].onset for slug in truth["any_of"] if slug in seen)
        assert abs(onset - truth["onset"]) <= 3
        assert report.last_good_step is not None and report.last_good_step <= truth["onset"]


@pytest.mark.parametrize("case", [c for c in CASES if c["is_normal"]], ids=lambda c: c["id"])
def test_a_normal_case_is_not_critical(case: dict[str, Any]) -> None:
    """What maintainers called expected is never called critical."""
    assert case_report(case).verdict != "critical"


@pytest.mark.parametrize("case", [c for c in CASES if c["cause"] is None], ids=lambda c: c["id"])
def test_an_unexplained_case_is_not_explained_with_confidence(case: dict[str, Any]) -> None:
    """Where nobody found the cause we claim none with high confidence."""
    assert not any(d.confidence == "high" for d in case_report(case).diagnoses)


def test_confirmed_causes_are_among_the_first_three() -> None:
    """The bars: the true cause first in 60 %, among the first three in 85 %."""
    confirmed = [c for c in CASES if c["confirmed"] and not c["is_normal"] and c["cause"]]
    ranked = [[d.slug for d in case_report(c).diagnoses if not d.normal] for c in confirmed]
    first = sum(slugs[:1] == [c["cause"]] for slugs, c in zip(ranked, confirmed, strict=True))
    three = sum(c["cause"] in slugs[:3] for slugs, c in zip(ranked, confirmed, strict=True))
    assert first >= 0.6 * len(confirmed) and three >= 0.85 * len(confirmed)


def test_what_is_expected_is_explained() -> None:
    """The bar: four of five cases that alarmed somebody without need are explained by what they were."""
    normal = [c for c in CASES if c["is_normal"]]
    explained = sum(c["cause"] in {d.slug for d in case_report(c).diagnoses} for c in normal)
    assert explained >= 0.8 * len(normal)


@pytest.mark.parametrize("truth", [t for t in CORPUS if t["class"] in ("healthy", "trap")], ids=lambda t: t["id"])
def test_a_healthy_real_run_is_not_explained_away(truth: dict[str, Any]) -> None:
    """No cause that asks for a change is named with high confidence on a run that is well."""
    assert not [d.slug for d in corpus_report(truth["id"]).diagnoses if d.confidence == "high" and not d.normal]


@pytest.mark.parametrize(
    "path", sorted((SHARED / "corpus" / "quirks").glob("*")) if SHARED.is_dir() else [], ids=lambda p: p.name
)
def test_what_is_no_log_is_said_in_one_line(path: Any) -> None:
    """Real files of other kinds under the right name give one clear line."""
    with pytest.raises(LossDoctorError) as error:
        analyze(path)
    assert "\n" not in str(error.value) and path.name in str(error.value)
