"""Trials in processes of their own, some at a time; one that hangs is ended."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: Seconds after which a process is ended: the sum of what its runs may take on a machine that is not busy with other things.
PATIENCE = 900


def each(work: Callable[[Any], dict[str, Any]], tasks: dict[str, Any], jobs: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each task with what `work` gives for it, in the order in which they end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trials.training"])
    waiting, running = list(tasks), {}
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                file = Path(folder, f"{len(waiting)}.json")
                process = context.Process(target=_write, args=(work, tasks[name], file))
                process.start()
                running[name] = (process, file, time.monotonic())
            for name, (process, file, begun) in list(running.items()):
                late = time.monotonic() - begun > PATIENCE
                if process.is_alive() and not late:
                    continue
                if late:
                    process.terminate()
                process.join()
                del running[name]
                yield name, json.loads(file.read_text()) if file.exists() else {"error": "hung" if late else "ended by itself"}
            time.sleep(0.05)


def _write(work: Callable[[Any], dict[str, Any]], task: Any, file: Path) -> None:
    file.write_text(json.dumps(work(task)))
