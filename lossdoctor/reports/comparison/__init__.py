"""A comparison in each format; they compute nothing: every number comes from the comparison."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lossdoctor.comparison.nouns import Comparison
from lossdoctor.model import LossDoctorError
from lossdoctor.reports import ENDINGS, Look, write


def _text(comparison: Comparison, look: Look) -> str:
    from lossdoctor.reports.comparison.text import render

    return render(comparison, color=look.color, width=look.width)


def _json(comparison: Comparison, look: Look) -> str:
    from lossdoctor.reports.comparison.json import render

    return render(comparison)


def _markdown(comparison: Comparison, look: Look) -> str:
    from lossdoctor.reports.comparison.markdown import render

    return render(comparison, figure=next(iter(look.figures), None))


def _html(comparison: Comparison, look: Look) -> str:
    from lossdoctor.reports.comparison.html import render

    return render(comparison)


#: Format name → renderer; each is imported when it is used.
FORMATS: dict[str, Callable[[Comparison, Look], str]] = {"text": _text, "json": _json, "markdown": _markdown, "html": _html}


def as_text(comparison: Comparison) -> str:
    """What the command line prints, without colours."""
    return _text(comparison, Look(color=False))


def save(comparison: Comparison, file: str | Path, output_format: str | None = None) -> None:
    """Writes a comparison to a file, in the format that is given, or that the ending of its name says, or else as text.

    The chart of Markdown is written beside it, as `NAME.svg`; a name that ends in .svg gets the chart alone.

    Raises:
        LossDoctorError: the file cannot be written, or there is nothing to draw in it.
    """
    path, look = Path(file), Look(color=False)
    wanted = output_format or ENDINGS.get(path.suffix.lower(), "text")
    if wanted in ("svg", "markdown"):
        from lossdoctor.reports.comparison.overlay import render

        picture = render(comparison)
        if wanted == "svg" and not picture:
            raise LossDoctorError(f"{path} was not written: no side has curves, nor a learning rate over known steps, to draw")
        if picture:
            write(path.with_suffix(".svg"), picture)
        if wanted == "svg":
            return
        look = Look(color=False, figures=(path.with_suffix(".svg").name if picture else None,))
    write(path, FORMATS.get(wanted, _text)(comparison, look))
