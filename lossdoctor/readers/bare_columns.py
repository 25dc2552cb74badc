"""Numbers alone: two columns of steps and losses, or one of losses."""

from __future__ import annotations

import re
from itertools import islice

from lossdoctor.model import Log, NothingToAnalyse
from lossdoctor.parsing import table_logs
from lossdoctor.parsing.printed_lines import lines
from lossdoctor.parsing.source import Source

KIND = "bare_columns"
_LOSS = r"[-+]?(?:\d{1,12}\.\d{0,30}(?:[eE][-+]?\d{1,4})?|\d{1,12}(?:[eE][-+]?\d{1,4})?|nan|inf(?:inity)?)"
TWO = re.compile(rf"\s{{0,20}}(\d{{1,12}})(?:[ \t]{{1,20}}|[ \t]{{0,20}}[,;:][ \t]{{0,20}})({_LOSS})[ \t]{{0,20}}", re.I)
ONE = re.compile(rf"\s{{0,20}}({_LOSS})[ \t]{{0,20}},?", re.I)
#: Fewer lines of numbers may be anything.
FEWEST, FEWEST_ALONE = 3, 5
#: So many lines are read to recognise them; of the others it is enough that no other characters are in them.
LOOKED_AT = 200
_CHARACTERS = re.compile(r"[-+\d\s.,;:eEnaifNAIFtyTY]*")


def recognise(source: Source) -> bool:
    """Every line is a step and a loss, with rising steps; or a loss, and they are not all whole numbers."""
    if source.magic or not source.text or _rows(source.text, LOOKED_AT) is None:
        return False
    return _CHARACTERS.fullmatch(source.text) is not None


def read(source: Source) -> list[Log]:
    """One run; losses alone are numbered.

    Raises:
        NothingToAnalyse: a line holds something else than numbers.
    """
    rows = _rows(source.take())
    if rows is None:
        raise NothingToAnalyse(f"{source.name} is no list of losses: nothing to analyse")
    return table_logs.one(KIND, rows)


def _rows(text: str, most: int | None = None) -> list[dict[str, float]] | None:
    """The rows; None where a line is something else, unless it is the last and cut off."""
    rows: list[dict[str, float]] = []
    pattern, fractions = ONE, False
    for line in islice(lines(text), most):
        pattern = pattern if rows or not TWO.fullmatch(line.text) else TWO
        match = pattern.fullmatch(line.text)
        if match is None and rows and line.start + len(line.text) == len(text):
            break
        if match is None:
            return None
        *step, loss = match.groups()
        row = {"step": float(step[0]), "loss": float(loss)} if step else {"loss": float(loss)}
        if rows and step and row["step"] <= rows[-1]["step"]:
            return None
        fractions = fractions or not loss.isdecimal()
        rows.append(row)
    return rows if fractions and len(rows) >= (FEWEST if pattern is TWO else FEWEST_ALONE) else None
