"""Judges all runs below a folder on a Dask cluster: python on_dask.py FOLDER [tcp://scheduler:8786]; else on this machine."""

import sys

from dask.distributed import Client

from lossdoctor import analyze_many, find_runs


def main(folder: str, address: str | None = None) -> None:
    with Client(address) if address else Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        workers = len(client.scheduler_info()["workers"])
        for outcome in analyze_many(find_runs(folder), client.get_executor(), in_flight=3 * workers):
            for report in outcome.reports:
                print(report.verdict, report.run.title)
            if outcome.error:
                print("unreadable", outcome.error)


if __name__ == "__main__":
    main(*sys.argv[1:])
