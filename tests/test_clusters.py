"""Many runs on real clusters, small ones: the executors of Dask and loky, and Ray by the adapter of the example."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, write_state

from lossdoctor import analyze_many, find_runs
from lossdoctor.base import Detector
from lossdoctor.model import Record, Symptom
from lossdoctor.vitals import Vitals

EXAMPLES = ROOT / "examples" / "clusters"
#: Workers are processes of their own: they find the tests, and what is tested, by this.
PLACES = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(EXAMPLES)])
RUNS, DEADLY = 40, 17


@dataclass
class Deadly(Detector):
    """Ends the process in which it meets a certain run.

    ## What it watches
    ## Why it matters
    ## What it misses
    """

    says = "deadly"

    def update(self, record: Record, vitals: Vitals) -> Symptom | None:
        if record.values.get("loss") == 66.0:
            os._exit(9)
        return None


@contextmanager
def dask() -> Iterator[Any]:
    pytest.importorskip("distributed", reason="Dask is not installed: make clusters")
    from dask.distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        yield client.get_executor()


@contextmanager
def ray() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="Ray is not installed: make clusters")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": PLACES}})
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield import_module("on_ray").RayExecutor()
    finally:
        sys.path.remove(str(EXAMPLES))
        ray.shutdown()


@contextmanager
def loky() -> Iterator[Any]:
    loky = pytest.importorskip("loky", reason="loky is not installed: make clusters")
    with loky.ProcessPoolExecutor(2) as executor:
        yield executor


def runs(folder: Path) -> list[tuple[str, ...]]:
    """Healthy runs, each with losses of its own."""
    for place in range(RUNS):
        rows = [{"step": step, "loss": 2 + place / 100 + 1 / step, "grad_norm": 1.0 + step % 3} for step in range(1, 30)]
        write_state(folder / f"run-{place:02}", rows)
    return find_runs(folder)


@pytest.mark.parametrize("cluster", [dask, ray, loky])
def test_a_cluster_gives_what_one_process_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Any) -> None:
    """The same findings for every run, and an error for a file that is none."""
    monkeypatch.setenv("PYTHONPATH", PLACES)
    units = runs(tmp_path)
    (tmp_path / "bad.json").write_bytes(b"PK\x03\x04\x00")
    with cluster() as executor:
        found = {one.path: one for one in analyze_many([*units, str(tmp_path / "bad.json")], executor, in_flight=4)}
    assert found.pop(str(tmp_path / "bad.json")).error is not None
    assert {path: one.reports for path, one in found.items()} == {one.path: one.reports for one in analyze_many(units, jobs=1)}


@pytest.mark.parametrize("cluster", [dask, ray, loky])
def test_a_worker_of_a_cluster_that_dies_costs_one_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Any) -> None:
    """The source that killed it is an error, and all others are judged, each once."""
    monkeypatch.setenv("PYTHONPATH", PLACES)
    units = runs(tmp_path)
    write_state(tmp_path / f"run-{DEADLY:02}", [{"step": 1, "loss": 66.0}])
    with cluster() as executor:
        outcomes = list(analyze_many(units, executor, plugins=[Deadly], in_flight=4))
    assert sorted(one.sources for one in outcomes) == units
    assert [Path(one.path).name for one in outcomes if one.error] == [f"run-{DEADLY:02}"]


@pytest.mark.parametrize(("example", "package"), [("on_dask", "distributed"), ("on_ray", "ray")])
def test_the_example_runs_as_it_stands(tmp_path: Path, example: str, package: str) -> None:
    """It starts a small cluster, and says the verdict on every run."""
    pytest.importorskip(package, reason=f"{package} is not installed: make clusters")
    runs(tmp_path)
    environment = {**os.environ, "PYTHONPATH": PLACES}
    command = [sys.executable, str(EXAMPLES / f"{example}.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    said = [line for line in done.stdout.splitlines() if " " in line and "run-" in line]
    assert done.returncode == 0 and len(said) == RUNS, done.stderr[-2000:]
