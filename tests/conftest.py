"""What several test files share."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lossdoctor.engine import examine
from lossdoctor.model import Fact, Report, Run
from lossdoctor.parsing.rows import records

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
CASES = Path(__file__).parent / "cases"

sys.path.insert(0, str(ROOT / "examples"))  # the example's tiny model and fp16 Trainer serve the tests as well

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the labelled runs of ../shared are not here")


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def diagnose(rows: Iterable[Mapping[str, Any]], **facts: Any) -> Report:
    """The report on rows in the Trainer's own form, with facts by their canonical names."""
    return examine(records(rows)[0], Run(facts={name: Fact(value, "test") for name, value in facts.items()}))


def slugs(report: Report) -> set[str]:
    """The symptoms that a report names."""
    return {symptom.slug for symptom in report.symptoms}


def write_state(folder: Path, rows: Iterable[Mapping[str, Any]], **state: Any) -> Path:
    """A trainer_state.json with these rows, as the Trainer writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "trainer_state.json"
    path.write_text(json.dumps({"log_history": list(rows), **state}, indent=2, sort_keys=True), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One headless Chromium for all tests."""
    import browser

    with browser.chromium() as opened:
        yield opened


@pytest.fixture
def browser(chromium: Any) -> Any:
    """The Chromium of all tests, see `browser.Browser`; it has left the page of the test before and forgotten its errors."""
    chromium.open("about:blank")
    chromium.errors()
    return chromium


@pytest.fixture(params=[(version, loader) for version in ("newest", "2.17.1") for loader in ("fast", "python")], ids="-".join)
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Starts a TensorBoard over a log directory, see `browser.tensorboard`: two releases, each with both of its loaders."""
    import browser

    version, loader = request.param
    with ExitStack() as running:

        def start(logs: Path, *options: str, **environment: str) -> Any:
            printed = tmp_path / f"tensorboard-{len(list(tmp_path.glob('tensorboard-*')))}.log"
            server = browser.tensorboard(logs, printed, *options, version=version, loader=loader, **environment)
            return running.enter_context(server)

        yield start


@pytest.fixture
def train(tmp_path: Path) -> Any:
    """Trains a tiny model in `tmp_path / "out"`, see `trainers.trains_in`."""
    from trainers import trains_in

    return trains_in(tmp_path / "out")
