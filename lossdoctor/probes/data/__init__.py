"""What can be seen of the data and the model on this machine before the first step: labels, lengths, vocabulary, one batch.

Nothing is downloaded, no code of the data or the model is run, memory is bounded. torch, transformers and pyarrow are loaded only
where somebody gives what they are needed for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossdoctor.confinement import is_file_of
from lossdoctor.facts.model_config import read as read_model_config
from lossdoctor.measured import Measured
from lossdoctor.model import RANK, Fact, Finding, NotJudged, Run
from lossdoctor.probes.data.measuring import measure
from lossdoctor.registry import all_data_checks, build

#: What a config.json says of the model itself; the rest of it is about who saved it, and where.
OF_MODEL = ("model_type", "vocab_size", "num_hidden_layers", "num_labels", "problem_type", "quantization")


@dataclass(frozen=True)
class Examined:
    """What was found: findings, the worst first, facts for the other checks, what could not be judged, and what was looked at."""

    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)
    not_judged: tuple[NotJudged, ...] = ()
    measured: Measured = field(default_factory=Measured)


def examine(model_path: Path | None, data: Path | None, run: Run, settings: dict[str, dict[str, Any]] | None = None) -> Examined:
    """Looks at the folder of a model, at a file or folder of examples, or at both together, for the run that is planned.

    Raises:
        LossDoctorError: one of them cannot be read.
    """
    facts = _of_model(model_path) if model_path is not None else {}
    measured, not_judged = measure(model_path, data, run.knowing(facts))
    if measured.rows:
        facts["dataset_size"] = Fact(measured.rows, measured.source)
    if measured.supervised_share is not None:
        facts["supervised_share"] = Fact(round(measured.supervised_share, 4), measured.basis)
    looking = build(all_data_checks(), settings)
    findings = [finding for check in looking if (finding := check.look(measured)) is not None]
    blind = [NotJudged(check.title, why) for check in looking if (why := check.blind(measured)) is not None]
    findings.sort(key=lambda finding: -RANK[finding.severity])
    return Examined(tuple(findings), facts, (*not_judged, *blind), measured)


def _of_model(folder: Path) -> dict[str, Fact]:
    config = folder / "config.json"
    if not is_file_of(config, folder):
        return {}
    return {name: fact for name, fact in read_model_config(config).items() if name in OF_MODEL}
