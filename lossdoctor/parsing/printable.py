"""Words of a store or a column, as they can be shown: on one line, of a sane length."""

from __future__ import annotations

#: What a store calls a run, or says of itself, is cut here.
LONGEST = 80


def printable(words: object) -> str:
    """Somebody's words on one line, without what would steer a terminal; nothing for None."""
    line = " ".join(str("" if words is None else words).split())
    return "".join(letter for letter in line[:LONGEST] if letter.isprintable())
