"""Two hundred configurations as people publish them draw next to no warning: silence is a feature."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from healthy_configurations import Configuration, configurations

from lossdoctor import checkup
from lossdoctor.model import Finding

ALL = list(configurations())
#: Findings of warning or more that a healthy configuration may draw on average.
BAR = 0.2
#: Those that do draw one, by the model: what they state is against the evidence, or has failed for others.
DRAWN = {
    ("google-t5/t5-small", "fp16-for-bf16-model"),  # overflows of T5 in fp16 are known; the guide may well have been lucky
    ("google/gemma-2b", "fp16-for-bf16-model"),  # the same of Gemma
    ("NousResearch/Llama-2-7b-hf", "learning-rate-unusual"),  # all weights at 2e-4, the rate of LoRA
    ("EleutherAI/pythia-1.4b-deduped", "learning-rate-unusual"),  # LoRA at 1e-5, the rate of all weights
    ("microsoft/Phi-3-mini-4k-instruct", "learning-rate-unusual"),  # LoRA at 5e-6
    ("openlm-research/open_llama_3b_v2", "sixteen-bit-weights"),  # all weights in fp16, without a loss scale
    ("facebook/bart-large", "overlapping-communication"),  # ZeRO-2 with the settings of all confirmed races
}


def checked(one: Configuration, folder: Path) -> checkup.CheckReport:
    """What `lossdoctor check FILE --gpu … --dataset-rows …` says."""
    source: object = one.content
    if isinstance(one.content, str):
        script = source = folder / "train.sh"
        script.write_text(one.content, encoding="utf-8")
    return checkup.examine(checkup.check(source, gpu=one.gpu, rows=one.rows).run, strict=True)


def alarming(one: Configuration, folder: Path) -> list[Finding]:
    """The findings of warning or more."""
    return [finding for finding in checked(one, folder).findings if finding.severity != "info"]


def test_there_are_two_hundred_of_them_and_no_two_are_alike() -> None:
    """Many tools, models, GPUs and sizes of data."""
    assert len(ALL) == 200 == len({str(one) for one in ALL})
    assert (
        len({one.source for one in ALL}) >= 40 and len({one.model for one in ALL}) >= 80 and len({one.gpu for one in ALL}) >= 20
    )


def test_healthy_configurations_draw_next_to_no_warning(tmp_path: Path) -> None:
    """On average at most 0.2 findings of warning or more; each one that there is has been looked at, and is in the list above."""
    drawn = [(one.model, finding.slug) for one in ALL for finding in alarming(one, tmp_path)]
    assert len(drawn) / len(ALL) <= BAR, Counter(drawn)
    assert set(drawn) == DRAWN


@pytest.mark.parametrize("one", ALL[::9], ids=lambda one: f"{one.model}-{one.gpu}")
def test_what_a_recipe_states_is_understood(one: Configuration, tmp_path: Path) -> None:
    """The silence is not that of somebody who does not listen: model, batch and steps are known of every one."""
    report = checked(one, tmp_path)
    plan, facts = report.plan, report.run.facts
    assert plan.get("model_name_or_path") == one.model and report.verdict != "insufficient"
    counted = "per_device_train_batch_size" in facts and not plan.get("packing")  # nobody knows what packed examples come to
    assert plan.total_steps is not None or not counted
    assert plan.rates is not None or plan.total_steps is None or "lr_scheduler_type" not in facts  # axolotl has its own default
