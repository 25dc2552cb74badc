"""The tables in Markdown, and the rows on which some peer is ahead of lossdoctor, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from table import markdown

from peer.protocol import Tool
from peer.scoring import OURS, Line

#: Why a peer is ahead: by the peer ("" is any) and a part of "section: row". The first that fits is printed.
REASONS: Sequence[tuple[str, str, str]] = (
    ("adwin", "cost: one log", "one statistic of one number; lossdoctor asks all its detectors about every column"),
    ("trainpulse", "cost: one log", "comparisons with fixed thresholds, and no memory of the curve but its mean and its best"),
    ("trainproof", "cost: one log", "it looks at every 25th step only; what that costs grows with the log"),
    ("", "whole process", "most of it is the start: numpy, rich and the readers are loaded (see benchmarks/speed.py)"),
    (
        "",
        "in a process that runs",
        "fewer questions are asked; here every detector looks, then the cause is sought and what to change worked out",
    ),
    (
        "",
        "a whole step",
        "it reads the log alone; lossdoctor sees the loss and the labels of every micro-batch and every gradient as well",
    ),
    ("finetune_doctor", "plateau_high", "where rows scatter so much that a descent may hide, lossdoctor leaves it at a note"),
    ("trainproof", "plateau_high", "where rows scatter so much that a descent may hide, lossdoctor leaves it at a note"),
)
#: A peer that accuses so many more healthy runs of a group, or finds so many fewer faults, is ahead for that reason.
CARELESS = 0.05
ACCUSED, GROWING, FOUND = "healthy runs accused", "healthy runs accused while the log grows", "faults found"


def table(lines: Sequence[Line], tools: Mapping[str, Tool], head: str = "") -> str:
    """A row per question; the best of each in bold."""
    rows = []
    for line in lines:
        values = [cell.value for cell in line.cells.values() if cell.value is not None]
        best = (max if line.better == "more" else min)(values, default=None)
        worth = len(values) > 1 and len(set(values)) > 1
        texts = [f"**{c.text}**" if worth and c.value == best and c.value is not None else c.text for c in line.cells.values()]
        rows.append([line.name, *texts])
    return markdown([head, *(tool.title for tool in tools.values())], rows, range(1, len(tools) + 1))


def ahead(lines: Iterable[Line], tools: Mapping[str, Tool]) -> list[tuple[str, str]]:
    """Every row on which a peer does better, with its figures, and the reason; an empty reason is one that is owed."""
    lines = list(lines)
    found = []
    for line in lines:
        for name in line.ahead():
            figures = f"{tools[name].title} {line.cells[name].text}, lossdoctor {line.cells[OURS].text}"
            found.append((f"{line.section}: {line.name}: {figures}", reason(name, line, lines)))
    return found


def reason(name: str, line: Line, lines: Sequence[Line]) -> str:
    """What is written down for this row, or what the peer pays for it elsewhere in the same group."""
    place = f"{line.section}: {line.name}"
    for tool, part, why in REASONS:
        if tool in ("", name) and part in place:
            return why
    eager = line.better == "more" or "onset" in line.name
    asked = ((GROWING, ACCUSED) if "onset" in line.name or "grows" in line.name else (ACCUSED, GROWING)) if eager else (FOUND,)
    for question in asked:
        other = next((x for x in lines if (x.section, x.name) == (line.section, question)), None)
        if other is None:
            continue
        theirs, ours = other.cells[name], other.cells[OURS]
        more = (theirs.value or 0) - (ours.value or 0)
        if eager and more > CARELESS:
            return f"{question}: {theirs.text}, lossdoctor {ours.text}"
        if not eager and -more > CARELESS:
            return f"it says less: {question} {theirs.text}, lossdoctor {ours.text}"
    return ""


def listed(found: Sequence[tuple[str, str]]) -> str:
    """The same as a list."""
    if not found:
        return "No peer is ahead on any row.\n"
    return "".join(f"- {row}. {'Reason: ' + why + '.' if why else '**No reason known.**'}\n" for row, why in found)
