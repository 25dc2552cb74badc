"""A run in progress on one screen: where it is, what the doctor says, and its charts; and the same in a line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.text import Text

from lossdoctor.language import later, say
from lossdoctor.model import RANK, Report, Symptom
from lossdoctor.pace import Progress, clock
from lossdoctor.reports import panels
from lossdoctor.reports.spark import sparkline
from lossdoctor.reports.terminal import STYLES, padded
from lossdoctor.reports.terminal_chart import Series, chart, short
from lossdoctor.reports.text import brief
from lossdoctor.reports.words import MARKS, alarming

#: Column, whose series it is, its name here, and whether its scale may be logarithmic.
SERIES = (
    ("loss", "train", "loss", True),
    ("eval_loss", "eval", later("eval loss"), True),
    ("grad_norm", "train", later("gradient norm"), True),
    ("learning_rate", "train", later("learning rate"), False),
)
#: From this width on two charts stand beside each other.
TWO_ABREAST = 76
LOWEST, HIGHEST = 3, 8
#: Symptoms that are named under the charts.
NAMED = 4
#: Where there is room for all, the title and the marks of a chart take two lines.
AROUND = 2


def screen(report: Report, progress: Progress, *, width: int, height: int, foot: str = "", color: bool = True) -> Text:
    """What fits into `height` lines of `width` columns: where the run is, the verdict and what to change, the charts, `foot`."""
    head = [*_head(report, progress, width), *_named(report, width)]
    advice = _advice(report, width, color)
    room, series = height - len(head) - bool(foot), _series(report)
    shown = _fitting(advice, max(3, room - _wanted(len(series), width)), report.run.title, width)
    charts = _charts(report, series, width, room - len(shown))
    last = [Text(foot, "dim", no_wrap=True)] if foot else []
    whole = Text("\n").join([*head[:2], *shown, *charts, *head[2:], *last][:height])
    whole.no_wrap, whole.overflow = True, "crop"
    return whole


def progress_line(report: Report, progress: Progress, now: float | None = None) -> str:
    """Where a run is: its step, epoch, last losses and when it will be over."""
    parts = [_steps(report, progress)]
    if progress.epoch:
        parts.append(say("epoch {epoch:.3g}", epoch=progress.epoch))
    parts += [
        f"{say(name)} {short(points[-1][1])}"
        for name, points in _points(report).items()
        if name in ("loss", "eval loss") and points
    ]
    return ", ".join([*parts, *_pace(progress), _eta(progress, now)])


def _steps(report: Report, progress: Progress) -> str:
    of_rows = report.run.numbered
    if progress.step is None:
        return say("no row yet") if of_rows else say("no step yet")
    share = (
        say(" of {total:,} ({share:.0f} %)", total=progress.total, share=100 * (progress.share or 0)) if progress.total else ""
    )
    return say("row {step:,}{share}" if of_rows else "step {step:,}{share}", step=progress.step, share=share)


def _pace(progress: Progress) -> list[str]:
    pace = progress.seconds_per_step
    if pace is None or progress.ended:
        return []
    return [say("{pace:.3g} s a step", pace=pace) if pace >= 1 else say("{pace:.3g} steps a second", pace=1 / pace)]


def _eta(progress: Progress, now: float | None) -> str:
    if progress.ended:
        return say("ended")
    if progress.quiet:
        return say("no new row for {quiet}", quiet=clock(progress.quiet))
    if progress.left is None:
        return say("ETA unknown")
    now = time.time() if now is None else now
    day = "%H:%M" if progress.left < 12 * 3600 else "%a %H:%M"
    return say("ETA {left}", left=clock(progress.left)) + (
        f" ({time.strftime(day, time.localtime(now + progress.left))})" if progress.left > 90 else ""
    )


def _head(report: Report, progress: Progress, width: int) -> list[Text]:
    """Two lines: the path with the steps, or what fits of them; and a bar with the time that is left."""
    path, steps = report.run.title, _steps(report, progress)
    if progress.epoch:
        steps += say(", epoch {epoch:.3g}", epoch=progress.epoch)
    room = width - len(steps) - 2
    if cell_len(path) > room:
        path = "…" + path[-(room - 1) :] if room > 8 else ""
    first = Text.assemble((path, "bold"), "  " if path else "", steps, no_wrap=True)
    rest = ", ".join([*_pace(progress), _eta(progress, None)])
    if len(rest) > width - 8:
        rest = _eta(progress, None)
    bar = max(0, width - len(rest) - 2)
    done = round(bar * (progress.share or 0.0))
    style = "green" if progress.ended else "yellow" if progress.quiet else "cyan"
    second = Text.assemble(("━" * done, style), ("━" * (bar - done), "dim"), "  ", rest, no_wrap=True)
    first.truncate(width)
    second.truncate(width)
    return [first, second]


def _advice(report: Report, width: int, color: bool) -> list[Text]:
    text = brief(report, color=color, width=width).strip("\n")
    return list(Text.from_ansi(text).split("\n"))


def _fitting(lines: list[Text], room: int, path: str, width: int) -> list[Text]:
    """The verdict before what to change, that before the explanation, and a word where something is left out."""
    if len(lines) <= room:
        return lines
    verdict = next((place for place, line in enumerate(lines) if line.plain.startswith("  ")), len(lines))
    remedy = next((place for place, line in enumerate(lines) if line.plain.lstrip().startswith("→")), len(lines))
    words = say("  … lossdoctor analyze {path} tells all", path=path)
    more = Text(words if cell_len(words) <= width else say("  … lossdoctor analyze tells all"), "dim")
    return [*[*lines[:verdict], *lines[remedy:]][: room - 1], more]


def _named(report: Report, width: int) -> list[Text]:
    """What the marks under the curves stand for."""
    worst = sorted(_told(report), key=lambda s: (-RANK[s.severity], s.onset))[:NAMED]
    line = Text(no_wrap=True)
    for symptom in worst:
        words = say("{marks} step {onset:,} {slug}", marks=MARKS[symptom.severity], onset=symptom.onset, slug=symptom.slug)
        if line.cell_len + len(words) + 3 <= width or not line:
            line.append(("   " if line else "") + words, STYLES[symptom.severity])
    line.truncate(width)
    return [line] if line else []


def _told(report: Report) -> list[Symptom]:
    return [symptom for symptom in alarming(report) if symptom.open]


def _points(report: Report) -> dict[str, Sequence[tuple[int, float]]]:
    """The points of each series by the name it has here; of several evaluation sets the first counts."""
    evaluated = next(iter(panels.evaluations(report)), "eval_loss")
    return {name: panels.points(report, evaluated if kind == "eval" else column) for column, kind, name, _ in SERIES}


def _series(report: Report) -> list[Series]:
    points = _points(report)
    found = []
    for column, kind, name, scaled in SERIES:
        marks = {
            s.onset: STYLES[s.severity] for s in _told(report) if s.series == column or (kind == "eval" and "eval" in s.series)
        }
        style = {"loss": "cyan", "eval loss": "magenta"}.get(name, "blue")
        if points[name]:
            found.append(Series(name, points[name], style, marks, scaled))
    return found


def _wanted(count: int, width: int) -> int:
    """The lines that the charts need to be legible; what to change gets the rest."""
    rows = (count + 1) // 2 if width >= TWO_ABREAST else 1
    return rows * (LOWEST + AROUND) + (0 if width >= TWO_ABREAST else max(0, count - 1)) + 1


def _charts(report: Report, series: Sequence[Series], width: int, room: int) -> list[Text]:
    if not series or room < 2:
        return []
    steps = (report.first_step or 0, max(report.last_step or 0, (report.first_step or 0)))
    if width >= TWO_ABREAST and room - 1 >= LOWEST + AROUND:
        return [Text(), *_abreast(series, width, room - 1, steps)]
    lines = [_spark(one, width) for one in series]
    if room - 1 >= len(lines) - 1 + LOWEST + AROUND:
        height = min(HIGHEST, room - len(lines) - AROUND)
        lines = [*chart(series[0], width, height, steps), *lines[1:]]
    return [Text(), *lines][:room]


def _abreast(series: Sequence[Series], width: int, room: int, steps: tuple[int, int]) -> list[Text]:
    """Two by two, each as high as there is room for."""
    rows = (len(series) + 1) // 2
    while rows > 1 and room // rows < LOWEST + AROUND:
        rows -= 1
    height = min(HIGHEST, room // rows - AROUND)
    half = (width - 2) // 2
    lines: list[Text] = []
    for row in range(rows):
        pair = [chart(one, half if len(series) > 1 else width, height, steps) for one in series[2 * row : 2 * row + 2]]
        for left, right in zip_longest(pair[0], pair[1] if len(pair) > 1 else [], fillvalue=Text()):
            line = left.copy()
            line.pad_right(max(0, half + 2 - line.cell_len))
            line.append_text(right)
            line.rstrip()
            lines.append(line)
    return lines


def _spark(series: Series, width: int) -> Text:
    """A series in one line, where there is no room for more."""
    first, last = (short(series.points[place][1]) for place in (0, -1))
    name, head, tail = padded(say(series.name), 13), f" {first:>7} ", f" {last}"
    line, _ = sparkline(series.points, max(1, width - cell_len(name) - len(head) - len(tail)))
    return Text.assemble((name, "bold"), head, (line, series.style), tail, no_wrap=True)
