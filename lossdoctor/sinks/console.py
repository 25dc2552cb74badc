"""Prints one message per incident, cleanly beside a progress bar, and a summary at the end; in a notebook, one display."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from lossdoctor.engine import Event
from lossdoctor.language import say
from lossdoctor.model import Report
from lossdoctor.reports.notebook import html
from lossdoctor.reports.text import brief, one_line
from lossdoctor.sinks.news import News


class Console:
    """Says what `News` finds worth a word: that an incident has begun, has turned critical, or has healed.

    Messages go to stderr, so that standard output stays what the training script prints.
    """

    def __init__(self) -> None:
        self._news = News()
        self._notebook = Notebook() if Notebook.here() else None

    def __call__(self, event: Event) -> None:
        if event.symptom is None:
            self._finished(event.report())
            return
        word = self._news.of(event)
        if word == "over":
            more = say(" (further ones of this kind are only counted)") if self._news.last else ""
            said = say(
                "lossdoctor: {slug} healed by step {last:,}; training goes on{more}",
                slug=event.symptom.slug,
                last=event.symptom.last,
                more=more,
            )
            self._write(said, event.report)
        elif word is not None:
            self._write(brief(event.report(), color=self._color), event.report)

    def _finished(self, report: Report) -> None:
        self._write(one_line(report, color=self._color), lambda: report)

    @property
    def _color(self) -> bool:
        return self._notebook is None and sys.stderr.isatty()

    def _write(self, text: str, report: Callable[[], Report]) -> None:
        if self._notebook is not None:
            self._notebook.add(text, report())
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

    def add(self, text: str, report: Report) -> None:
        """One more message where there is only text; elsewhere the run as it stands, with its curves."""
        self._texts.append(text.strip("\n"))
        content = {"text/plain": "\n\n".join(self._texts), "text/html": html(report)}
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
