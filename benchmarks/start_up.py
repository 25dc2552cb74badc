"""How long the command takes to say something: whole processes, alternating, as a ratio of medians.

The yardstick is a Python that imports what any such tool would: numpy, click and two modules of rich.
"""

from __future__ import annotations

import compileall
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lossdoctor

RUNS = 10
YARDSTICK = [sys.executable, "-c", "import numpy, click, rich.console, rich.table"]


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - start


def main() -> None:
    compileall.compile_dir(Path(lossdoctor.__file__).parent, quiet=1)  # as pip does when it installs
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {"grad_norm": 1.5 + step % 7 / 10, "learning_rate": 1e-4 * (1 - step / 501), "loss": 2 + 3 / step, "step": step}
            for step in range(1, 501)
        ]  # fmt: skip
        log = Path(folder, "trainer_state.json")
        log.write_text(json.dumps({"log_history": rows, "max_steps": 500, "logging_steps": 1}, indent=2))
        ours = [sys.executable, "-m", "lossdoctor", "analyze", str(log)]
        pairs = [(seconds(ours), seconds(YARDSTICK)) for _ in range(RUNS + 1)][1:]
    us, them = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"lossdoctor analyze, 500 rows: {us:.3f} s; import numpy, click, rich: {them:.3f} s; ratio {us / them:.2f}")


if __name__ == "__main__":
    main()
