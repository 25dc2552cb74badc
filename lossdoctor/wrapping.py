"""Text in lines of so many columns, of which a Korean letter takes two; broken between words."""

from __future__ import annotations

from unicodedata import east_asian_width


def cells(words: str) -> int:
    """The columns that a text takes in a terminal."""
    return len(words) if words.isascii() else sum(2 if east_asian_width(letter) in "WF" else 1 for letter in words)


def wrapped(words: str, width: int, first: str = "") -> str:
    """The text in lines of at most `width` columns; what comes `first` stands before it, and the rest hangs below it."""
    line, room = first, 0
    lines: list[str] = []
    for word in words.split():
        if room and cells(line) + 1 + cells(word) > width:
            lines.append(line)
            line, room = " " * cells(first), 0
        line += " " * bool(room) + word
        room = 1
    return "\n".join([*lines, line])
