"""One file per output format. They compute nothing: every number comes from the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lossdoctor.model import LossDoctorError, Report


@dataclass(frozen=True)
class Look:
    """How a report is to look, as far as its format can be told: `width` in columns; `fail_on` as on the command line.

    `unreadable` has one line for each input that could not be used; `figures` one file name of a chart, or None, per report.
    """

    color: bool | None = None
    width: int | None = None
    fail_on: str = "critical"
    unreadable: tuple[str, ...] = ()
    figures: tuple[str | None, ...] = ()


def _text(reports: Sequence[Report], look: Look) -> str:
    from lossdoctor.reports.text import render

    return render(reports, color=look.color, width=look.width)


def _json(reports: Sequence[Report], look: Look) -> str:
    from lossdoctor.reports.json import render

    return render(reports)


def _jsonl(reports: Sequence[Report], look: Look) -> str:
    from lossdoctor.reports.jsonl import render

    return render(reports)


def _markdown(reports: Sequence[Report], look: Look) -> str:
    from lossdoctor.reports.markdown import render

    return render(reports, figures=look.figures)


def _html(reports: Sequence[Report], look: Look) -> str:
    from lossdoctor.reports.html import render

    return render(reports)


def _github(reports: Sequence[Report], look: Look) -> str:
    from lossdoctor.reports.github import render

    return render(reports)


def _junit(reports: Sequence[Report], look: Look) -> str:
    from lossdoctor.reports.junit import render

    return render(reports, fail_on=look.fail_on, unreadable=look.unreadable)


#: Format name → renderer; each is imported when it is used.
FORMATS: dict[str, Callable[[Sequence[Report], Look], str]] = {
    "text": _text,
    "json": _json,
    "jsonl": _jsonl,
    "markdown": _markdown,
    "html": _html,
    "github": _github,
    "junit": _junit,
}
#: Endings of file names that say which format is wanted.
ENDINGS = {
    ".md": "markdown",
    ".html": "html",
    ".htm": "html",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xml": "junit",
    ".svg": "svg",
}


def save(reports: Sequence[Report], file: str | Path, output_format: str | None = None, look: Look | None = None) -> None:
    """Writes reports to a file, in the format that is given, or that the ending of its name says, or else as text.

    Markdown cannot hold pictures: its charts are written beside it, as `NAME.svg`. A name that ends in .svg gets the chart alone.

    Raises:
        LossDoctorError: the file cannot be written, or a chart is wanted of several runs or of none that can be drawn.
    """
    path, look = Path(file), look or Look(color=False)
    wanted = output_format or ENDINGS.get(path.suffix.lower(), "text")
    if wanted == "svg":
        write(path, _only_chart(reports, path))
        return
    if wanted == "markdown":
        figures = _figures(reports, path)
        for name, picture in figures:
            if picture:
                write(path.with_name(name), picture)
        look = replace(look, figures=tuple([name if picture else None for name, picture in figures]))
    write(path, FORMATS[wanted](reports, look))


def write(path: Path, content: str) -> None:
    """Writes a file.

    Raises:
        LossDoctorError: it cannot be written.
    """
    try:
        path.write_text(content, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise LossDoctorError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None


def _figures(reports: Sequence[Report], path: Path) -> list[tuple[str, str]]:
    """(file name, picture) of each report; the picture is empty where there is nothing to draw, and of runs only in the table."""
    from lossdoctor.reports import chart
    from lossdoctor.reports.overview import overview

    told = {id(report) for report in overview(reports, "markdown").full}
    names = [f"{path.stem}.svg"] if len(reports) == 1 else [f"{path.stem}-{place}.svg" for place in range(1, len(reports) + 1)]
    drawn = (chart.render(report) if id(report) in told else "" for report in reports)
    return list(zip(names, drawn, strict=True))


def _only_chart(reports: Sequence[Report], path: Path) -> str:
    if len(reports) != 1:
        raise LossDoctorError(
            f"{path} takes the chart of one run, found {len(reports)}: analyse them one at a time, or write .html"
        )
    ((_, picture),) = _figures(reports, path)
    if not picture:
        raise LossDoctorError(f"{path} is not written: the log has fewer than two points to draw")
    return picture
