"""The suggestions of a report as a YAML file: each setting with its reason, ready to be merged into a configuration."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lossdoctor.language import say
from lossdoctor.model import LossDoctorError, Report, Rule, Suggestion
from lossdoctor.settings import ARGUMENTS, owner

if TYPE_CHECKING:
    from lossdoctor.checkup import CheckReport

#: The first line of every file that we write, and may therefore write anew.
MARK = "# Suggested by lossdoctor"
WIDTH = 100


def write(report: Report | CheckReport, path: Path) -> None:
    """Writes the suggestions to a file, unless one is there that is not ours.

    Raises:
        LossDoctorError: the file is somebody else's, or cannot be written.
    """
    try:
        if path.exists() and not path.read_bytes().startswith(MARK.encode()):
            raise LossDoctorError(f"{path} is there and was not written by --suggest; choose another name")
        path.write_text(render(report), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise LossDoctorError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None


def render(report: Report | CheckReport) -> str:
    """TrainingArguments at the top level, the rest in a mapping under the name of the object that takes it."""
    groups: dict[str, list[tuple[str, Suggestion]]] = {ARGUMENTS: []}
    for name, suggestion in report.suggestions.items():
        holder = owner(name, report.run.get("task"))
        groups.setdefault(holder, []).append((name.removeprefix(f"{holder}."), suggestion))
    lines = list(_header(report))
    for holder, settings in groups.items():
        indent = ""
        if holder != ARGUMENTS:
            lines += ["", f"{holder}:"]
            indent = "  "
        lines += [indent + line for line in _settings(settings, WIDTH - len(indent))]
    lines += _choices(report)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _header(report: Report | CheckReport) -> Iterator[str]:
    yield MARK
    rows = say(" ({rows:,} rows)", rows=report.rows) if isinstance(report, Report) else ""
    yield from _comment(say("run: {run_title}{rows}", run_title=report.run.title or say("not known"), rows=rows))
    yield say("# verdict: {verdict}", verdict=say(report.verdict))
    cause = report.leading if isinstance(report, Report) else None
    if cause is not None:
        yield from _comment(
            say(
                "cause: {cause_title} ({slug}), {confidence} confidence",
                cause_title=cause.title,
                slug=cause.slug,
                confidence=say(cause.confidence),
            )
        )


def _settings(settings: Iterable[tuple[str, Suggestion]], width: int) -> Iterator[str]:
    """One setting after another; those of one nested mapping together."""
    opened: list[str] = []
    told = ""
    for name, suggestion in sorted(settings, key=lambda pair: pair[0].split(".")[:-1]):
        *path, last = name.split(".")
        for depth, part in enumerate(path):
            if opened[: depth + 1] != path[: depth + 1]:
                yield f"{'  ' * depth}{part}:"
                opened = path[: depth + 1]
        indent = "  " * len(path)
        if not path and width == WIDTH:
            yield ""
        was = "" if suggestion.was is None else say("was {was}: ", was=value(_short(suggestion.was)))
        again = suggestion.do == told
        reason = was + (say("for the same reason") if again else say("because {because}", because=suggestion.because))
        for words in (reason,) if again else (suggestion.do, reason):
            yield from (indent + line for line in _comment(words, width - len(indent)))
        told = suggestion.do
        yield f"{indent}{last}: {value(suggestion.value)}"


def _choices(report: Report | CheckReport) -> list[str]:
    """What is not set here, because somebody has to choose the value."""
    if isinstance(report, Report):
        remedies = report.leading.remedies if report.leading else ()
    else:
        remedies = tuple(remedy for finding in report.findings if finding.severity != "info" for remedy in finding.remedies)
    rules = [(n, v) for r in remedies if not r.alternative for n, v in r.settings.items() if isinstance(v, Rule)]
    lines = [line for name, rule in rules if name not in report.suggestions for line in _comment(f"{name}: {rule}")]
    return ["", say("# For you to choose:"), *lines] if lines else []


def _short(was: Any) -> Any:
    """A whole number without its .0: facts hold counts as floats too."""
    return int(was) if isinstance(was, float) and was.is_integer() and 1 <= abs(was) < 1e15 else was


def _comment(words: str, width: int = WIDTH) -> list[str]:
    plain = " ".join(words.split())
    return textwrap.wrap(plain, width, initial_indent="# ", subsequent_indent="#   ", break_long_words=False)


def value(anything: Any) -> str:
    """A value on one line of YAML 1.1, in which 6e-05 is text and 6.0e-05 a number."""
    text = str(yaml.safe_dump(_plain(anything), default_flow_style=True, width=10_000, allow_unicode=True))
    text = text.removesuffix("\n").removesuffix("\n...")
    return json.dumps(_plain(anything)) if "\n" in text else text


def _plain(anything: Any) -> Any:
    if anything is None or type(anything) in (bool, int, float, str):
        return anything
    if isinstance(anything, Mapping):
        return {str(name): _plain(inner) for name, inner in anything.items()}
    if isinstance(anything, (list, tuple, set)):
        return [_plain(inner) for inner in anything]
    return str(anything)
