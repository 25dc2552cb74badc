"""CSV files of any origin, with commas, semicolons or tabs: a header that names a loss, and rows of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from lossdoctor.language import later, say
from lossdoctor.model import Log, NothingToAnalyse
from lossdoctor.parsing import charts, csv_lines, csv_roles, csv_runs, table_logs
from lossdoctor.parsing.cells import blank, columns, decimal_commas, is_loss, number
from lossdoctor.parsing.printable import printable
from lossdoctor.parsing.printed_lines import MOST_RUNS, last_runs, which, with_numbers
from lossdoctor.parsing.source import Source
from lossdoctor.readers import lightning_csv, notebook_table, wandb_csv

KIND = "plain_csv"
#: Rows from which it is told what the columns are, and whether commas stand before decimals; so many of them are whole.
SAMPLE, FITTING = 1_000, 0.8
CUT = later("the last line is cut off and was left out")
#: What TensorBoard gives to download, a file for each chart: only the file's name tells which one, by these words.
DOWNLOADED = ["Wall time", "Step", "Value"]


def recognise(source: Source) -> bool:
    """The first line names a loss among its columns, or a metric and its value; most of the lines below have numbers there.

    No other dialect knows the header, and the rows are no results of several runs.
    """
    found = csv_lines.header(source)
    if found is None:
        return False
    names = _names(source, found)
    sample = csv_lines.sample(source, found, SAMPLE)
    if found.cells != DOWNLOADED and not any(map(is_loss, names)) and csv_roles.roles(found.cells, sample).metric is None:
        return False
    rows = sample[:-1] or sample
    if sum(_fits(names, cells, found.delimiter) for cells in rows) < FITTING * len(rows) or not rows:
        return False
    if csv_roles.of_results(found.cells, [cells for cells in sample if len(cells) >= len(names)]):
        return False
    return not any(other.recognise(source) for other in (notebook_table, lightning_csv, wandb_csv))


def read(source: Source) -> list[Log]:
    """Every run in the file, by the columns that name it; of those without a name one begins where the steps are at the first.

    Raises:
        NothingToAnalyse: there is not one number in the rows.
    """
    found = csv_lines.header(source)
    if found is None:
        raise NothingToAnalyse(f"{source.name} has no header: nothing to analyse")
    sample = csv_lines.sample(source, found, SAMPLE)
    comma = found.delimiter != "," and decimal_commas(chain.from_iterable(sample))
    names, known = _names(source, found), csv_roles.roles(found.cells, sample)
    parts = csv_runs.totals(found.cells, names)
    text = source.take()
    rows: dict[tuple[str, ...], list[csv_runs.Values]] = {}
    last: tuple[str, ...] = ()
    for cells in csv_lines.rows(text, found):
        if values := csv_runs.with_totals(csv_roles.values(names, cells, known, comma), parts):
            last = known.run(cells)
            rows.setdefault(last, []).append(values)
    notes = [say("there is no total: {name} is the sum of {parts}", name=name, parts=", ".join(of)) for name, of in parts.items()]
    if found.cells == DOWNLOADED:
        notes.append(say("the column Value is taken for {names}", names=names[-1]))
    torn = _torn(text, names, found.delimiter)
    if torn and (len(rows) > 1 or len(rows.get(last, ())) > 1):
        rows[last].pop()
    made: list[Log] = []
    named = list(rows)[-MOST_RUNS:]
    if len(named) < len(rows):
        notes.append(
            say(
                "{number_of_rows:,} runs are in the file: only the last {most_runs:,} were read",
                number_of_rows=len(rows),
                most_runs=MOST_RUNS,
            )
        )
    for run, title in _titles([found.cells[place] for place in known.runs], named):
        of_run = csv_runs.joined(rows[run]) if known.split is not None or known.metric is not None else rows[run]
        made += _logs(of_run, title, [*([say(CUT)] if torn and run == last else ()), *notes])
    return with_numbers(made, source.name)


def _logs(rows: Sequence[csv_runs.Values], title: str, notes: Sequence[str]) -> Iterator[Log]:
    """The runs among the rows of one name; what is said of the end of a file is said of the last of them."""
    several, counted_on = csv_runs.several(rows)
    several, fewer = last_runs(several)
    for place, run in enumerate(several, 1):
        told = (
            [note for note in notes if note != say(CUT) or place == len(several)]
            + [say(csv_runs.COUNTED_ON)] * counted_on
            + fewer
        )
        titles = filter(None, (title, which(place, len(several))))
        yield from table_logs.one(KIND, run, ", ".join(titles), notes=told)


def _titles(header: Sequence[str], runs: Sequence[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The runs, and what they are called: by what is not the same in all of them; a number with the name of its column."""
    differ = [len(set(cells)) > 1 for cells in zip(*runs, strict=True)]
    for run in runs:
        told = [(name, cell) for name, cell, tells in zip(header, run, differ, strict=True) if tells]
        yield run, printable(" ".join(cell if number(cell) is None else f"{name} {cell}" for name, cell in told))


def _names(source: Source, found: csv_lines.Header) -> tuple[str, ...]:
    """The Trainer's names of the columns; W&B's own count of log calls is the step where there is no other."""
    if found.cells == DOWNLOADED:
        return ("wall_time", "step", charts.column(source.name))
    names = columns(found.cells)
    return names if "step" in names else tuple("step" if name == "_step" else name for name in names)


def _fits(names: tuple[str, ...], cells: list[str], delimiter: str) -> bool:
    """Whether a line may be a row: the cells of its losses hold a number or nothing. What is too much must be empty."""
    if len(cells) < len(names) or any(map(str.strip, cells[len(names) :])):
        return False
    held = [cell for name, cell in zip(names, cells, strict=False) if is_loss(name)]
    return all(blank(cell) or number(cell, delimiter != ",") is not None for cell in held)


def _torn(text: str, names: tuple[str, ...], delimiter: str) -> bool:
    """Whether the last line has fewer cells than the header: it was cut off, or is being written."""
    if text.endswith(("\n", "\r")):
        return False
    return len(csv_lines.cells(text[text.rfind("\n") + 1 :], delimiter)) < len(names)
