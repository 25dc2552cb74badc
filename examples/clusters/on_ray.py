"""Judges all runs below a folder on a Ray cluster: python on_ray.py FOLDER [address]; without an address, on this machine."""

import sys
from concurrent.futures import Executor, Future
from typing import Any

import ray

from lossdoctor import analyze_many, find_runs


class RayExecutor(Executor):
    """Ray has no executor of its own: each call is a task, and its result a future of `concurrent.futures`."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        task = ray.remote(max_retries=0)(function)
        found: Future[Any] = task.remote(*args, **kwargs).future()
        return found


def main(folder: str, address: str | None = None) -> None:
    ray.init(address) if address else ray.init(num_cpus=2, include_dashboard=False)
    workers = int(ray.cluster_resources()["CPU"])
    for outcome in analyze_many(find_runs(folder), RayExecutor(), in_flight=3 * workers):
        for report in outcome.reports:
            print(report.verdict, report.run.title)
        if outcome.error:
            print("unreadable", outcome.error)
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
