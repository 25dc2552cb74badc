"""What a huge log costs: `lossdoctor analyze` on a log of many rows, or of many megabytes, in each of several dialects.

The bar for the largest log that is read, in any dialect: eight times its size in memory. For its time beside that of parsing
see speed.py. Needs a Unix.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import formats
from table import PER_MIB

ROWS = 1_000_000
LOAD = "import json, sys; json.load(open(sys.argv[1], encoding='utf-8'))"


def with_emoji() -> Iterator[bytes]:
    """What a Trainer prints with a sign in its bar for which Python keeps every character of a text in 4 bytes."""
    return (piece.replace("█".encode(), "🤗".encode()) for piece in formats.pieces("trainer_stdout"))


KINDS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    **{kind: partial(formats.pieces, kind) for kind in formats.TEXTS},
    "with_emoji": with_emoji,
    "event_files": formats.events,
}


def write(path: Path, kind: str, rows: int | None, size: float) -> int:
    """A log of so many rows, or else so many bytes; gives the number of rows."""
    written = count = 0
    with path.open("wb") as file:
        for count, piece in enumerate(KINDS[kind](), 1):
            written += file.write(piece)
            if count == rows or (rows is None and written >= size):
                break
        if kind in formats.TEXTS:
            file.write(formats.TEXTS[kind].tail.format(total=count).encode())
    return count


def cost(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # 1: the log has findings
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / PER_MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=None)
    parser.add_argument("--megabytes", type=float, default=None, help="the size of the log, instead of its rows")
    parser.add_argument("--kind", action="append", choices=KINDS, help="trainer_state alone, if none is given")
    options = parser.parse_args()
    rows = None if options.megabytes else options.rows or ROWS
    for kind in options.kind or ["trainer_state"]:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "log")
            written = write(log, kind, rows, (options.megabytes or 0) * 1e6)
            size = log.stat().st_size / 2**20
            print(f"{kind}: {written:,} rows, {size:,.0f} MiB")
            us = cost([sys.executable, "-m", "lossdoctor", "analyze", str(log)])
            them = cost([sys.executable, "-c", LOAD, str(log)]) if kind == "trainer_state" else None
        if them:
            print(f"  {'json.load':20} {them[0]:6.2f} s {them[1]:8,.0f} MiB")
        print(f"  {'lossdoctor analyze':20} {us[0]:6.2f} s {us[1]:8,.0f} MiB = {us[1] / size:.1f} × the file")
        if them:
            print(f"  {'ratio':20} {us[0] / them[0]:6.2f} × {us[1] / them[1]:8.2f} ×")


if __name__ == "__main__":
    main()
