"""The colours of charts and pages, on a light and on a dark ground, told apart with any colour vision."""

from __future__ import annotations

from collections.abc import Mapping

#: Name → colour on a light and on a dark ground; blue, orange and green are those of M. Okabe and K. Ito (2008), darkened.
COLOURS = {
    "train": ("#0072b2", "#56b4e9"),
    "evaluation": ("#b36b00", "#f0ad2e"),
    "norm": ("#007a5a", "#2cc295"),
    "rate": ("#a3467d", "#dd9ac2"),
    "other": ("#5b5f97", "#a9adf0"),
    "critical": ("#c8321e", "#ff7a5c"),
    "warning": ("#8a6d00", "#f5d44c"),
    "healthy": ("#1b7f3b", "#5fd38a"),
    "ink": ("#4a5160", "#aab2c0"),
    "grid": ("#d9dde3", "#39404d"),
    "paper": ("#ffffff", "#11151c"),
}
#: What a page has besides: its ground, letters, edges, cards and blocks of code.
PAGE = {
    "back": ("#f6f7f9", "#0d1117"),
    "text": ("#1c2129", "#e4e8ee"),
    "soft": ("#5b6472", "#98a2b1"),
    "edge": ("#dfe3e8", "#2b323d"),
    "card": ("#ffffff", "#11151c"),
    "code": ("#eef1f5", "#1b212b"),
}
#: How the pages around a chart say which ground they have: reports of ours, JupyterLab, VS Code.
LIGHT = ('[data-theme="light"]', '[data-jp-theme-light="true"]', ".vscode-light")
DARK = ('[data-theme="dark"]', '[data-jp-theme-light="false"]', ".vscode-dark")


def of_chart() -> str:
    """The colours of a chart by itself: those of the system's ground, unless the page around it has its own."""
    chart = ".lossdoctor-chart"
    return _rules(COLOURS, chart, *(",".join(f"{ground} {chart}" for ground in grounds) for grounds in (LIGHT, DARK)))


def of_page() -> str:
    """The colours of a page of ours, for all that is on it."""
    return _rules({**COLOURS, **PAGE}, ":root", *(f":root{grounds[0]}" for grounds in (LIGHT, DARK)))


def _rules(colours: Mapping[str, tuple[str, str]], top: str, on_light: str, on_dark: str) -> str:
    light, dark = (";".join(f"--{name}:{pair[ground]}" for name, pair in colours.items()) for ground in (0, 1))
    rules = [f"{top}{{{light}}}", f"@media (prefers-color-scheme:dark){{{top}{{{dark}}}}}"]
    rules += [f"{on_light}{{{light}}}", f"{on_dark}{{{dark}}}"]
    rules += [f"{top} .line{{stroke:var(--c)}}", f"{top} .fill{{fill:var(--c)}}"]
    return "".join(rules + [f"{top} .{name}{{--c:var(--{name})}}" for name in COLOURS])


def stroke(colour: str) -> dict[str, str]:
    """Attributes of a line: a class for where styles are heeded, and the colour itself for where they are taken away."""
    return {"kind": f"{colour} line", "fill": "none", "stroke": COLOURS[colour][0]}


def fill(colour: str) -> dict[str, str]:
    """Attributes of a surface or of letters, likewise."""
    return {"kind": f"{colour} fill", "fill": COLOURS[colour][0]}
