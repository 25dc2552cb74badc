"""The programs of docs/start.md and docs/live.md train: each is run as it stands there, on a tiny model and for a few steps."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from manual import ROOT, run

pytest.importorskip("torch")
pytest.importorskip("transformers")

from test_patient import rows, tiny_llama, tokenizer

pytestmark = pytest.mark.slow
LIVE = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
START = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
DATA = {
    "sft": lambda words: {"prompt": " ".join(words[:6]), "completion": " " + " ".join(words[6:])},
    "dpo": lambda words: {"prompt": words[0], "chosen": " " + " ".join(words[4:]), "rejected": " " + " ".join(words[2:5])},
    "grpo": lambda words: {"prompt": " ".join(words[:4])},
}
#: What lets the program of a GPU run here, and end soon.
HERE = "max_steps=4, use_cpu=True, bf16=False, save_strategy='no', disable_tqdm=True, report_to=[], "


def block(page: str, mark: str, language: str = "python") -> str:
    """The one block of a page below that comment."""
    (found,) = re.findall(rf"<!-- {re.escape(mark)} -->\n```{language}\n(.*?)```", page, re.S)
    return str(found)


@pytest.mark.parametrize("name", DATA)
def test_the_programs_for_trl_train(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    """SFT with an adapter, DPO and GRPO: the doctor stays well, sees every loss, and has nothing to complain about."""
    pytest.importorskip("trl"), pytest.importorskip("peft")
    datasets = pytest.importorskip("datasets")
    from transformers import AutoModelForCausalLM

    monkeypatch.chdir(tmp_path)
    code = block(LIVE, f"trained: {name}").replace(f'"outputs/{name}", ', f'"outputs/{name}", {HERE}')
    assert HERE in code
    data = datasets.Dataset.from_list([DATA[name](words) for words in rows()])
    tiny_llama().save_pretrained(tmp_path / "model")  # DPO loads its reference from where the model is from
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    names: dict[str, Any] = {"model": model, "dataset": data, "tokenizer": tokenizer(tmp_path)}
    exec(compile(code, "live.md", "exec"), names)
    doctor = names["doctor"]
    assert doctor.failure is None and names["trainer"].state.global_step == 4
    assert "loss" in " ".join(doctor.report.run.watched)
    assert doctor.report.verdict in ("healthy", "insufficient")
    if name == "sft":
        assert doctor.report.run.get("supervised_share") == pytest.approx(3 / 9, abs=0.02)


@pytest.mark.parametrize("mode", ["fsdp2", "zero2"])
def test_the_programs_for_several_processes_train(mode: str, tmp_path: Path) -> None:
    """FSDP and DeepSpeed on two processes: both train to the end, the model is wrapped, and both doctors stay well."""
    if mode == "zero2":
        pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
        (tmp_path / "zero2.json").write_text(block(LIVE, "zero2.json", "json"))
    (tmp_path / "train.py").write_text(block(LIVE, f"ranks: {mode}"))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(ROOT / "tests" / "manual_ranks.py")]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(ROOT)}
    command = ["timeout", "-k", "5", "200", sys.executable, *launch, mode, "train.py", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found["failure"] is None and found["step"] == 12 and found["watched"]
        assert found["wrapped"] == {"fsdp2": "FSDPGPT2LMHeadModel", "zero2": "DeepSpeedEngine"}[mode]


def test_the_five_minutes_are_as_they_are_told(tmp_path: Path) -> None:
    """The program of the first page trains, prints what stands there, and leaves a log of which the commands say the same."""
    (tmp_path / "train.py").write_text(block(START, "file: train.py"))
    printed = run(f'OMP_NUM_THREADS=1 "{sys.executable}" train.py', tmp_path)
    assert block(START, "printed: python train.py", "text") in printed.replace("\r", "\n"), printed
    for command in re.findall(r"<!-- printed: (lossdoctor .+?) -->", START):
        shown, true = block(START, f"printed: {command}", "text"), run(command, tmp_path)
        true = re.sub(r"[A-Z][a-z]{2}\d\d_[\d-]+_[\w.-]+?(?=[:/\s])", "Nov21_10-00-00_host", true)
        if os.environ.get("UPDATE_CASES"):
            text = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
            (ROOT / "docs" / "start.md").write_text(text.replace(shown, true), encoding="utf-8")
        else:
            assert shown == true
