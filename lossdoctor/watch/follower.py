"""Looks at a path whether there is something new, and keeps the last good report while a file is half-written."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lossdoctor.language import say
from lossdoctor.model import LossDoctorError, NotALog, Report
from lossdoctor.pace import Pace, Progress

#: Files looked at in a folder, and how deep they lie: `checkpoint-500/trainer_state.json`, `runs/<date>/events.out…`.
MOST_FILES, DEEPEST = 2_000, 2
#: A run that has reached its last step may still evaluate and print its summary; so many looks without news end it.
PATIENCE = 3
Signature = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Sight:
    """What was seen at one look: the report, where the run is, and whether it is another run than at the look before."""

    report: Report
    progress: Progress
    anew: bool = False


class Follower:
    """`sight` is the last good one; `reason` says why there is none yet, or none that is newer."""

    def __init__(self, path: Path, analyse: Callable[[str | Path], list[Report]]) -> None:
        self.path, self.analyse = path, analyse
        self.sight: Sight | None = None
        self.reason = ""
        self._pace = Pace()
        self._signature: Signature | None = None
        self._idle = 0

    def look(self) -> bool:
        """Whether there is something new.

        Raises:
            NotALog: the path is something else than a log.
        """
        signature = self._sign()
        if signature is not None and signature == self._signature:
            self._idle += 1
            return self._may_be_over()
        if signature is None:
            self.reason, self._signature = say("{path} is not there yet", path=self.path), None
            return False
        self._idle = 0
        try:
            report = self.analyse(self.path)[-1]
        except NotALog:
            raise
        except LossDoctorError as error:  # half-written, or without a row so far: another look will tell
            self.reason, self._signature = say("no row yet: ") + str(error).partition("; expected ")[0], signature
            return False
        self.reason, self._signature = "", signature
        self._take(report, max(time for _, _, _, time in signature) / 1e9)
        return True

    def age(self) -> None:
        """Brings the times up to now."""
        if self.sight is not None:
            self.sight = replace(self.sight, progress=self._progress(self.sight.report, self.sight.progress.ended))

    def _take(self, report: Report, written: float) -> None:
        before = self.sight.report if self.sight else None
        step = report.last_step or 0
        anew = before is not None and (report.rows < before.rows or _opening(report) != _opening(before))
        if before is None or anew:
            self._pace = Pace()
            for moment, reached in _checkpoints(report, step):
                self._pace.add(moment, reached)
        self._pace.add(min(written, time.time()), step)
        self.sight = Sight(report, self._progress(report, _summary(report)), anew)

    def _may_be_over(self) -> bool:
        """After the last step nothing more need come: a state file has no summary before the training script saves it."""
        if self.sight is None or self.sight.progress.ended or self._idle < PATIENCE:
            return False
        progress = self.sight.progress
        if progress.total is None or progress.step is None or progress.step < progress.total:
            return False
        self.sight = replace(self.sight, progress=replace(progress, ended=True), anew=False)
        return True

    def _progress(self, report: Report, ended: bool) -> Progress:
        now, total = time.time(), _total(report)
        return Progress(
            step=report.last_step,
            total=total,
            epoch=report.epochs,
            seconds_per_step=self._pace.seconds_per_step,
            left=self._pace.left(total, now),
            quiet=None if ended else self._pace.quiet(now),
            ended=ended,
        )

    def _sign(self) -> Signature | None:
        """Name, number, size and time of every file that counts; None where there is nothing."""
        try:
            status = self.path.stat()
            if stat.S_ISDIR(status.st_mode):
                return tuple(sorted(_files(self.path, DEEPEST)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:  # a folder that may not be entered, a name that no file can have
            raise NotALog(f"{self.path}: {(getattr(error, 'strerror', None) or str(error)).lower()}") from None
        if not stat.S_ISREG(status.st_mode):
            raise NotALog(f"{self.path} is neither a file nor a folder; a log or an output folder was expected")
        if not os.access(self.path, os.R_OK):
            raise NotALog(f"{self.path} may not be read")
        return (_stamp(str(self.path), status),)


def _files(folder: Path, depth: int) -> Iterator[tuple[str, int, int, int]]:
    """The files in a folder and in those below it, but not without end."""
    with os.scandir(folder) as entries:
        for place, entry in enumerate(entries):
            if place >= MOST_FILES:
                return
            try:
                if entry.is_dir(follow_symlinks=False):
                    if depth:
                        yield from _files(Path(entry.path), depth - 1)
                else:
                    yield _stamp(entry.path, entry.stat())
            except OSError:
                continue


def _stamp(name: str, status: os.stat_result) -> tuple[str, int, int, int]:
    return name, status.st_ino, status.st_size, status.st_mtime_ns


def _opening(report: Report) -> str:
    """By what a run is known: its first row, without the step, which may have been an estimate."""
    return repr(sorted(report.records[0].values.items())) if report.records else ""


def _checkpoints(report: Report, step: int) -> list[tuple[float, int]]:
    """When the checkpoints of this run were written: the pace before anybody watched."""
    found: list[tuple[float, int]] = []
    for checkpoint in report.run.checkpoints:
        try:
            moment = (Path(checkpoint.path) / "trainer_state.json").stat().st_mtime
        except OSError:
            continue
        if checkpoint.step <= step and (not found or moment > found[-1][0]):
            found.append((moment, checkpoint.step))
    return found


def _total(report: Report) -> int | None:
    """The last step, from max_steps or from the epochs; None where the steps are only the numbers of rows."""
    run = report.run
    if run.numbered:
        return None
    total, epochs = run.get("max_steps"), run.get("num_train_epochs")
    if isinstance(total, int) and total > 0:
        return max(total, report.last_step or 0)
    if isinstance(epochs, (int, float)) and 0 < epochs < 1e6 and report.epochs and report.epochs > 0.1 and report.last_step:
        return max(round(report.last_step / report.epochs * epochs), report.last_step)
    return None


def _summary(report: Report) -> bool:
    """Whether the row that ends a training is the last but for evaluations."""
    last = next((record for record in reversed(report.records) if record.kind in ("train", "summary")), None)
    return last is not None and last.kind == "summary" and "train_runtime" in last.values
