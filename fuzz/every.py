"""Every reader through the fuzzer, two at a time: `python fuzz/every.py 100000 fuzz/failures`, or `make fuzz`.

Gives a table: reader, inputs, coverage, seconds, the slowest input. Whatever fails is kept in that folder, and makes it exit 1;
the command that runs it again stands at the end. Names of readers behind the folder run these alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from lossdoctor.readers.dialects import DIALECTS

AT_ONCE = 2
READER = Path(__file__).with_name("reader.py")
_LAST = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+)")
_SLOWEST = re.compile(r"slowest so far: ([\d.]+) s for ([\d,]+) bytes")
_ERROR = re.compile(r"^(\w*(?:Error|Exception|Warning)\b.*|.*ERROR: libFuzzer: .*)$", re.M)
_KEPT = re.compile(r"Test unit written to (\S+)")
_SECONDS = re.compile(r"Done \d+ runs in (\d+) second")


class Told(NamedTuple):
    """What the fuzzer said of one reader; `problem` and `kept` where an input failed."""

    kind: str
    inputs: int
    coverage: int
    seconds: str
    slowest: str
    problem: str
    kept: str


def run(kind: str, runs: int, failures: Path) -> Told:
    """One reader with so many inputs, all of them the same each time."""
    options = [f"-runs={runs}", "-seed=1", f"-artifact_prefix={failures}/{kind}-"]
    said = subprocess.run([sys.executable, str(READER), kind, *options], capture_output=True, text=True, errors="replace")
    last, slowest = (_LAST.findall(said.stderr) or [("0", "0")])[-1], (_SLOWEST.findall(said.stderr) or [("0.02", "")])[-1]
    seconds = (_SECONDS.findall(said.stderr) or ["-"])[-1]
    shown = f"{slowest[0]} s, {slowest[1]} bytes" if slowest[1] else "below 0.02 s"
    kept = (_KEPT.findall(said.stderr) or [""])[-1]
    error = (_ERROR.findall(said.stderr) or [f"ended with {said.returncode}"])[-1] if said.returncode else ""
    return Told(kind, int(last[0]), int(last[1]), seconds, shown, error, kept)


def main() -> None:
    runs, failures = int(sys.argv[1]), Path(sys.argv[2])
    failures.mkdir(parents=True, exist_ok=True)
    kinds = [kind for kind in DIALECTS if kind in sys.argv[3:] or not sys.argv[3:]]
    found: list[Told] = []
    print(f"{'reader':18}{'inputs':>9}{'coverage':>10}{'seconds':>9}  slowest input", flush=True)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for told in threads.map(lambda kind: run(kind, runs, failures), kinds):
            failure = f"  FAILED: {told.problem}" if told.problem else ""
            print(f"{told.kind:18}{told.inputs:9,}{told.coverage:10,}{told.seconds:>9}  {told.slowest}{failure}", flush=True)
            found.append(told)
    failed = [told for told in found if told.problem]
    for told in failed:
        print(f"\n{told.kind}: {told.problem}\n  again: {sys.executable} {READER} {told.kind} {told.kept}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
