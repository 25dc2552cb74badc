"""From what a user names to the sides of a comparison: a configuration, or anything that `analyze` reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lossdoctor import analysis, facts, remote
from lossdoctor.comparison import sides
from lossdoctor.comparison.nouns import Side
from lossdoctor.engine import examine
from lossdoctor.facts import config_file
from lossdoctor.facts.canonical import canonical
from lossdoctor.facts.files import text
from lossdoctor.model import Fact, LossDoctorError

#: Files that hold settings and no log; what another file is shows in its content.
_SETTINGS = (".yaml", ".yml", ".sh", ".py")
#: What a row of a log has, and no configuration.
_OF_ROWS = ("loss", "eval_loss", "train_loss", "grad_norm", "step", "epoch", "log_history")
#: A number with an exponent that YAML 1.1 reads as text: without a point before the e, or without a sign behind it.
_TEXT_NUMBER = re.compile(r"^[ \t-]*([\w-]{1,60})[ \t]*:[ \t]*([+-]?(?:\d+[eE][+-]?\d+|\d+\.\d*[eE]\d+))[ \t]*(?:#.*)?$", re.M)


def side(
    path: str,
    *,
    known: Mapping[str, Fact] | None = None,
    configurations: Iterable[Mapping[str, Fact]] = (),
    settings: dict[str, dict[str, Any]] | None = None,
) -> Side:
    """What is at `path` as a side: a configuration alone, or a run with its log, its report and the facts beside it.

    `known` and `configurations` are what the user says of a run besides, as for `analyze`; of a configuration too.

    Raises:
        LossDoctorError: there is neither a log nor a configuration, or there are several runs.
    """
    stated = tuple(configurations)
    more = {**_merged(stated), **(known or {})}
    if _surely_settings(path):
        return of_configuration(path, more)
    try:
        logs = analysis.load(path)
    except LossDoctorError as problem:
        if not Path(path).is_file():
            raise
        try:
            return of_configuration(path, more)
        except LossDoctorError:
            raise problem from None
    if len(logs) > 1:
        names = ", ".join(log.run.name or "unnamed" for log in logs[:4])
        raise LossDoctorError(f"{path} holds {len(logs)} runs ({names}); one run was expected on each side")
    run = logs[0].run
    for facts_said in (*stated, known or {}):
        run = run.knowing(facts_said, first=True)
    return sides.of_report(logs[0], examine(logs[0].records, run, settings), path)


def _merged(configurations: Iterable[Mapping[str, Fact]]) -> dict[str, Fact]:
    found: dict[str, Fact] = {}
    for stated in configurations:
        found |= stated
    return found


def is_configuration(path: str) -> bool:
    """Whether a file holds settings rather than the log of a run. A folder, an address and standard input are runs."""
    if _surely_settings(path):
        return True
    try:
        if path == analysis.PIPE or remote.is_address(path) or not Path(path).is_file():
            return False
        analysis.load(path)
    except LossDoctorError:
        return bool(_stated(Path(path)))
    return False


def _surely_settings(path: str) -> bool:
    """Told by its name: no log has such a one."""
    given = Path(path)
    return (
        given.name in facts.SOURCES or given.suffix.lower() in _SETTINGS or (given.suffix == ".json" and _states_settings(given))
    )


def _states_settings(path: Path) -> bool:
    """Whether a JSON is a mapping with settings, and neither holds rows nor is one."""
    try:
        if not path.is_file() or path.stat().st_size > facts.LARGEST:
            return False
        values = json.loads(text(path))
    except (LossDoctorError, OSError, ValueError, RecursionError):
        return False
    if not isinstance(values, dict) or any(name in values for name in _OF_ROWS):
        return False
    rows = any(isinstance(value, list) and value and isinstance(value[0], dict) for value in values.values())
    return not rows and bool(_stated(path))


def _stated(path: Path) -> dict[str, Fact]:
    try:
        return config_file.read(path)
    except LossDoctorError:
        return {}


def of_configuration(path: str, more: Mapping[str, Fact] | None = None) -> Side:
    """The configuration in a file as a side; what the user says besides wins over it.

    Raises:
        LossDoctorError: the file cannot be read, or holds nothing that is known.
    """
    given = Path(path)
    if given.name == "training_args.bin":
        from lossdoctor.facts import training_args

        stated = training_args.read(given)
    else:
        stated = config_file.read(given)
    notes = tuple(_texts(given)) if given.suffix.lower() in (".yaml", ".yml") else ()
    return sides.of_facts(path, {**stated, **(more or {})}, notes)


def _texts(path: Path) -> Iterator[str]:
    """Numbers of a YAML file that PyYAML, which most tools read it with, takes for text."""
    for name, value in _TEXT_NUMBER.findall(text(path)):
        if canonical(name) is not None:
            mantissa, _, exponent = value.lower().partition("e")
            sign = "" if exponent[:1] in "+-" else "+"
            point = "" if "." in mantissa else ".0"
            right = f"{mantissa}{point}e{sign}{exponent}"
            yield f"{path.name}: {name}: {value} is text to PyYAML, which wants {right}; it is read as a number here"
