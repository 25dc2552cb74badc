"""From paths to a comparison: each is a run, in any way that `analyze` reads one, or a configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from lossdoctor import analysis, comparison, facts
from lossdoctor.comparison import sides
from lossdoctor.comparison.nouns import Comparison, Side
from lossdoctor.engine import examine
from lossdoctor.facts import config_file, files, training_args
from lossdoctor.facts.canonical import canonical
from lossdoctor.language import say
from lossdoctor.model import Fact, LossDoctorError, NothingToAnalyse
from lossdoctor.readers import folder

#: Sides that are compared with the first one; more are a table of another kind.
MOST = 12
#: A longer name is told by its end.
LONGEST = 60
#: A larger file is no configuration.
LARGEST = 1024 * 1024
#: Columns that only the row of a log has, whatever else stands in it.
LOGGED = ("loss", "log_history", "step", "grad_norm", "eval_loss", "train_loss", "global_step")

#: A number with an exponent that YAML 1.1 reads as text: without a point before the e, or without a sign behind it.
TEXT_NUMBER = re.compile(r"^[ \t-]*([\w-]{1,60})[ \t]*:[ \t]*([+-]?(?:\d+[eE][+-]?\d+|\d+\.\d*[eE]\d+))[ \t]*(?:#.*)?$", re.M)


def compare(
    *paths: str | PathLike[str],
    known: Mapping[str, Fact] | None = None,
    settings: dict[str, dict[str, Any]] | None = None,
) -> Comparison:
    """Compares runs or configurations: each one after the first with the first. `known` holds for all of them.

    One path alone is a file with several runs in it, or a folder with several runs below it.

    Raises:
        LossDoctorError: there are fewer than two to compare, or too many, or one of them is neither a run nor a configuration.
        NothingToAnalyse: one of them is a log without a row.
    """
    given = [fspath(path) for path in paths]
    if len(given) == 1 and Path(given[0]).is_dir():
        given = [sources[0] for sources in analysis.find_runs(given[0])]
    named = _named([side for path in given for side in sides_at(path, known, settings)])
    if len(named) < 2:
        told = f"{paths[0]} holds one run" if len(paths) == 1 and named else "nothing was named"
        raise LossDoctorError(f"a comparison takes two or more runs or configurations; {told}")
    if len(named) > MOST:
        raise LossDoctorError(f"a comparison takes {MOST} runs or configurations at most, found {len(named)}")
    return comparison.of(named)


def sides_at(
    path: str, known: Mapping[str, Fact] | None = None, settings: dict[str, dict[str, Any]] | None = None
) -> Iterator[Side]:
    """The configuration at a path, or every run there."""
    known = known or {}
    if (stated := configuration(path)) is not None:
        yield sides.of_facts(path, {**stated, **known}, tuple(_texts(Path(path))))
        return
    try:
        logs = analysis.load(path)
    except LossDoctorError as error:
        stated = _of_text(path) or (_beside(path) if not isinstance(error, NothingToAnalyse) else {})
        if not stated:
            raise
        yield sides.of_facts(path, {**stated, **known})
        return
    for log in logs:
        run = log.run.knowing(known, first=True)
        yield sides.of_report(log, examine(log.records, run, settings))


def configuration(path: str) -> dict[str, Fact] | None:
    """The facts of a file that is a mapping of settings; None where the path is something else, such as a log.

    A mapping is one unless it has a column of a log in it.
    """
    place = Path(path)
    if place.name == "training_args.bin":
        return training_args.read(place)
    if not _small(place):
        return None
    try:
        values = files.parsed(place, files.text(place))
        if not isinstance(values, dict) or any(name in LOGGED or not isinstance(name, str) for name in values):
            return None
        return config_file.read(place) or None
    except LossDoctorError:  # a mapping of something else: if it is a log, its reader knows, and if not, says so
        return None


def _of_text(path: str) -> dict[str, Fact] | None:
    """The settings in a text that is no log, such as a script or a model card."""
    place = Path(path)
    try:
        return config_file.read(place) if _small(place) else None
    except LossDoctorError:
        return None


def _small(path: Path) -> bool:
    """Whether it is a file of a size that a configuration has."""
    try:
        return path.is_file() and path.stat().st_size <= LARGEST
    except OSError:  # such as a name that is too long: whoever reads it says so
        return False


def _texts(path: Path) -> Iterator[str]:
    """Numbers of a YAML file that PyYAML, which most tools read it with, takes for text."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        return
    for name, value in TEXT_NUMBER.findall(files.text(path)):
        if canonical(name) is not None:
            mantissa, _, exponent = value.lower().partition("e")
            sign = "" if exponent[:1] in "+-" else "+"
            right = f"{mantissa}{'' if '.' in mantissa else '.0'}e{sign}{exponent}"
            yield say(
                "{path_name}: {name}: {value} is text to PyYAML, which wants {right}; it is read as a number here",
                path_name=path.name,
                name=name,
                value=value,
                right=right,
            )


def _beside(path: str) -> dict[str, Fact]:
    """What lies in a folder without a log: the arguments that a Trainer saved, the settings of an adapter or of DeepSpeed."""
    place = Path(path)
    if not place.is_dir():
        return {}
    saved = folder.checkpoints(place)
    near = [place, *(Path(checkpoint.path) for checkpoint in saved[-1:])]
    found: dict[str, Fact] = {}
    for source in facts.beside(near, within=(place,))[0]:
        found = {**source, **found}
    return found


def _named(found: Sequence[Side]) -> list[Side]:
    """Each side under the end of its path that tells it from the others."""
    names = map(_short, _ends([side.name for side in found]))
    return list(sides.told_apart(tuple(replace(side, name=name) for name, side in zip(names, found, strict=True))))


def _short(name: str) -> str:
    """The last parts of a path that is too long to be read in a sentence."""
    if len(name) <= LONGEST:
        return name
    parts = name.split("/")
    while len(parts) > 1 and len("/".join(parts)) > LONGEST:
        parts = parts[1:]
    return f"…/{'/'.join(parts)}" if len("/".join(parts)) <= LONGEST else f"…{name[-LONGEST:]}"


def _ends(paths: Sequence[str]) -> list[str]:
    """The paths without the folders that all of them share at the front, and the parts that all share at the end."""
    parts = [path.replace("\\", "/").rstrip("/").split("/") for path in paths]
    shared = _common(parts)
    ends = [part[shared:] or part[-1:] for part in parts]
    last = _common([part[::-1] for part in ends]) if len(set(paths)) == len(paths) else 0
    kept = [part[: len(part) - last] or part for part in ends]
    return ["/".join(part) for part in (kept if len({tuple(part) for part in kept}) == len(paths) else ends)]


def _common(parts: Iterable[Sequence[str]]) -> int:
    """How many leading parts all have in common."""
    count = 0
    for together in zip(*parts, strict=False):
        if len(set(together)) > 1:
            break
        count += 1
    return count
