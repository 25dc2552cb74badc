"""The results of many sources for the command line: collected and merged, or as JSON lines that another call goes on with."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

from lossdoctor import __version__
from lossdoctor.many import Outcome, Sources
from lossdoctor.model import LossDoctorError, Report
from lossdoctor.readers import tree
from lossdoctor.reports import jsonl
from lossdoctor.reports.overview import IN_FULL, overview
from lossdoctor.same_run import Known, groups

Analyse = Callable[..., Generator[Outcome, None, None]]
#: Runs whose rows are kept until the report is written; of more, those told in full are read once more.
KEPT_ROWS = 64
#: Runs that are remembered to recognise them in another source, where lines are written as they come.
REMEMBERED = 20_000
#: How every line of ours begins, also one that was cut off.
BEGIN = b'{"format":'


def merged(outcomes: Sequence[Outcome]) -> list[Report]:
    """The reports, in the order of the outcomes; of sources with the same rows the best one, which names the others."""
    reports = [report for outcome in outcomes for report in outcome.reports]
    prints = [print_ for outcome in outcomes for print_ in outcome.prints]
    found = []
    for best, *others in groups(prints):
        titles = chain.from_iterable((reports[other].run.title, *reports[other].run.same) for other in others)
        run = reports[best].run
        found.append(replace(reports[best], run=replace(run, same=(*run.same, *titles))) if others else reports[best])
    return found


def with_rows(reports: list[Report], outcomes: Sequence[Outcome], kind: str, analyse: Analyse) -> list[Report]:
    """The reports, with the rows of those that a format tells in full: they are read once more."""
    if kind not in IN_FULL:
        return reports
    told = {id(report): report.run.path for report in overview(reports, kind).full}
    paths = set(told.values())
    units = [outcome.sources for outcome in outcomes if any(report.run.path in paths for report in outcome.reports)]
    rows = {report.run.title: report.records for outcome in analyse(units) for report in outcome.reports}
    return [replace(r, records=rows.get(r.run.title, ())) if id(r) in told else r for r in reports]


@dataclass
class Lines:
    """Writes the lines of outcomes as they come, each outcome at once; tells a run that was met before in another source."""

    out: IO[bytes]
    _known: Known = field(default_factory=Known)
    _names: list[str] = field(default_factory=list)

    def write(self, outcomes: Iterable[Outcome]) -> tuple[list[LossDoctorError], list[str]]:
        """Writes them all; gives the errors among them, and the verdicts.

        Raises:
            OSError: one cannot be written.
        """
        errors: list[LossDoctorError] = []
        verdicts: list[str] = []
        for outcome in outcomes:
            self.add(outcome)
            errors += [outcome.error] if outcome.error else []
            verdicts += [report.verdict for report in outcome.reports]
        return errors, verdicts

    def add(self, outcome: Outcome) -> None:
        """Writes what came of one source."""
        about: dict[str, Any] = jsonl.stamped(outcome.stamp)
        if outcome.error is not None:
            said = jsonl.unreadable(outcome.path, str(outcome.error), **about)
        else:
            if len(outcome.reports) > 1:
                about["runs"] = len(outcome.reports)
            said = "".join(self._line(outcome, place, about) for place in range(len(outcome.reports)))
        self.out.write(said.encode("utf-8", "backslashreplace"))
        self.out.flush()

    def _line(self, outcome: Outcome, place: int, about: dict[str, Any]) -> str:
        report, print_ = outcome.reports[place], outcome.prints[place]
        if report.run.path != outcome.path:
            about = {**about, "of": outcome.path}
        if print_ is not None:
            met = self._known.find(print_)
            if met is not None:
                about = {**about, "same_run_as": self._names[met]}
            elif len(self._names) < REMEMBERED:
                self._known.add(print_)
                self._names.append(report.run.title)
        return jsonl.line(report, **about)


class Done(NamedTuple):
    """What a file of lines has already: `verdicts` of the runs in it, and by source the stamp and the number of lines."""

    sources: dict[str, tuple[dict[str, Any], int]]
    verdicts: list[str]

    def has(self, unit: Sources) -> bool:
        """Whether a source is in the file as it is now, with all of its runs."""
        known = self.sources.get(unit[0])
        if known is None:
            return False
        try:
            about, lines = known
            return lines >= about.get("runs", 1) and about == {**about, **jsonl.stamped(tree.stamp(unit))}
        except (OSError, ValueError):
            return False


def resume(file: Path, units: Sequence[Sources]) -> Done:
    """Brings a file of lines to where another call can go on, and tells what it has: a line that was cut off goes.

    So do lines of sources that have changed since, or that another version has judged.

    Raises:
        LossDoctorError: the file cannot be read or written, or is something else.
    """
    if not file.exists():
        return Done({}, [])
    wanted = {unit[0]: unit for unit in units}
    there = Done({}, [])
    try:
        for _, line in _whole(file):
            about = {name: line["source"][name] for name in ("size", "modified", "runs") if name in line["source"]}
            if line["tool"]["version"] == __version__:
                there.sources[_key(line)] = (about, there.sources.get(_key(line), ({}, 0))[1] + 1)
        done = Done({s: known for s, known in there.sources.items() if s not in wanted or there.has(wanted[s])}, [])
        part = file.with_name(f"{file.name}.part")
        with part.open("wb") as out:
            for written, line in _whole(file):
                if _key(line) in done.sources and line["tool"]["version"] == __version__:
                    done.verdicts.append(line.get("verdict", ""))
                    out.write(written)
        part.replace(file)
    except OSError as error:
        raise LossDoctorError(f"cannot go on with {file}: {(error.strerror or str(error)).lower()}") from None
    return done


def _key(line: dict[str, Any]) -> str:
    source: dict[str, str] = line["source"]
    return source.get("of", source["path"])


def _whole(file: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The lines that are whole, as they stand and as they are meant.

    Raises:
        LossDoctorError: one is none of ours, and not the last one cut off.
    """
    with file.open("rb") as lines:
        for place, line in enumerate(lines, 1):
            try:
                found = json.loads(line)
                ours = found["tool"]["name"] == "lossdoctor" and isinstance(found["source"]["path"], str)
            except (ValueError, TypeError, KeyError, RecursionError):
                ours = False
            if ours and line.endswith(b"\n"):
                yield line, found
            elif next(lines, None) is not None or not (ours or line.startswith(BEGIN[: len(line)])):
                raise LossDoctorError(
                    f"{file} has a line {place} that is not of lossdoctor: --resume goes on with lines of its own"
                )
