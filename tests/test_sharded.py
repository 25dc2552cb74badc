"""Two processes that share a model between them, by FSDP or DeepSpeed: the doctor sees what it can, says what not, and waits for
nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent / "sharded_ranks.py"
#: The modes that one launch of two processes goes through, and what it takes.
FAMILIES = {"ddp": ["ddp"], "fsdp": ["fsdp1", "fsdp2"], "zero": ["zero1", "zero2", "zero3"]}
FSDP, ZERO = FAMILIES["fsdp"], FAMILIES["zero"]
#: Those in which each process has but a share of the weights.
SHARED = [*FSDP, "zero3"]
Ranks = tuple[dict[str, Any], dict[str, Any]]
Outcomes = Callable[[str], Ranks]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: Any) -> Outcomes:
    """What both ranks know after all trainings of a mode; each family of modes is launched once, when it is first asked for."""
    folders: dict[str, Path] = {}

    def of(mode: str) -> Ranks:
        family = mode.rstrip("0123456789")
        if family == "zero":
            pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
        if family not in folders:
            folder = folders[family] = tmp_path_factory.mktemp(family)
            launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(SCRIPT)]
            env = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
            command = ["timeout", "-k", "5", "120", sys.executable, *launch, ",".join(FAMILIES[family]), str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=140, check=False, env=env)
            (folder / "stderr").write_text(done.stderr)
        files = [folders[family] / f"{mode}-{rank}.json" for rank in (0, 1)]
        if not all(file.exists() for file in files):
            pytest.fail((folders[family] / "stderr").read_text()[-3000:])
        first, second = (json.loads(file.read_text()) for file in files)
        return first, second

    return of


def scene(outcomes: Outcomes, mode: str, step: int) -> dict[str, Any]:
    """What rank 1 found out about its batch of that step."""
    path = Path(outcomes(mode)[1]["folder"], "watched", "lossdoctor", f"forensics-{step}-rank1.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("mode", [*FSDP, *ZERO])
def test_training_is_that_without_a_doctor(outcomes: Outcomes, mode: str) -> None:
    """Losses and weights are equal to the last bit, in fp32 and, for one of each kind, in bf16; the doctor stays well."""
    for rank in outcomes(mode):
        assert rank["watched"]["losses"] == rank["alone"]["losses"] and len(rank["alone"]["losses"]) == 12
        assert rank["watched"]["weights"] == rank["alone"]["weights"]
        assert rank["watched"]["failure"] is None and rank["watched"]["step"] == 12


@pytest.mark.parametrize("mode", [*FSDP, *ZERO])
def test_a_nan_on_one_rank_is_attributed_to_it(outcomes: Outcomes, mode: str) -> None:
    """The main process, whose own losses are sound, names rank 1 and its steps."""
    expected = "the loss of 2 micro-batches was NaN in steps 5 and 9, on rank 1"
    assert [rank["watched"]["symptoms"]["hidden-nan-steps"][1] for rank in outcomes(mode)] == [expected] * 2


@pytest.mark.parametrize("mode", [*FSDP, *ZERO])
def test_sharded_weights_are_known_as_such_and_read(outcomes: Outcomes, mode: str) -> None:
    """ZeRO 1 and 2 leave each process all weights; otherwise the share of each is looked at. None of them is broken."""
    for rank in outcomes(mode):
        assert rank["watched"]["sharded"] == (mode in SHARED)
        bad, tensors = rank["watched"]["nonfinite"]
        assert bad == 0 and (0 < tensors <= 28 if mode == "fsdp1" else tensors == 28)


@pytest.mark.parametrize("mode", [*FSDP, *ZERO])
def test_a_model_is_run_again_where_it_is_whole(outcomes: Outcomes, mode: str) -> None:
    """Each process can do so under ZeRO 1 and 2; a sharded model is left alone, and the file says why."""
    found = scene(outcomes, mode, 5)
    assert (found["rank"], found["step"], len(found["samples"])) == (1, 5, 4)
    refused = "the model is sharded: running it again would take all processes"
    assert found.get("not_run_again") == (refused if mode in SHARED else None)
    assert found["first_not_finite"]["what"] == ("unknown" if mode in SHARED else "nothing")


@pytest.mark.parametrize("mode", [*FSDP, *ZERO])
def test_both_ranks_stop_in_the_same_step(outcomes: Outcomes, mode: str) -> None:
    """NaN on one rank only; DeepSpeed throws those steps away, so the weights are never lost, and the run is all the same."""
    both = [rank["both stop"] for rank in outcomes(mode)]
    assert both[0]["step"] == both[1]["step"] <= 14
    assert all(rank["verdict"] == "critical" and rank["failure"] is None for rank in both)
    assert all((rank["nonfinite"][0] > 0) == (mode in FSDP) for rank in both)


@pytest.mark.parametrize("mode", [*FSDP, *ZERO])
def test_one_doctor_alone_neither_stops_nor_hangs(outcomes: Outcomes, mode: str) -> None:
    """On one rank only, or failing on one: all checkpoints are written together, and all steps made."""
    ranks = outcomes(mode)
    assert [rank["doctor on one"]["step"] for rank in ranks] == [rank["one fails"]["step"] for rank in ranks] == [12, 12]
    assert [rank["one fails"]["failure"] for rank in ranks] == [None, "RuntimeError: planted"]
    if mode != "fsdp1":
        assert "checkpoint-12" in ranks[0]["doctor on one"]["saved"]


@pytest.mark.parametrize("mode", ["fsdp2", "zero3"])
def test_weights_broken_in_the_share_of_another_rank_are_told_and_not_saved(outcomes: Outcomes, mode: str) -> None:
    """The main process has sound weights itself, and hears of it; from the next checkpoint on none is written."""
    for rank in outcomes(mode):
        assert rank["share"]["symptoms"]["weights-not-finite"][0] == "critical"
        assert rank["share"]["saved"] == ["checkpoint-4"] and rank["share"]["step"] == 12


def test_what_pads_a_share_is_no_weight(outcomes: Outcomes) -> None:
    """Of five numbers the second of two processes has two, and room for three."""
    assert [rank["padding"]["nonfinite"] for rank in outcomes("zero3")] == [[0, 29], [0, 29]]


@pytest.mark.parametrize(("mode", "name"), [("zero1", "fp16 without ZeRO"), *((mode, "fp16") for mode in ZERO)])
def test_steps_that_deepspeed_skips_are_counted_once(outcomes: Outcomes, mode: str, name: str) -> None:
    """However many processes skip them together; both see the loss scale."""
    for rank in outcomes(mode):
        found = rank[name]
        assert found["skipped"] >= 1 and "loss scale" in found["watched"]
        steps = "1 step" if found["skipped"] == 1 else f"{found['skipped']} steps"
        assert found["symptoms"]["skipped-steps"][1].startswith(f"the loss scaler skipped {steps},")


def test_what_cannot_be_seen_is_said(outcomes: Outcomes) -> None:
    """DeepSpeed has the gradients to itself, and FSDP 1 hides how many parameters there are."""
    assert "DeepSpeed" in outcomes("zero2")[0]["both stop"]["unseen"]["gradient by layer"]
    assert [outcomes(mode)[0]["watched"]["trainable"] for mode in ("zero2", "zero3")] == [118528, 118528]


def test_sizes_are_those_of_the_whole_model(outcomes: Outcomes) -> None:
    """FSDP 2 tells them; of FSDP 1 a process sees but its share, which is no fact about the run."""
    assert [outcomes(mode)[0]["watched"]["trainable"] for mode in FSDP] == [None, 118528]


def test_a_model_that_asks_other_processes_is_not_run_again(outcomes: Outcomes) -> None:
    """Its forward pass would wait for those that do not run it."""
    path = Path(outcomes("ddp")[1]["folder"], "talks", "lossdoctor", "forensics-5-rank1.json")
    assert json.loads(path.read_text())["not_run_again"].startswith("the model talks to other processes")
    assert [rank["talks"]["step"] for rank in outcomes("ddp")] == [12, 12]


def test_labels_missing_on_one_rank_are_not_missing_everywhere(outcomes: Outcomes) -> None:
    """Half of the micro-batches of the run have none."""
    message = outcomes("ddp")[0]["masked on one"]["symptoms"]["labels-all-masked"]
    assert message[0] == "warning" and message[1].startswith("no token has a label in 12 of 24 micro-batches")


@pytest.mark.parametrize("name", ["log only", "again"])
def test_nobody_stops_alone(outcomes: Outcomes, name: str) -> None:
    """Not with the log alone to go by, and not by votes from a training before, in which this rank had no doctor."""
    assert [rank[name]["step"] for rank in outcomes("ddp")] == [24, 24]


def test_a_doctor_that_fails_after_voting_keeps_its_word(outcomes: Outcomes) -> None:
    """The others have read its vote and stop: it stops with them."""
    ranks = [rank["fails after voting"] for rank in outcomes("ddp")]
    assert ranks[0]["step"] == ranks[1]["step"] <= 14
    assert [rank["failure"] for rank in ranks] == [None, "RuntimeError: planted"]
