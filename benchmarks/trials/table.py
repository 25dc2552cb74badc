"""The table of the trials, on the screen and as Markdown."""

from __future__ import annotations

import platform
import statistics
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lossdoctor import __version__
from trials.faults import Trial

HEAD = ("model", "fault", "diagnosis", "first remedy", "broken", "cured", "control", "verdict", "")


def row(trial: Trial, found: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a trial."""
    if "broken" not in found:
        return trial.model, trial.fault, "", "", "", "", "", "", f"no: {found.get('error')}"
    broken, cured = found["broken"], found["cured"]
    settings = ", ".join(f"{name}={value}" for name, value in (broken["settings"] or {}).items()) or broken["remedy"]
    wrong = "" if broken["cause"] in trial.causes else " ✗"
    result = "cured" if not found["why_not"] else f"no: {found['why_not']}"
    if not found["harm"]:
        result = f"no harm was done ({result})"
    return (
        trial.model,
        trial.fault,
        (broken["cause"] or f"none, {broken['verdict']}") + wrong,
        settings,
        f"{broken['heldout']:.3f}",
        f"{cured['heldout']:.3f}" if cured else "",
        f"{found['control']:.3f}",
        cured["verdict"] if cured else "",
        result,
    )


def markdown(rows: list[tuple[str, ...]]) -> str:
    """Rows as a table of Markdown."""
    lines = [HEAD, tuple("---" for _ in HEAD), *rows]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", "⏎") for cell in line) + " |" for line in lines) + "\n"
    )


def totals(trials: dict[str, Trial], results: dict[str, dict[str, Any]]) -> str:
    """What it comes to, in a line."""
    real = {name: found for name, found in results.items() if found.get("harm") or "broken" not in found}
    cured = sum(not found.get("why_not", "?") for found in real.values())
    run = {name: found for name, found in real.items() if "broken" in found}
    right = sum(found["broken"]["cause"] in trials[name].causes for name, found in run.items())
    seen = sum(found["broken"]["verdict"] in ("critical", "warning") for found in run.values())
    share = f" ({cured / len(real):.1%})" if real else ""
    none = len(results) - len(real)
    less = f"; {none} more did no harm and do not count" if none else ""
    return f"Cured: {cured} of {len(real)} broken fine-tunes{share}{less}. Seen: {seen}. The true cause first: {right}.\n"


def spent(results: dict[str, dict[str, Any]]) -> str:
    """The machine, the versions, and how long a run takes, in a line."""
    parts = [found[name] for found in results.values() for name in ("broken", "cured") if found.get(name)]
    seconds = [part["seconds"] for part in parts]
    took = (
        f"; a run takes {statistics.median(seconds):.1f} s of one core (median), at most {max(seconds):.1f} s" if seconds else ""
    )
    return f"{machine()}{took}.\n"


def machine() -> str:
    """The machine and the versions, in words."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        if info.exists()
        else []
    )
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    cpu = f"{names[0]}, {len(names)} cores" if names else platform.processor() or platform.machine()
    return f"{cpu}; Python {platform.python_version()}, {versions}, lossdoctor {__version__}"
