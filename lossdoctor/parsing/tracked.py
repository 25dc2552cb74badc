"""What the readers of trackers' stores share: settings as they keep them, steps where log calls were counted, names of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from lossdoctor.facts.config_file import of_mapping
from lossdoctor.facts.literals import literal
from lossdoctor.language import say
from lossdoctor.model import Fact, Log, NothingToAnalyse
from lossdoctor.parsing.column_names import column
from lossdoctor.parsing.printable import printable
from lossdoctor.parsing.printed_lines import MOST_RUNS, log
from lossdoctor.parsing.rows import emptied

#: So many values are read of one store: a run with ten columns and 500,000 rows, or a thousand shorter ones.
MOST_VALUES = 5_000_000
#: What a tracker measures of the machine, with steps of its own.
OF_THE_MACHINE = ("system/", "system.")


class Kept(NamedTuple):
    """A run as a store keeps it; `rows` are taken once."""

    id: str
    name: str
    facts: Mapping[str, Fact]
    rows: Iterable[Mapping[str, Any]]
    notes: Sequence[str] = ()


def logs(kind: str, where: str, runs: Iterable[Kept], notes: Sequence[str] = ()) -> list[Log]:
    """The runs that have a number in their rows, each titled by its name; those of one name are told apart by their ids.

    Raises:
        NothingToAnalyse: there is none.
    """
    found = [(run, made) for run in runs for made in log(kind, run.rows, run.facts, (*notes, *run.notes))]
    if not found:
        raise NothingToAnalyse(f"{where} holds no run with a number: nothing to analyse")
    names = [printable(run.name) for run, _ in found]
    several = Counter(names)
    titles = [
        name if name and several[name] == 1 else f"{name} {printable(run.id)[:8]}".strip()
        for name, (run, _) in zip(names, found, strict=True)
    ]
    return [replace(made, run=replace(made.run, name=title)) for title, (_, made) in zip(titles, found, strict=True)]


def newest(
    runs: Sequence[Any], rows_of: Callable[[Any], Iterable[dict[str, Any]]]
) -> tuple[list[tuple[Any, list[dict[str, Any]]]], tuple[str, ...]]:
    """The runs with their rows, the oldest first; of more than fit into memory the newest ones, and a note that says so."""
    kept: list[tuple[Any, list[dict[str, Any]]]] = []
    left = MOST_VALUES
    notes: tuple[str, ...] = ()
    if len(runs) > MOST_RUNS:
        runs, notes = (
            runs[-MOST_RUNS:],
            (
                say(
                    "of {number_of_runs:,} runs only the newest {most_runs:,} were read",
                    number_of_runs=len(runs),
                    most_runs=MOST_RUNS,
                ),
            ),
        )
    for run in reversed(runs):
        rows: list[dict[str, Any]] = []
        kept.append((run, rows))
        for row in rows_of(run):
            rows.append(row)
            left -= len(row)
            if left <= 0:
                return kept[::-1], (
                    *notes,
                    say("the store is too large: older runs, or later rows, were left out"),
                )
    return kept[::-1], notes


def settings(values: Mapping[Any, Any], source: str, *, as_text: bool = False) -> dict[str, Fact]:
    """The facts among the settings of a run: the arguments and the model's configuration, which the Trainer mixes.

    With `as_text`, every value was made text: None, dictionaries and lists become what they were.
    """
    named = {str(name): literal(str(value), bare=True) if as_text else value for name, value in values.items()}
    named.setdefault("model_name_or_path", named.get("_name_or_path"))
    if str(named.get("loss_type")).startswith("For"):  # that of the model, by its class; a trainer's own has another name
        del named["loss_type"]
    return of_mapping({name: value for name, value in named.items() if not name.startswith("_")}, source)


def columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were logged in one call as a row of the Trainer's; what a tracker adds by itself is left out.

    Of two that come to the same name (`loss` beside `train/loss`) the one that has it already counts, in whatever order they are.
    """
    return {known: values[name] for known, name in _called(tuple(values)) if values[name].__class__ not in (dict, list)}


@lru_cache(maxsize=256)
def _called(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """What columns are called, the one that counts last; most rows have the same."""
    own = [name for name in names if not name.startswith(("_", *OF_THE_MACHINE))]
    return tuple((known, name) for known, _, name in sorted((column(name), column(name) == name, name) for name in own))


def with_steps(rows: list[dict[str, Any]], tracker: str) -> tuple[Iterator[Mapping[str, Any]], tuple[str, ...]]:
    """The rows with the global step that was logged, or else with the tracker's own (`_step`); and what is to be said of it."""
    notes: tuple[str, ...] = ()
    if not any("step" in row for row in rows):
        counted = [row["_step"] for row in rows]
        for row, step in zip(rows, counted, strict=True):
            row["step"] = step
        if counted and counted == list(range(counted[0], counted[0] + len(counted))):
            notes = (
                say("no global step was logged: the steps are those of {tracker}, which count its log calls", tracker=tracker),
            )
    return emptied(rows), notes


def without_standing_steps(rows: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The rows; where all of several were logged at step 0, because nobody gave one, they are left to be numbered."""
    trained = [row for row in rows if "loss" in row]
    if len(trained) > 1 and all(row["step"] == 0 for row in trained):
        for row in rows:
            del row["step"]
    return emptied(rows)
