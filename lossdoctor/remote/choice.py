"""Which files of a remote folder are copied: its newest log, and the small files that state settings. Never weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from lossdoctor import facts
from lossdoctor.facts.files import LARGEST as LARGEST_FACTS
from lossdoctor.language import say
from lossdoctor.model import LossDoctorError
from lossdoctor.readers.folder import EVENTS, LATER, PUSHED, RUNS, STATE, checkpoint_step
from lossdoctor.remote.place import Entry, Place, is_safe

#: Other logs, the surest first: what tools keep under names of their own, then tables, printed text, notebooks, model cards.
OTHERS = (
    *("trainer_log.jsonl", "logging.jsonl", "log_history.json", "*log_history*.json", "metrics.jsonl", "*log*.jsonl"),
    *("metrics.csv", "*log*.csv", "*metrics*.csv", "*.wandb", "log.txt", "train*.txt", "*log*.txt", "*.log", "*.out"),
    *("*.ipynb", "README.md"),
)
#: Checkpoints named, run folders and other folders looked into, and files of facts taken from one folder.
MOST_CHECKPOINTS, MOST_RUNS, MOST_BELOW, MOST_FACTS = 2_000, 128, 12, 16
#: A larger file that only has the name of a log may be a whole data set.
LARGEST_GUESS = 64 * 1024 * 1024
_STARTED = re.compile(r"tfevents\.(\d{9,11})\b")


class Candidate(NamedTuple):
    """Files of a log that are there, below the top of a place; a `guessed` one may be something else."""

    names: tuple[str, ...]
    files: tuple[Entry, ...]
    guessed: bool = False
    single: bool = False
    note: str = ""

    @property
    def written(self) -> float:
        """When one of them was last written to; 0 where that is not known, as on the Hub."""
        return max(entry.written or 0.0 for entry in self.files)


def candidates(place: Place) -> Iterator[Candidate]:
    """The logs at the address, one or, where their names say little, several in the order in which they are tried."""
    if not place.is_folder():
        yield _file(place)
        return
    inside = _climb(place, place.address.parts)
    state, run = _newest_state(place, inside), _newest_run(place, inside)
    if run is not None and (state is None or _goes_on(run, state)):
        yield run
    elif state is not None:
        yield state
    else:
        yield from _others(place, inside)


def copied(place: Place, candidate: Candidate) -> Path:
    """A log copied into the mirror of the place, with the facts beside it, and an empty folder for every checkpoint."""
    names = candidate.names
    paths = [place.copy(entry, *names) for entry in candidate.files]
    steps = {name: step for name in place.folders() if (step := checkpoint_step(name)) is not None}
    saved = sorted(steps, key=lambda name: steps[name])[-MOST_CHECKPOINTS:]
    for name in saved:
        place.mirror.joinpath(name).mkdir(exist_ok=True)
    for folder in dict.fromkeys([names, (), *((name,) for name in saved[-1:])]):
        _facts(place, folder)
    return paths[0].parent if _is_events(paths[0].name) and not candidate.single else paths[0]


def found_nothing(place: Place, tried: Sequence[str]) -> str:
    """The error for a folder without a log; folders in it that hold one are named."""
    below = []
    for name in list(place.folders())[:MOST_BELOW]:
        files = place.files(name)
        if STATE in files or any(_is_events(file) for file in files):
            below.append(name)
    given = place.address.given
    if below:
        return f"{given} holds no log itself, but these folders in it do: {', '.join(below)}; name one"
    what = f"; tried {', '.join(tried)}" if tried else ""
    return f"{given} holds no {STATE}, no event files and no other log that is known{what}"


def _file(place: Place) -> Candidate:
    """The one file that the address names."""
    *above, name = place.address.parts
    if place.address.web:
        name = name.partition("?")[0].partition("#")[0]
        return Candidate((), (Entry(name if is_safe(name) else "log", place.address.path, False, 0, None),), single=True)
    names = _climb(place, tuple(above))
    entry = place.files(*names).get(name)
    if entry is None:
        raise LossDoctorError(f"{place.address.given}: no file of that name is listed there, or it cannot be one here")
    return Candidate(names, (entry,), single=True)


def _climb(place: Place, parts: tuple[str, ...]) -> tuple[str, ...]:
    """Makes the output folder of the run the top, and gives the names below it: those of a checkpoint, or of a run's events."""
    free = len(parts) - place.address.fixed
    depth = 0
    if free >= 1 and (checkpoint_step(parts[-1]) is not None or parts[-1] == PUSHED):
        depth = 1
    elif free >= 2 and parts[-2] == RUNS:
        depth = 2
    place.top = ("/" if place.address.path.startswith("/") else "") + "/".join(parts[: len(parts) - depth])
    return parts[len(parts) - depth :]


