"""Prints one message per incident, cleanly beside a progress bar, and a summary at the end; in a notebook, one display."""

from __future__ import annotations

import sys
from typing import Any

from lossdoctor.engine import Event
from lossdoctor.model import RANK, Report
from lossdoctor.reports.text import brief, one_line


class Console:
    """An incident begins with the first warning and ends when all its symptoms have closed.

    Within it only a change for the worse, from warning to critical, is worth a second message. A run that breaks and heals
    again and again is told of three times; after that the summary at the end has to do. Messages go to stderr, so that
    standard output stays what the training script prints.
    """

    incidents: int = 3

    def __init__(self) -> None:
        self._told = RANK["info"]
        self._count = 0
        self._notebook = Notebook() if Notebook.here() else None

    def __call__(self, event: Event) -> None:
        if event.symptom is None:
            self._finished(event.report())
        elif event.transition == "closed":
            self._closed(event)
        elif RANK[event.symptom.severity] > self._told:
            self._count += self._told == RANK["info"]
            self._told = RANK[event.symptom.severity]
            if self._count <= self.incidents:
                self._write(brief(event.report(), color=self._color))

    def _closed(self, event: Event) -> None:
        if self._told == RANK["info"] or event.symptom is None:
            return
        if not any(s.open and s.severity != "info" for s in event.report().symptoms):
            self._told = RANK["info"]
            if self._count > self.incidents:
                return
            more = "" if self._count < self.incidents else " (further ones of this kind are only counted)"
            self._write(f"lossdoctor: {event.symptom.slug} healed by step {event.symptom.last:,}; training goes on{more}")

    def _finished(self, report: Report) -> None:
        self._write(one_line(report, color=self._color))

    @property
    def _color(self) -> bool:
        return self._notebook is None and sys.stderr.isatty()

    def _write(self, text: str) -> None:
        if self._notebook is not None:
            self._notebook.add(text)
        else:
            write(text)


class Notebook:
    """One display under the cell, which every message updates: prints would push the Trainer's own table away."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._handle: Any = None

    @staticmethod
    def here() -> bool:
        """Whether this Python is the kernel of a notebook; asks only what is loaded already."""
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython is not None else None
        return shell is not None and "IPKernelApp" in shell.config

    def add(self, text: str) -> None:
        self._texts.append(text.strip("\n"))
        content = {"text/plain": "\n\n".join(self._texts)}
        if self._handle is None:
            display = sys.modules["IPython"].display.display
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def write(text: str) -> None:
    """To stderr; through tqdm while a bar is up, which would otherwise be torn apart."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is not None and getattr(tqdm.tqdm, "_instances", None):
        tqdm.tqdm.write(text.rstrip("\n"), file=sys.stderr)
    else:
        print(text.rstrip("\n"), file=sys.stderr, flush=True)
