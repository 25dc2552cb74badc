"""The cells of a table: numbers as people and programs write them, and headers under the Trainer's names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lossdoctor.parsing.column_names import KNOWN, column

#: What stands in a cell without a number; the Trainer itself writes "No log".
BLANK = frozenset({"", "-", "--", "—", "–", "…", "...", "no log", "n/a", "na", "none", "null", "<na>"})
MOST_COLUMNS = 200
#: The training loss in the tables of Trainers.
TRAINED = "Training Loss"
LOSSES = ("loss", "eval_loss", "train_loss")
_NUMBER = re.compile(r"[-+]?(?:\d{1,60}(?:\.\d{0,60})?|\.\d{1,60})(?:[eE][-+]?\d{1,5})?|[-+]?(?:nan|inf|infinity)", re.I)
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3}){1,6}(?:\.\d{0,60})?")
_COMMA = re.compile(r"[-+]?(?:\d{1,3}(?:\.\d{3}){1,6}|\d{1,60}),\d{1,60}(?:[eE][-+]?\d{1,5})?")
_DOTS = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3}){1,6}")
#: What people put behind a number: "0.41 ✓", "0.38 (best)", "0.40 ← lowest", and a step among all of them: "3/10", "Epoch 3".
_REMARKED = re.compile(r"([-+]?\d{1,60}(?:[.,]\d{0,60})?(?:[eE][-+]?\d{1,5})?)\s{1,5}[^\d.,%/]{1,30}")
_AMONG = re.compile(r"(?:epoch|step)?\s{0,3}(\d{1,12})(?:\s?/\s?\d{1,12})?", re.I)
_MARKUP = str.maketrans("", "", "*`")
_BLANKS = re.compile(r"\s+")


def blank(cell: str) -> bool:
    """Whether nothing was measured, as far as the cell tells."""
    return cell.translate(_MARKUP).strip().lower() in BLANK


def number(cell: str, comma: bool = False) -> float | None:
    """The number in a cell: "1,234", "1.2e-5", "**0.5**", "45%" as a share, "nan"; with decimal commas "0,25". Else None."""
    if not cell:
        return None
    if not comma and cell[-1].isdigit() and "_" not in cell:  # most cells by far
        try:
            return float(cell)
        except ValueError:
            pass
    plain = cell.translate(_MARKUP).strip().replace("\u2212", "-")
    share = plain.endswith("%")
    plain = plain[:-1].rstrip() if share else plain
    if comma and (_COMMA.fullmatch(plain) or _DOTS.fullmatch(plain)):
        plain = plain.replace(".", "").replace(",", ".")
    elif "," in plain and _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    if not _NUMBER.fullmatch(plain):
        return None
    return float(plain) / 100 if share else float(plain)


def held(name: str, cell: str, comma: bool = False) -> float | None:
    """The number in a cell of this column, also with a remark behind it, or as a step among all."""
    value = number(cell, comma)
    if value is None and name in KNOWN:
        plain = cell.translate(_MARKUP).strip()
        remarked = _REMARKED.fullmatch(plain)
        among = _AMONG.fullmatch(plain) if name in ("step", "epoch") else None
        value = number(remarked[1], comma) if remarked else float(among[1]) if among else None
    return value


def decimal_commas(cells: Iterable[str]) -> bool:
    """Whether commas in these cells stand before decimals: in at least one of them no thousands can be meant."""
    plain = (cell.translate(_MARKUP).strip().rstrip("% ") for cell in cells if "," in cell)
    return any(_COMMA.fullmatch(cell) and not _THOUSANDS.fullmatch(cell) for cell in plain)


def columns(header: Sequence[str]) -> tuple[str, ...]:
    """The Trainer's names of the columns: beside an evaluation loss, "Rouge1" and "Gen Len" are `eval_rouge1` and `eval_gen_len`.

    Beside a "Training Loss", other losses are those of evaluation sets; without an evaluation, a test is one. A column that had
    its name before has none.
    """
    plain = [_BLANKS.sub(" ", cell.translate(_MARKUP).replace(" / ", "/")).strip() for cell in header[:MOST_COLUMNS]]
    names = [column(cell) for cell in plain]
    if TRAINED in plain and (others := [cell for cell in plain if cell == "loss" or cell.endswith(" loss")]):
        names = [_of_sets(name, cell, others) for name, cell in zip(names, plain, strict=True)]
    if "test_loss" in names and not any(name.startswith("eval_") for name in names):
        names = [f"eval_{name[5:]}" if name.startswith("test_") else name for name in names]
    if "eval_loss" in names:
        names = [_of_evaluation(name, cell) for name, cell in zip(names, plain, strict=True)]
    return tuple(name if name not in names[:place] else "" for place, name in enumerate(names))


def _of_sets(name: str, cell: str, losses: Sequence[str]) -> str:
    """In the tables of Sentence Transformers the loss of an evaluation set has its name before it, or none; so have metrics."""
    if cell in losses:
        return "eval_" + cell.replace(" ", "_")
    return name if name in KNOWN or name.startswith("eval_") else f"eval_{name}"


def _of_evaluation(name: str, cell: str) -> str:
    """The Trainer's tables have the metrics of evaluations by their names, in capitals and without what stands before them."""
    own = name in KNOWN or name.startswith(("eval_", "train")) or not cell[:1].isupper() or cell.lower().startswith("train")
    return name if own else "eval_" + cell.lower().replace(" ", "_")


def is_loss(name: str) -> bool:
    """Whether a column of this name holds a loss, also that of one of several evaluation sets."""
    return name in LOSSES or (name.startswith("eval_") and name.endswith("_loss"))


def of_log(names: Sequence[str]) -> bool:
    """Whether a table with these columns may be a log: it has a loss, and steps or epochs."""
    return any(map(is_loss, names)) and ("step" in names or "epoch" in names)


def row(names: Sequence[str], cells: Sequence[str], comma: bool = False) -> dict[str, float] | None:
    """The numbers of a row; None where a column that is known holds something else, or the step or epoch is missing."""
    values: dict[str, float] = {}
    for name, cell in zip(names, cells, strict=False):
        value = held(name, cell, comma) if name else None
        if value is not None:
            values[name] = value
        elif name in KNOWN and not blank(cell):
            return None
    place = position(values)
    return values if place is not None and 0 <= place < 2**53 else None


def position(values: dict[str, float]) -> float | None:
    """The step of a row, or else its epoch."""
    return values.get("step", values.get("epoch"))
