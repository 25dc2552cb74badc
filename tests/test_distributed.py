"""Two processes that train together: they stop together, and nobody hangs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.mark.slow
def test_both_ranks_stop_in_the_same_step(tmp_path: Path) -> None:
    """NaN on one rank only: both see the same rows, decide alike without talking, and end; a failing sink changes nothing."""
    script = Path(__file__).parent / "two_ranks.py"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script), str(tmp_path)]
    done = subprocess.run(launch, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0]["step"] == ranks[1]["step"] < 12
    assert all(rank["verdict"] == "critical" and rank["failure"] is None for rank in ranks)
