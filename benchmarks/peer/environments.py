"""An environment of its own for every tool, in `.venv-peers` of this checkout: made when it is missing or stale."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from peer.protocol import Tool

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-peers"
#: What a tool that is put into real trainings needs besides: the versions of constraints.txt, as all the others.
TRAINER = ("torch", "transformers", "accelerate")


def wanted(tool: Tool) -> list[str]:
    """What pip is told, besides `install`. Only where there are real trainings must the versions be the same for all."""
    if not tool.in_trainer:
        return list(tool.requires)
    return ["-c", "constraints.txt", *tool.requires, *TRAINER]


def python(name: str) -> Path:
    """The interpreter of an environment."""
    return ENVIRONMENTS / name / ("Scripts" if os.name == "nt" else "bin") / "python"


def ready(name: str, tool: Tool) -> bool:
    """Whether it is there, with what the tool asks for."""
    mark = ENVIRONMENTS / name / ".ready"
    return python(name).exists() and mark.exists() and json.loads(mark.read_text(encoding="utf-8")) == wanted(tool)


def make(name: str, tool: Tool) -> str:
    """Makes it, if it is not ready; gives why that failed, or nothing."""
    if ready(name, tool):
        return ""
    folder = ENVIRONMENTS / name
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    command = [str(python(name)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted(tool)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        return (errors or ["pip failed"])[-1]
    (folder / ".ready").write_text(json.dumps(wanted(tool)), encoding="utf-8")
    return ""


def surroundings() -> dict[str, str]:
    """The variables of a tool's process: one thread, no network, and nothing of the paths that this process imports from."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LOSSDOCTOR"))}
    mine = {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0"}
    return {**kept, **mine}


def ask(name: str, task: str, requests: Iterable[Mapping[str, Any]], timeout: float = 3600) -> list[dict[str, Any]]:
    """Has a tool do one task in its own process; one answer per request, in their order.

    Raises:
        RuntimeError: its process failed as a whole.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "requests.jsonl"), Path(folder, "answers.jsonl")
        given.write_text("".join(json.dumps(request) + "\n" for request in requests), encoding="utf-8")
        command = [str(python(name)), "-m", "peer.protocol", name, task, str(given), str(out)]
        done = subprocess.run(command, cwd=folder, env=surroundings(), capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise RuntimeError(f"{name} {task}: {done.stderr.strip()[-600:]}")
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def version(name: str, package: str) -> str:
    """Of the package in its environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([str(python(name)), "-c", code], capture_output=True, text=True, env=surroundings()).stdout.strip()


def own_command(name: str, command: Sequence[str], files: Mapping[str, str]) -> list[str]:
    """A tool's own command line on these files."""
    program = python(name).with_name(command[0])
    return [str(program), *(part.format(**files) for part in command[1:])]
