"""Every dialect finds its own logs among those of all, and nobody else's: `tests/logs/<dialect>/` has what each one reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT

from lossdoctor.readers import Source
from lossdoctor.readers.dialects import DIALECTS, dialects, read_file

LOGS = ROOT / "tests" / "logs"
ALL = sorted(path for kind in LOGS.iterdir() for path in kind.iterdir())


def test_every_dialect_has_a_log():
    """A dialect without one would be a claim without a proof; and each folder is one of a dialect."""
    assert {path.name for path in LOGS.iterdir()} == set(DIALECTS)


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_log_is_recognised_by_its_own_dialect_alone(path: Path):
    """Not one other recognises it, in whatever order they are tried; and each run in it is of that kind, with rows."""
    found = [name for name, dialect in zip(DIALECTS, dialects(), strict=True) if dialect.recognise(Source.open(path))]
    assert found == [path.parent.name]
    logs = read_file(Source.open(path))
    assert logs and {log.run.kind for log in logs} == {path.parent.name} and all(log.records for log in logs)
