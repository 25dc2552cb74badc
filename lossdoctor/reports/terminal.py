"""What the reports for a terminal share: its width and colours, headings, and lines that hang from a mark."""

from __future__ import annotations

import os
import shutil
import sys

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

STYLES = {"critical": "bold red", "warning": "bold yellow", "info": "cyan", "healthy": "bold green", "insufficient": "bold"}
WIDEST, NARROWEST = 100, 40


def console_of(color: bool | None, width: int | None) -> Console:
    """A console whose output is captured; `color` and `width` None leave it to the terminal, NO_COLOR and COLUMNS."""
    terminal = sys.stdout.isatty() if color is None else color
    columns = width or (shutil.get_terminal_size().columns if terminal or "COLUMNS" in os.environ else 80)
    return Console(
        width=max(NARROWEST, min(WIDEST, columns)),
        force_terminal=terminal,
        force_jupyter=False,  # in a notebook rich would display every print by itself
        no_color=None if color is None else not color,
        highlight=False,
        soft_wrap=False,
        emoji=False,
    )


def padded(words: str, width: int) -> str:
    """Filled up with spaces to so many columns, of which a Korean letter takes two."""
    return words + " " * (width - cell_len(words))


def heading(console: Console, words: str) -> None:
    """A heading, with a line before it."""
    console.print()
    console.print(Text(words, "bold underline"))


def bullet(console: Console, mark: str, style: str, told: Text, indent: int = 2, before: int = 0) -> None:
    """A mark and what hangs from it."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, style), told)
    console.print(Padding(grid, (before, 0, 0, indent)))
