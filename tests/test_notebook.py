"""In a real notebook kernel all messages of a run share one display."""

from __future__ import annotations

from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

CELL = """
import math
from lossdoctor.engine import Engine
from lossdoctor.parsing.rows import records
from lossdoctor.sinks.console import Console

engine = Engine(sinks=[Console()])
rows = [{"loss": 2.0, "grad_norm": 1.0, "step": s} for s in range(1, 9)]
rows += [{"loss": 0.0, "grad_norm": math.nan, "step": s} for s in range(9, 12)]
for record in records(rows)[0]:
    engine.observe(record)
report = engine.finish()
None
"""


def executed(*cells: str) -> list[Any]:
    """The outputs of each cell of a notebook, run in a real kernel."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells]


@pytest.mark.slow
def test_all_messages_of_a_run_share_one_display() -> None:
    """The message when the run breaks and the line at its end stand in one output, with the curves; nothing is printed beside."""
    (live,), (shown,), (looked_up,) = executed(CELL, "report", "import lossdoctor; lossdoctor.Report.__module__")
    assert live.output_type == "display_data" and looked_up.data["text/plain"] == "'lossdoctor.model'"
    text = live.data["text/plain"]
    assert text.count("lossdoctor ✖ CRITICAL") == 2 and "\x1b" not in text
    assert text.rstrip().endswith("Last good step: 8.")
    assert "<svg" in live.data["text/html"] and "<script" not in live.data["text/html"]
    assert shown.output_type == "execute_result" and "<svg" in shown.data["text/html"]
    assert "Not judged" in shown.data["text/plain"], "where no HTML is shown there is the whole text"


@pytest.mark.slow
def test_a_training_in_a_notebook_has_the_trainers_table_and_one_display_of_ours(tmp_path: Any) -> None:
    """A real Trainer that breaks, in a real kernel: its own table, our display with curves, and no print in between."""
    from conftest import ROOT

    cell = f"""
import sys; sys.path[:0] = [{str(ROOT / "tests")!r}, {str(ROOT / "examples")!r}]
import logging, warnings; warnings.simplefilter("ignore"); logging.disable(logging.CRITICAL)
from pathlib import Path
from lossdoctor import LossDoctorCallback
from trainers import NanLoss, trains_in
_ = trains_in(Path({str(tmp_path)!r}))(NanLoss, nan_in=lambda batch: batch >= 20, doctor=LossDoctorCallback(), disable_tqdm=False)
"""
    (outputs,) = executed(cell)
    pages = [
        output.data["text/html"] for output in outputs if output.output_type == "display_data" and "text/html" in output.data
    ]
    ours = [page for page in pages if "lossdoctor-chart" in page]
    assert len(ours) == 1 and any("Training Loss" in page for page in pages)
    assert "step 20" in ours[0] and not [o for o in outputs if o.output_type == "stream" and "lossdoctor" in o.text]
