"""A checkpoint, an output or a TensorBoard folder: the newest log in it, and the checkpoints beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from lossdoctor.confinement import is_file_of, lies_in
from lossdoctor.model import Checkpoint, LossDoctorError
from lossdoctor.rotation import ASIDE

STATE = "trainer_state.json"
EVENTS = "*tfevents*"
#: The folder of the newest checkpoint as the Trainer pushes it to the Hub.
PUSHED = "last-checkpoint"
#: The folder in an output folder where the Trainer's runs have a folder each for their event files.
RUNS = "runs"
#: Seconds by which event files outlast the state of the last checkpoint at the end of any run: its summary comes after it.
LATER = 60
_CHECKPOINT = re.compile(r"checkpoint-(\d+)$")
_KEPT = re.compile(rf"(?:{ASIDE})?checkpoint-(\d+)$")


def checkpoints(folder: Path) -> tuple[Checkpoint, ...]:
    """The `checkpoint-N` folders in an output folder, by step; also one that the callback has put aside."""
    found = []
    try:
        for entry in folder.iterdir():
            step = checkpoint_step(entry.name)
            if step is not None and entry.is_dir():
                found.append(Checkpoint(step, str(entry)))
    except OSError:
        return ()
    return tuple(sorted(found, key=lambda c: c.step))


def checkpoint_step(name: str) -> int | None:
    """The step of a checkpoint by the name of its folder; None where it is none."""
    match = _KEPT.match(name)
    return int(match[1]) if match else None


def output_folder(log: Path) -> Path:
    """The output folder of the run that a state file, or a folder of event files, belongs to."""
    folder = log if log.is_dir() else log.parent
    if folder.parent.name == RUNS and log.name != STATE:
        return folder.parent.parent
    if not _CHECKPOINT.match(folder.resolve().name) and folder.name != PUSHED:
        return folder
    return folder.parent if folder.name else folder.resolve().parent  # "." has no name to climb from


def event_files(folder: Path) -> list[Path]:
    """The event files of one run: those in the folder itself, oldest first, as TensorBoard orders them."""
    return sorted(path for path in folder.glob(EVENTS) if is_file_of(path, folder))


def newest_log(folder: Path) -> Path:
    """The log of a folder: its newest state file, or the folder of event files that goes on where that one has ended.

    A state file has more digits, but it is as old as the last checkpoint: what broke after it is in the event files alone.

    Raises:
        LossDoctorError: there is none; runs further down are named.
    """
    events = newest_run((folder, *(run for run in folder.glob(f"{RUNS}/*") if lies_in(run, folder))))
    try:
        state = newest_state(folder)
    except LossDoctorError:
        if events is not None:
            return events.folder
        if below := sorted(run.name for run in folder.glob("*") if lies_in(run, folder) and event_files(run)):
            several = f"{folder} holds the event files of several runs: {_some(below)}; {_choose(folder)}"
            raise LossDoctorError(several) from None
        raise
    if events is not None and events.written > state.stat().st_mtime + LATER and find_spec("tensorboard"):
        return events.folder
    return state


class EventFolder(NamedTuple):
    """A folder of event files, and when one of them was last written to, in seconds since 1970."""

    written: float
    folder: Path


def newest_run(folders: Iterable[Path]) -> EventFolder | None:
    """The one of these folders whose event files were written last; None where none has any."""
    found = ((event_files(folder), folder) for folder in folders)
    runs = (EventFolder(max(file.stat().st_mtime for file in files), folder) for files, folder in found if files)
    return max(runs, default=None)


def _choose(folder: Path) -> str:
    return f"name one of them; lossdoctor analyze {folder} takes them all"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


def newest_state(folder: Path) -> Path:
    """The state file of a folder that was written last: in the newest checkpoint, or in the folder itself if that is newer.

    Raises:
        LossDoctorError: there is none; runs further down are named.
    """
    in_checkpoints = [state for c in checkpoints(folder) if is_file_of(state := Path(c.path) / STATE, folder)]
    own = folder / STATE
    if is_file_of(own, folder):
        newest = in_checkpoints[-1] if in_checkpoints else own
        return own if newest.stat().st_mtime <= own.stat().st_mtime else newest
    if in_checkpoints:
        return in_checkpoints[-1]
    if is_file_of(pushed := folder / PUSHED / STATE, folder):
        return pushed
    states = [*folder.glob(f"*/{STATE}"), *folder.glob(f"*/checkpoint-*/{STATE}")]
    runs = sorted({output_folder(state).name for state in states if lies_in(state, folder)})
    if runs:
        raise LossDoctorError(f"{folder} holds no {STATE} itself, but these folders in it do: {_some(runs)}; {_choose(folder)}")
    raise LossDoctorError(
        f"{folder} holds no {STATE}, no checkpoint-N folder with one, no event files and no other log; "
        f"a Trainer's output folder, or one with runs below it, was expected{_links_out(folder)}"
    )


def _links_out(folder: Path) -> str:
    """Names the links that were left alone: what is missing may lie behind one of them."""
    names = sorted(entry.name for entry in folder.glob("*") if entry.is_symlink() and not lies_in(entry, folder))
    return f"; links that lead out of it are not followed: {_some(names)}" if names else ""
