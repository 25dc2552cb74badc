"""HTML and SVG elements as strings: what comes from outside is escaped in one place."""

from __future__ import annotations

from html import escape

_NAMES = {"kind": "class"}


def element(name: str, *inside: str, **attributes: object) -> str:
    """`<name attribute="…">inside</name>`: what is inside is markup already, attributes are escaped and left out where None.

    `kind` stands for class, and an underscore in a name for a hyphen.
    """
    given = {_NAMES.get(key, key): value for key, value in attributes.items() if value is not None}
    opening = "".join(f' {key.replace("_", "-")}="{escape(_short(value))}"' for key, value in given.items())
    return f"<{name}{opening}>{''.join(inside)}</{name}>" if inside else f"<{name}{opening}/>"


def text(words: object) -> str:
    """Words as markup: they can open no element and end no attribute."""
    return escape(str(words))


def _short(value: object) -> str:
    """A length with a tenth of a pixel at most."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
