"""Plain lines for a pipe, a file or a job's log: what has changed, and from time to time where the run is."""

from __future__ import annotations

import time
from collections.abc import Callable

from lossdoctor.language import say
from lossdoctor.model import RANK, Report, Symptom
from lossdoctor.pace import clock
from lossdoctor.reports.dashboard import progress_line
from lossdoctor.reports.text import brief, one_line
from lossdoctor.reports.words import MARKS, alarming
from lossdoctor.watch.follower import Sight

#: Progress is told after this share of all steps, or when there are new rows after so many seconds.
SHARE, SECONDS = 0.05, 60.0
#: Changes told of one kind of symptom; a run that breaks and heals again and again is told of by its summary.
CHANGES = 6
Key = tuple[str, str]


class Lines:
    """Writes each line with `write`; lines that say nothing new are not written."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._waited = ""
        self._forget()

    def _forget(self) -> None:
        self._open: dict[Key, Symptom] = {}
        self._changes: dict[Key, int] = {}
        self._verdict = -1
        self._told_step: int | None = None
        self._told_at = 0.0
        self._quiet = 0.0

    def waiting(self, words: str) -> None:
        """Nothing to see so far, and why."""
        if words != self._waited:
            self._waited = words
            self._write(say("waiting: {words}\n", words=words))

    def seen(self, sight: Sight) -> None:
        """Symptoms that opened, grew or healed; advice when the verdict got worse; progress now and then."""
        if sight.anew:
            self._forget()
            self._write(
                say("the log begins anew, or went back to an earlier step: now at step {step:,}\n", step=sight.progress.step or 0)
            )
        self._quiet = 0.0
        if self._told_step is None or self._due(sight) or sight.progress.ended:
            self._progress(sight)
        told = self._symptoms(sight.report)
        rank = RANK.get(sight.report.verdict, -1)
        if rank > self._verdict and rank >= RANK["warning"]:
            self._write(brief(sight.report).strip("\n") + "\n")
            self._verdict = rank
        elif told and not sight.progress.ended:  # the end has it anyway
            self._write(one_line(sight.report))

    def tick(self, sight: Sight) -> None:
        """Only a long silence is told of, each time that it has doubled."""
        quiet = sight.progress.quiet
        if quiet and quiet >= 2 * self._quiet:
            self._quiet = quiet
            self._write(say("no new row for {quiet}\n", quiet=clock(quiet)))

    def close(self, report: Report | None) -> None:
        """The verdict in one line."""
        self._write(one_line(report) if report else "")

    def _due(self, sight: Sight) -> bool:
        step, total = sight.progress.step or 0, sight.progress.total
        moved = step - (self._told_step or 0)
        return moved > 0 and (time.monotonic() - self._told_at >= SECONDS or (total is not None and moved >= SHARE * total))

    def _progress(self, sight: Sight) -> None:
        self._told_step, self._told_at = sight.progress.step or 0, time.monotonic()
        self._write(progress_line(sight.report, sight.progress) + "\n")

    def _symptoms(self, report: Report) -> bool:
        """Whether a symptom changed that is worth telling."""
        now = {(s.slug, s.series): s for s in alarming(report) if s.open}
        changed = False
        for key, symptom in now.items():
            before = self._open.get(key)
            if before is None or RANK[symptom.severity] > RANK[before.severity]:
                changed |= self._tell(key, f"{MARKS[symptom.severity]} {symptom.slug}: {symptom.message}")
        still = {(s.slug, s.series) for s in report.symptoms if s.open}
        for key, symptom in self._open.items():
            if key not in now:
                values = {"slug": symptom.slug, "onset": symptom.onset}
                if key in still:
                    told = say("{slug} of step {onset:,} is expected here", **values)
                else:
                    told = say("{slug} of step {onset:,} has healed", **values)
                changed |= self._tell(key, f"{MARKS['healthy']} {told}")
        self._open = now
        return changed

    def _tell(self, key: Key, words: str) -> bool:
        count = self._changes[key] = self._changes.get(key, 0) + 1
        if count > CHANGES:
            return False
        self._write(words + (say(" (further changes of it are not told)") if count == CHANGES else "") + "\n")
        return True
