"""A bar on stderr while many runs are judged: how many, how fast, and how many of them are critical."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lossdoctor.language import say

if TYPE_CHECKING:
    from lossdoctor.many import Outcome

#: Seconds between two pictures of the bar, and over which the rate is taken.
REFRESH, RATE_OVER = 0.1, 5.0


def followed(outcomes: Iterator[Outcome], total: int, console: Console | None = None) -> Iterator[Outcome]:
    """The outcomes as they come; the bar is drawn by whoever takes them, for a thread of its own does not survive a fork."""
    words = TextColumn("{task.fields[rate]}  {task.fields[found]}")
    columns = (BarColumn(None), MofNCompleteColumn(), words, TimeRemainingColumn())
    with Progress(*columns, console=console or Console(stderr=True), transient=True, auto_refresh=False, expand=True) as bar:
        task = bar.add_task("", total=total, rate="", found="")
        critical = unusable = drawn = 0
        moments = [(time.monotonic(), 0)]
        for count, outcome in enumerate(outcomes, 1):
            yield outcome
            critical += sum(report.verdict == "critical" for report in outcome.reports)
            unusable += outcome.error is not None
            now = time.monotonic()
            bar.update(task, completed=count)
            if now - moments[-1][0] >= REFRESH or count == total:
                moments = [one for one in moments if now - one[0] <= RATE_OVER] or moments[-1:]
                rate = (count - moments[0][1]) / max(1e-9, now - moments[0][0])
                moments.append((now, count))
                found = say("{critical:,} critical", critical=critical)
                found = f"[bold red]{found}[/]" if critical else found
                found += say(", {unusable:,} unreadable", unusable=unusable) if unusable else ""
                bar.update(task, rate=say("{rate:,.0f} a second", rate=rate), found=found)
                bar.refresh()
                drawn += 1
