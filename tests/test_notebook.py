"""In a real notebook kernel all messages of a run share one display."""

from __future__ import annotations

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

CELL = """
import math
from lossdoctor.engine import Engine
from lossdoctor.readers.rows import records
from lossdoctor.sinks.console import Console

engine = Engine(sinks=[Console()])
rows = [{"loss": 2.0, "grad_norm": 1.0, "step": s} for s in range(1, 9)]
rows += [{"loss": 0.0, "grad_norm": math.nan, "step": s} for s in range(9, 12)]
for record in records(rows)[0]:
    engine.observe(record)
_ = engine.finish()
"""


@pytest.mark.slow
def test_all_messages_of_a_run_share_one_display() -> None:
    """The message when the run breaks and the line at its end stand in one output, and nothing is printed beside it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "display_data"
    text = output.data["text/plain"]
    assert text.count("lossdoctor ✖ CRITICAL") == 2 and "\x1b" not in text
    assert text.rstrip().endswith("Last good step: 8.")
