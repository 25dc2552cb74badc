"""The run on a terminal: one screen that is drawn anew at every change, and every second for the clock."""

from __future__ import annotations

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lossdoctor.language import say
from lossdoctor.model import Report
from lossdoctor.reports.dashboard import screen
from lossdoctor.reports.text import one_line
from lossdoctor.watch.follower import Sight


class Screen:
    """Draws below what the terminal shows already, and leaves its last picture and the verdict there."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._color = console.color_system is not None and not console.no_color
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._last: Sight | None = None
        self._live.start()

    def waiting(self, words: str) -> None:
        """Nothing to see so far, and why."""
        self._live.update(
            Text.assemble((say("waiting: {words}\n", words=words), ""), (say("Ctrl-C leaves"), "dim")), refresh=True
        )

    def seen(self, sight: Sight) -> None:
        """The new picture."""
        self._draw(sight, "" if sight.progress.ended else say("Ctrl-C leaves; the run goes on"))
        self._last = sight

    def _draw(self, sight: Sight, foot: str) -> None:
        size = self._console.size
        drawn = screen(sight.report, sight.progress, width=size.width, height=size.height - 1, foot=foot, color=self._color)
        self._live.update(drawn, refresh=True)

    def tick(self, sight: Sight) -> None:
        """The same with another time, or for another size of the terminal."""
        self.seen(sight)

    def close(self, report: Report | None) -> None:
        """Gives the terminal back, with the verdict below."""
        if self._last is not None:
            self._draw(self._last, "")
        self._live.stop()
        if report is not None:
            self._console.print(Text.from_ansi(one_line(report, color=self._color).rstrip("\n")))
