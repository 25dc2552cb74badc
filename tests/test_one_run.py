"""One real training, kept in four ways: state, event files, what was printed and a table give one answer, and are one run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import slugs

from lossdoctor.analysis import analyze, find, load, together
from lossdoctor.model import Report

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

STEPS = 60
FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "NaN from step 31 on": {"nan_in": lambda batch: batch > 30, "logging_nan_inf_filter": False},
    "a learning rate far too high": {"learning_rate": 3.0, "max_grad_norm": 0.0, "lr_scheduler_type": "constant"},
    "nothing is learned": {"learning_rate": 1e-9},
}


def first_cause(report: Report) -> str | None:
    """The cause that the report puts first."""
    return next((d.slug for d in report.diagnoses if not d.normal and not d.mechanism), None)


def table(history: list[dict[str, Any]]) -> str:
    """What the Trainer shows in a notebook, as its cells arrive in a text when they are copied."""
    from transformers.utils.notebook import NotebookTrainingTracker

    tracker = NotebookTrainingTracker(STEPS, ["Step", "Training Loss"])
    for row in history:
        if "loss" in row:
            tracker.write_line({"Step": row["step"], "Training Loss": row["loss"]})
    head, *rows = tracker.inner_table
    return "\n".join("\t".join(f"{cell:.6f}" if isinstance(cell, float) else str(cell) for cell in row) for row in [head, *rows])


@pytest.fixture
def kept(request: pytest.FixtureRequest, tmp_path: Path, train: Any, capfd: pytest.CaptureFixture[str]) -> dict[str, Path]:
    """The four sources of one training, each without what lies beside the others."""
    from trainers import NanLoss
    from transformers import Trainer

    changes = dict(FAULTS[request.param])
    place = tmp_path / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORBOARD_LOGGING_DIR", str(place))
        kind = NanLoss if "nan_in" in changes else Trainer
        trainer, _ = train(kind, doctor=None, max_steps=STEPS, disable_tqdm=False, report_to=["tensorboard"], **changes)
    printed = "".join(capfd.readouterr())
    state = tmp_path / "out" / "trainer_state.json"
    folder = tmp_path / "kept"
    for name in ("state", "events", "printed", "pasted"):
        (folder / name).mkdir(parents=True)
    shutil.copy(state, folder / "state")
    for file in (tmp_path / "out", place)[place.is_dir()].rglob("*tfevents*"):
        shutil.copy(file, folder / "events")
    (folder / "printed" / "nohup.out").write_text(printed, encoding="utf-8")
    history = json.loads(state.read_text())["log_history"]
    asked = f'args = TrainingArguments("out", learning_rate={trainer.args.learning_rate}, max_steps={STEPS})'
    (folder / "pasted" / "table.txt").write_text(f"My run:\n\n{table(history)}\n\n{asked}\n", encoding="utf-8")
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("kept", FAULTS, indirect=True)
def test_a_run_is_judged_alike_however_it_was_kept(kept: dict[str, Path]) -> None:
    """Verdict and first cause agree; what the table lacks is said to be missing; all four lie in one folder as one run."""
    files = {"state": kept["state"], "events": kept["events"], **{n: next(kept[n].iterdir()) for n in ("printed", "pasted")}}
    known = load(kept["events"])[0].run.facts  # the arguments stand in event files; beside the others they are told
    reports = {name: analyze(path, known=known)[0] for name, path in files.items()}
    assert {report.run.kind for report in reports.values()} == {
        "trainer_state",
        "event_files",
        "trainer_stdout",
        "notebook_table",
    }
    answers = {n: (r.verdict, r.verdict != "healthy" and first_cause(r)) for n, r in reports.items()}
    assert set(answers.values()) == {answers["state"]}, {name: (*answers[name], slugs(r)) for name, r in reports.items()}
    missing = " ".join(f"{what.what}: {what.why}" for what in reports["pasted"].not_judged)
    assert "learning rate" in missing and "gradient norm" in missing
    units = find([str(kept["state"].parent)]).runs
    judged = together([source for unit in units for source in unit])
    assert (
        len(judged) == 1 and len(judged[0].report.run.same) == 3 and judged[0].report.run.kind in ("trainer_state", "event_files")
    )
