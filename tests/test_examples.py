"""The situations in `examples/`: six people's logs, and the advice that they read, to the letter.

`UPDATE_CASES=1 pytest tests/test_examples.py` writes the reports anew; the difference is for a reviewer to read.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from lossdoctor import analysis
from lossdoctor.facts import config_file
from lossdoctor.model import Report
from lossdoctor.reports.text import render

SITUATIONS = sorted(p for p in (ROOT / "examples" / "situations").iterdir() if p.is_dir())
#: What each of the six must be told first, and a setting or a word that the advice must contain.
ADVICE = {
    "dpo-rewards-fall": ("rl-loss-not-meaningful", r"margin"),
    "lora-12.8b-4bit-frozen-at-zero": ("fp16-overflow", r"not overfitting"),
    "lora-7b-oscillates-above-4": ("learning-rate-too-low", r"learning_rate: 5e-5 → 2e-4"),
    "phi-2-zero-at-step-2": ("fp16-overflow", r"bf16: (false → )?true"),
    "plateau-after-21-steps": ("too-few-epochs", r"gradient_accumulation_steps: 16 → 4"),
    "v100-int8": ("unsupported-dtype-on-gpu", r"load_in_8bit: false"),
}


def report_of(folder: Path) -> Report:
    """What `lossdoctor analyze FOLDER/LOG --config FOLDER/config.yaml` finds."""
    log = next(p for p in (folder / "trainer_state.json", folder / "log.jsonl") if p.is_file())
    (report,) = analysis.analyze(log, known=config_file.read(folder / "config.yaml"))
    return replace(report, run=replace(report.run, path=f"{folder.name}/{log.name}"))


@pytest.mark.parametrize("folder", SITUATIONS, ids=lambda p: p.name)
def test_the_person_reads_exactly_this(folder: Path) -> None:
    """The report beside each log is what the command prints at 80 columns."""
    text, expected = render([report_of(folder)], color=False, width=80), folder / "report.txt"
    if os.environ.get("UPDATE_CASES"):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", SITUATIONS, ids=lambda p: p.name)
def test_the_advice_is_what_a_good_engineer_would_say(folder: Path) -> None:
    """The first diagnosis is the right one, and what to change is in the report."""
    report, (slug, words) = report_of(folder), ADVICE[folder.name]
    assert report.diagnoses[0].slug == slug
    assert re.search(words, " ".join(render([report], color=False, width=80).split()))


def test_every_situation_is_in_the_list() -> None:
    """The README of the examples names each folder, and no folder that is not there."""
    named = re.findall(r"^## `(.+)`$", (ROOT / "examples" / "situations" / "README.md").read_text(encoding="utf-8"), re.M)
    assert named == [p.name for p in SITUATIONS] == sorted(ADVICE)
