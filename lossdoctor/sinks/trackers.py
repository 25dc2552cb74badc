"""From the names in `args.report_to` to sinks: what is worth a word goes where somebody logs anyway.

Nothing is imported for it: the Trainer's own callbacks have imported the libraries that they report to, and opened the runs.
They are called before the doctor in `on_log`, so a run is still open when the last row is logged, and everything is sent by then.
"""

from __future__ import annotations

import random
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import numpy as np

from lossdoctor.engine import Event, Sink
from lossdoctor.language import say
from lossdoctor.sinks import alerts, clearml, comet, dvclive, mlflow, trackio, wandb
from lossdoctor.sinks.console import write
from lossdoctor.sinks.news import News
from lossdoctor.sinks.tensorboard import TensorBoard, folder_of

#: What `report_to` names, and who knows how to tell it. A module has three functions: `running`, `alert` and `summary`.
TRACKERS: Mapping[str, ModuleType] = {
    "wandb": wandb,
    "trackio": trackio,
    "mlflow": mlflow,
    "comet_ml": comet,
    "clearml": clearml,
    "dvclive": dvclive,
}

#: Characters of an error that are shown: those of servers may go on for pages.
LONGEST = 300


def reporting(args: Any, trainer: Any = None) -> list[Sink]:
    """Sinks for wherever the Trainer reports to: its trackers, and marks on the charts of TensorBoard if it writes for that."""
    found = trackers(getattr(args, "report_to", None), trainer)
    try:
        folder = folder_of(args, trainer)
    except OSError:  # an output folder that cannot be looked into has other troubles
        folder = None
    return [*found, Isolated("tensorboard", TensorBoard(folder))] if folder else found


def trackers(report_to: Iterable[str] | str | None, trainer: Any = None) -> list[Sink]:
    """A sink for each name that is known, each of them isolated; others, such as "azure_ml", are left out."""
    names = [report_to] if isinstance(report_to, str) else list(report_to or ())
    return [Isolated(name, Tracker(name, trainer)) for name in dict.fromkeys(names) if name in TRACKERS]


class Tracker:
    """Sends an alert when an incident begins with a warning or worse, and another one if it turns critical.

    Nothing is sent for a note (`info`), nor when an incident is over. The summary follows with each alert, since a run is often
    ended by hand after one, and at the end of the run. Where the tracker has no run open, nothing is sent.
    """

    def __init__(self, name: str, trainer: Any = None) -> None:
        self.name = name
        self._news = News()
        self._trainer = None if trainer is None else weakref.ref(trainer)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy for another process needs: the Trainer is another one there."""
        return {**self.__dict__, "_trainer": None}

    def __call__(self, event: Event) -> None:
        final = event.symptom is None
        if not final and self._news.of(event) not in ("begun", "critical"):
            return
        library = TRACKERS[self.name]
        run = library.running(self._trainer and self._trainer())
        if run is None:
            return
        if not final:
            library.alert(run, alerts.alert(event))
        library.summary(run, alerts.summary(event.report()), final)


class Isolated:
    """A sink that calls code of others: its first failure is said and switches it off alone; no random state is changed."""

    def __init__(self, name: str, sink: Sink) -> None:
        self.name, self.sink = name, sink
        self.failure: str | None = None

    def __call__(self, event: Event) -> None:
        if self.failure is not None:
            return
        try:
            with random_states_kept():
                self.sink(event)
        except Exception as error:
            self.failure = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
            with suppress(Exception):  # not even a closed stderr may stop a training
                write(
                    say(
                        "lossdoctor: switched off for {name} ({failure}); {name} itself and training go on",
                        name=self.name,
                        failure=self.failure,
                    )
                )


@contextmanager
def random_states_kept() -> Iterator[None]:
    """The global generators of Python, numpy and torch are afterwards as they were before."""
    torch = sys.modules.get("torch")
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    seed = torch.get_rng_state() if torch is not None else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch is not None:
            torch.set_rng_state(seed)
