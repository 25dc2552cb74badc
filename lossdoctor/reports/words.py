"""What every report for people says, in plain strings: each format only arranges it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lossdoctor import slips
from lossdoctor.language import capital, counted, later, say
from lossdoctor.model import RANK, Diagnosis, Remedy, Report, Run, Suggestion, Symptom, surely_expected

#: The words of verdicts, severities and confidences: keys in JSON, said where people read them.
SPOKEN = (
    *(later("critical"), later("warning"), later("info"), later("healthy"), later("insufficient")),
    *(later("high"), later("medium"), later("low"), later("none")),
)
MARKS = {"critical": "✖", "warning": "▲", "info": "·", "healthy": "✔", "insufficient": "?"}
#: Candidates shown with all they have, where a page is short; the others get one line.
IN_FULL = 2
#: Other sources of the same run that are named.
NAMED = 3


@dataclass(frozen=True)
class Candidate:
    """One cause as it stands in the differential; `remedies` leaves out what a candidate before it has said already."""

    place: int
    diagnosis: Diagnosis
    remedies: tuple[Remedy, ...]

    @property
    def in_full(self) -> bool:
        return self.place <= IN_FULL

    @property
    def likely(self) -> bool:
        """Whether its explanation and remedies are worth the room."""
        return self.place == 1 or self.diagnosis.confidence != "low"


def candidates(report: Report) -> Iterator[Candidate]:
    """The differential, likeliest first; each remedy stands where it is named first among those that are shown."""
    told: list[Remedy] = []
    for place, diagnosis in enumerate(sick(report), 1):
        one = Candidate(place, diagnosis, ())
        fresh = [remedy for remedy in diagnosis.remedies if not _told(remedy, told)] if one.in_full and one.likely else []
        told += fresh
        yield replace(one, remedies=tuple(fresh))


def _told(remedy: Remedy, told: Sequence[Remedy]) -> bool:
    """Whether a candidate before this one has said to change the same, in whatever words."""
    return any(remedy == other or (remedy.settings and remedy.settings == other.settings) for other in told)


def sick(report: Report) -> list[Diagnosis]:
    """The causes that ask for a change."""
    return [d for d in report.diagnoses if not d.normal and not d.mechanism]


def mechanisms(report: Report) -> list[Diagnosis]:
    """Why the log looks as it does."""
    return [d for d in report.diagnoses if d.mechanism]


def expected(report: Report) -> list[Diagnosis]:
    """What looks alarming and is expected."""
    return [d for d in report.diagnoses if d.normal]


def why(report: Report) -> str:
    """The heading above the causes."""
    if report.verdict in ("healthy", "insufficient"):
        return say("Worth knowing")
    return say("Why") if len(sick(report)) < 2 else say("Why: candidates, the likeliest first")


def seen(report: Report) -> list[Symptom]:
    """The symptoms to show, the worst first; notes that have passed are left out where a diagnosis stands for them."""
    shown = [s for s in report.symptoms if s.severity != "info" or s.open or not report.diagnoses]
    return sorted(shown, key=lambda s: (-RANK[s.severity], s.onset))


def alarming(report: Report) -> list[Symptom]:
    """The symptoms to mark on a chart, in the order they began: warnings and worse, unless they are surely as expected."""
    normal = surely_expected(report.diagnoses)
    return [s for s in report.symptoms if s.severity != "info" and s.identity not in normal]


def what_was_seen(symptom: Symptom) -> str:
    """The message of a symptom, and whether it has healed."""
    return symptom.message + ("" if symptom.open else say(" (healed)"))


def extent(report: Report) -> str:
    """Rows, steps and epochs of the log: `500 rows, steps 1 to 500, epoch 2.0`."""
    parts = [counted(report.rows, "row")]
    if report.first_step is not None and report.last_step is not None:
        parts.append(say("steps {first_step:,} to {last_step:,}", first_step=report.first_step, last_step=report.last_step))
    if report.epochs:
        parts.append(say("epoch {epochs}", epochs=slips.in_epochs(report.epochs)))
    return ", ".join(parts)


def name(report: Report) -> str:
    """What the run is called."""
    return report.run.title or say("this run")


def same(report: Report) -> str:
    """Which other sources hold the same rows, in a line; nothing where there is none."""
    others = report.run.same
    if not others:
        return ""
    more = say(" and {number_of_others:,} more", number_of_others=len(others) - NAMED) if len(others) > NAMED else ""
    return say("The same run as in {others}{more}.", others=", ".join(others[:NAMED]), more=more)


def shared(reports: Sequence[Report]) -> str:
    """The folder that all runs of a table are in; nothing where they have none in common."""
    comparable = len({os.path.isabs(report.run.path) for report in reports}) == 1  # noqa: PTH117
    return os.path.commonpath([os.path.dirname(report.run.path) for report in reports]) if comparable else ""  # noqa: PTH120


def below(report: Report, folder: str) -> str:
    """What a run is called in a table under that folder."""
    return (report.run.title[len(folder) :].lstrip("/\\") if folder else report.run.title) or name(report)


def quoted(path: str) -> str:
    """A path as it is typed in a shell."""
    return shlex.quote(path)


def verdict(report: Report) -> str:
    """The verdict in a sentence or two: what is wrong, and the likeliest cause."""
    first, cause = worst(report), likeliest(report)
    told = first is not None and first.open and first.severity != "info"
    sure = cause is not None and cause.confidence != "low"
    if cause and report.verdict == "warning" and not told:
        return sentence(cause.title)
    if first is not None and report.verdict in ("critical", "warning"):
        return sentence(first.message) + (say(" Most likely: {cause_title}.", cause_title=cause.title) if cause and sure else "")
    if report.verdict == "healthy":
        if cause and sure:
            return say("Nothing broken in this log. Worth knowing: {cause_title}.", cause_title=cause.title)
        if any(s.severity != "info" and not s.open for s in report.symptoms):
            return say("Nothing wrong at the end of this log; what was seen on the way has healed.")
        return say("Nothing wrong found in this log.")
    if any(symptom.open for symptom in report.symptoms):
        return say("Too few rows to judge; see what was seen in them.")
    if cause and sure:
        return say("Too few rows to judge. Worth knowing: {cause_title}.", cause_title=cause.title)
    return say("Too few rows to judge; nothing broken in them.")


def finding(report: Report) -> str:
    """The finding in a few words, for a table of many runs; nothing where there is none."""
    first, cause = worst(report), likeliest(report)
    if first is None or report.verdict not in ("critical", "warning"):
        return ""
    words = say("{slug} from step {onset:,}", slug=first.slug, onset=first.onset)
    return f"{words}: {cause.title}" if cause and cause.confidence != "low" else words


def good(report: Report) -> str:
    """Up to where the run can be trusted."""
    if report.last_good_step is None:
        return say("There is no good step: the run was broken from its first row.")
    words = say("Last good step: {last_good_step:,}.", last_good_step=report.last_good_step)
    if report.last_good_checkpoint:
        words += say(" Last good checkpoint: {last_good_checkpoint}", last_good_checkpoint=report.last_good_checkpoint)
    return words


def worst(report: Report) -> Symptom | None:
    """The symptom to name first: the worst that is open, the most telling of its rank, the earliest."""
    standing = [s for s in report.symptoms if s.open] or list(report.symptoms)
    told = [s for d in report.diagnoses[:1] for s in d.because]
    return min(standing, key=lambda s: (-RANK[s.severity], not s.series.startswith("loss"), s not in told, s.onset), default=None)


def likeliest(report: Report) -> Diagnosis | None:
    """The first cause that asks for a change."""
    return next(iter(sick(report)), None)


def title(diagnosis: Diagnosis) -> str:
    """With a capital, unless it begins with a name such as fp16."""
    first = diagnosis.title.partition(" ")[0]
    return diagnosis.title if any(map(str.isdigit, first)) else capital(diagnosis.title)


def explanation(diagnosis: Diagnosis) -> str:
    """Why it comes to this, said as a guess where it is one."""
    return (
        say("If so: {explanation}", explanation=diagnosis.explanation) if diagnosis.confidence == "low" else diagnosis.explanation
    )


def sentence(words: str) -> str:
    """With a capital and a full stop; the name of a column or of a model is written as it is."""
    name = any(sign in words.partition(" ")[0] for sign in "_/")
    return (words if name else capital(words)) + "."


def settings(remedy: Remedy, run: Run) -> list[str]:
    """The settings of a remedy, one a line; `was → is` where the facts say what it was."""
    return [f"{name}: " + ("" if was is None else f"{value(was)} → ") + value(new) for name, was, new in _changes(remedy, run)]


def to_paste(remedy: Remedy, run: Run) -> list[str]:
    """The same as YAML that can be pasted as it stands: what it was is a comment."""
    return [_line(name, was, new) for name, was, new in _changes(remedy, run)]


def change(setting: str, suggestion: Suggestion) -> str:
    """A suggestion likewise."""
    return _line(setting, suggestion.was, suggestion.value)


def _line(setting: str, was: Any, new: Any) -> str:
    return f"{setting}: {value(new)}" + ("" if was is None else say("  # so far {was}", was=value(was)))


def _changes(remedy: Remedy, run: Run) -> Iterator[tuple[str, Any, Any]]:
    """Each setting with what it was and the new value; what it was is None unless it is known, plain and another one."""
    for setting, new in remedy.settings.items():
        was = run.get(setting)
        yield setting, was if isinstance(was, (bool, int, float)) and was != new else None, new


def value(given: Any) -> str:
    """As YAML writes it, so that it can be pasted."""
    if isinstance(given, bool) or given is None:
        return "null" if given is None else str(given).lower()
    if isinstance(given, dict):
        return "{" + ", ".join(f"{inner}: {value(of)}" for inner, of in given.items()) + "}"
    if isinstance(given, (list, tuple)):
        return "[" + ", ".join(map(value, given)) + "]"
    return slips.short(given) if isinstance(given, float) else str(given)
