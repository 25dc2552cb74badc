"""What reading costs: seconds and memory for 100,000 rows in every format, with those of judging them for comparison.

Each is a process of its own, the middle one of three. Writes the table of docs/logs.md. Needs a Unix.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from formats import write
from table import PER_MIB

from lossdoctor.readers.dialects import DIALECTS

ROWS, ROUNDS = 100_000, 3
MEASURED = """
import json, resource, sys, time
from lossdoctor.readers import Source, read_file
from pathlib import Path
begun = time.process_time()
(log,) = read_file(Source.open(Path(sys.argv[1])))
taken = time.process_time() - begun
assert log.run.kind == sys.argv[2] and len(log.records) >= int(sys.argv[3]), (log.run.kind, len(log.records))
print(json.dumps([taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def cost(path: Path, kind: str, rows: int) -> tuple[float, float]:
    """Processor seconds, and peak memory in MiB."""
    command = [sys.executable, "-c", MEASURED, str(path), kind, str(rows)]
    seconds, peak = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return seconds, peak / PER_MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=ROWS)
    parser.add_argument("--kind", action="append", choices=DIALECTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(f"| format | seconds for {options.rows:,} rows | MiB of the log | MiB of memory |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kind or DIALECTS:
            path = Path(folder, kind)
            write(kind, path, options.rows)
            size = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file()) / 2**20
            taken = [cost(path, kind, options.rows) for _ in range(options.rounds)]
            seconds, peak = (statistics.median(values) for values in zip(*taken, strict=True))
            print(f"| `{kind}` | {seconds:.2f} | {size:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