def _newest_state(place: Place, inside: tuple[str, ...]) -> Candidate | None:
    """The state file of the folder itself, unless that of the last checkpoint is known to be newer."""
    own = place.files(*inside).get(STATE)
    found = Candidate(inside, (own,)) if own else None
    if inside:
        return found
    steps = {name: step for name in place.folders() if (step := checkpoint_step(name)) is not None}
    for name in (*sorted(steps, key=lambda name: steps[name])[-1:], PUSHED):
        if entry := place.files(name).get(STATE):
            saved = Candidate((name,), (entry,))
            return found if found and not (found.written and saved.written > found.written) else saved
    return found


def _newest_run(place: Place, inside: tuple[str, ...]) -> Candidate | None:
    """The event files that were begun last: in the folder itself, or in those below `runs`."""
    folders: list[tuple[str, ...]] = [inside]
    note = ""
    if not inside:
        runs = sorted(place.folders(RUNS))
        if len(runs) > MOST_RUNS:
            note = say(
                "of {number_of_runs:,} folders below {runs} the last {most_runs} by name were looked at",
                number_of_runs=len(runs),
                runs=RUNS,
                most_runs=MOST_RUNS,
            )
        folders += [(RUNS,), *((RUNS, name) for name in runs[-MOST_RUNS:])]
    found = []
    for names in folders:
        if files := tuple(entry for name, entry in sorted(place.files(*names).items()) if _is_events(name)):
            found.append(Candidate(names, files, note=note))
    return max(found, key=lambda run: max(map(_begun, run.files)), default=None)


def _is_events(name: str) -> bool:
    return fnmatchcase(name, EVENTS)


def _begun(entry: Entry) -> float:
    """When an event file was begun, by its name."""
    match = _STARTED.search(entry.name)
    return float(match[1]) if match else entry.written or 0.0


def _goes_on(run: Candidate, state: Candidate) -> bool:
    """Whether event files go on where the state has ended, as far as it is known when they were written."""
    return bool(state.written) and run.written > state.written + LATER and find_spec("tensorboard") is not None


def _others(place: Place, inside: tuple[str, ...]) -> Iterator[Candidate]:
    """Logs by their names, each once; those of W&B lie in a folder of their own."""
    seen: set[str] = set()
    files = place.files(*inside)
    for pattern in OTHERS:
        for name, entry in sorted(files.items()):
            if (
                name not in seen
                and entry.size <= LARGEST_GUESS
                and fnmatchcase(name if pattern == "README.md" else name.lower(), pattern)
            ):
                seen.add(name)
                yield _guess(inside, entry)
        if pattern == "*.wandb" and not inside:
            runs = (name for name in place.folders("wandb") if "run-" in name)
            for run in sorted(runs, key=lambda name: name.partition("run-")[2])[-1:]:
                found = place.files("wandb", run).values()
                yield from (_guess(("wandb", run), entry) for entry in found if entry.name.endswith(".wandb"))


def _guess(names: tuple[str, ...], entry: Entry) -> Candidate:
    return Candidate(
        names, (entry,), guessed=True, single=True, note=say("read from {text}", text="/".join((*names, entry.name)))
    )


def _facts(place: Place, names: tuple[str, ...]) -> None:
    wanted = [entry for name, entry in place.files(*names).items() if facts.is_source(name) and entry.size <= LARGEST_FACTS]
    for entry in wanted[:MOST_FACTS]:
        place.copy(entry, *names, most=LARGEST_FACTS)
