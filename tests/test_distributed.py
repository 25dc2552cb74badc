"""Two processes that train together: what one of them saw is told by the other, they stop together, and nobody hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent / "two_ranks.py"
#: torchrun meets at a TCP store; accelerate's launcher for tests at a file.
LAUNCHERS = {
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(SCRIPT)],
    "accelerate": [str(SCRIPT), "--launch"],
}


@pytest.fixture(scope="module", params=list(LAUNCHERS))
def outcomes(request: Any, tmp_path_factory: Any) -> Any:
    """What both ranks know after all trainings of the script, and what was printed."""
    folder = tmp_path_factory.mktemp(request.param)
    launch = [sys.executable, *LAUNCHERS[request.param], str(folder)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, capture_output=True, text=True, timeout=280, check=False, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)], done.stderr, folder


def test_a_nan_on_one_rank_is_attributed_to_it(outcomes: Any) -> None:
    """The main process, whose own losses are sound, names rank 1 and its steps; training is that without a doctor."""
    ranks = outcomes[0]
    expected = "the loss of 2 micro-batches was NaN in steps 5 and 9, on rank 1"
    assert [rank["watched"]["symptoms"]["hidden-nan-steps"] for rank in ranks] == [expected] * 2
    assert [rank["watched"]["failure"] for rank in ranks] == [None, None]
    assert [rank["watched"]["weights"] for rank in ranks] == [rank["alone"]["weights"] for rank in ranks]


def test_the_batch_of_that_rank_is_looked_into_by_it(outcomes: Any) -> None:
    """The file is written by the process that has the batch, and names it; the main process tells of the file."""
    scene = json.loads((outcomes[2] / "watched" / "lossdoctor" / "forensics-5-rank1.json").read_text())
    assert (scene["rank"], scene["step"]) == (1, 5) and len(scene["samples"]) == 4
    assert "forensics-5-rank1.json" in outcomes[0][0]["watched"]["symptoms"]["tensor-not-finite"]


def test_both_ranks_stop_in_the_same_step(outcomes: Any) -> None:
    """NaN on one rank only: both decide alike without waiting for each other; a failing sink changes nothing."""
    both = [rank["both stop"] for rank in outcomes[0]]
    assert both[0]["step"] == both[1]["step"] <= 12
    assert all(rank["verdict"] == "critical" and rank["failure"] is None for rank in both)


def test_a_doctor_on_one_rank_alone_neither_stops_nor_hangs(outcomes: Any) -> None:
    """A stop that only one process makes would hang the others, so it is not made; the checkpoints are saved as ever."""
    assert [rank["doctor on one"]["step"] for rank in outcomes[0]] == [30, 30]


def test_a_doctor_that_fails_on_one_rank_neither_stops_nor_hangs(outcomes: Any) -> None:
    """Its vote is missing, so the others go on as well."""
    ranks = [rank["one fails"] for rank in outcomes[0]]
    assert [rank["step"] for rank in ranks] == [30, 30]
    assert [rank["failure"] for rank in ranks] == [None, "RuntimeError: planted"]


def test_no_rank_saves_weights_that_are_nan(outcomes: Any) -> None:
    """With room for one checkpoint, the one from before the NaN is there at the end."""
    folder = outcomes[2] / "protected"
    kept = sorted(path.name for path in folder.glob("*checkpoint*"))
    assert "last-good-checkpoint-5" in kept or "checkpoint-5" in kept
    assert outcomes[0][0]["protected"]["last_good"].endswith("checkpoint-5")
    assert not any(name.endswith(("-20", "-25", "-30")) for name in kept)


def test_only_the_main_process_prints(outcomes: Any) -> None:
    """One message when the run breaks and one line at its end."""
    assert outcomes[1].count("lossdoctor ✖ CRITICAL") == 2
