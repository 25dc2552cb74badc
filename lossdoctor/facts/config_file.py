"""`--config FILE` and `--set name=value`: what the user says of the run. What a file is shows in its content, not its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from lossdoctor.facts.canonical import canonical, fact, translate
from lossdoctor.facts.files import kind_of, mapping, parsed, text
from lossdoctor.model import Fact, LossDoctorError

#: Modules with `recognise(mapping)` and `names(mapping)`, the most particular first; what none recognises is read as it stands.
MAPPINGS = ("llama_factory", "axolotl", "adapter_config", "model_config", "deepspeed_config", "kedro_parameters")
#: Modules with `recognise(text)` and `values(text)`.
TEXTS = ("model_card", "arguments_dump", "command_line")
EXPECTED = "a mapping of names to values was expected, or text with --flags, TrainingArguments(…) or lists of hyper-parameters"


def read(path: Path) -> dict[str, Fact]:
    """The facts in a file, with those of the DeepSpeed configuration that it names where it says nothing itself.

    Raises:
        LossDoctorError: the file cannot be read, or holds nothing that is known.
    """
    own, beside = _read(path, path.name)
    return {**beside, **own}


def read_alone(path: Path) -> dict[str, Fact]:
    """The facts in a file, without those of a DeepSpeed configuration that it names.

    Raises:
        LossDoctorError: as `read`.
    """
    return _facts(path, text(path), path.name)


def several(paths: Sequence[Path]) -> list[dict[str, Fact]]:
    """The facts of every file, each to be laid over those before it; files of one name are told apart by their paths.

    Raises:
        LossDoctorError: one of them cannot be read, or holds nothing that is known.
    """
    names = Counter(path.name for path in paths)
    found: list[dict[str, Fact]] = []
    for path in paths:
        own, beside = _read(path, path.name if names[path.name] == 1 else str(path))
        found.append(own)
        if beside:
            found.insert(-1, beside)
    return found


def _read(path: Path, source: str) -> tuple[dict[str, Fact], dict[str, Fact]]:
    facts = _facts(path, text(path), source)
    return with_deepspeed(facts, path.parent)


def with_deepspeed(facts: dict[str, Fact], folder: Path, within: Sequence[Path] = ()) -> tuple[dict[str, Fact], dict[str, Fact]]:
    """The facts, and those of the DeepSpeed configuration that they hold or name, if it lies nearby, or in `within`."""
    known = facts.get("deepspeed")
    if known is None or not isinstance(known.value, (dict, str)):
        return facts, {}
    deepspeed = import_module("lossdoctor.facts.deepspeed_config")
    if isinstance(known.value, dict):
        inner = translate(deepspeed.beside(known.value, facts), known.source)
        return facts, {name: found for name, found in inner.items() if name not in facts}
    path = deepspeed.named_file(known.value, folder, within)
    try:
        values = mapping(path) if path else {}
    except LossDoctorError:  # nobody gave us this file, so nobody is told of it
        values = {}
    return facts, translate(deepspeed.beside(values, facts), path.name) if path and deepspeed.recognise(values) else {}


def _facts(path: Path, content: str, source: str) -> dict[str, Fact]:
    """As a mapping if it is one and speaks of anything known; else as text."""
    problem = None
    try:
        values = parsed(path, content)
    except LossDoctorError as error:
        values, problem = None, error
    if isinstance(values, dict):
        if "log_history" in values:
            raise LossDoctorError(f"{path} is the log of a run, a trainer_state.json; it is analysed when it is given as PATH")
        found = of_mapping(values, source)
        if found or any(canonical(str(name)) for name in values):
            return found
    found = of_text(content, source)
    if found:
        return found
    if isinstance(values, dict):
        keys = ", ".join(str(key)[:40] for key in list(values)[:5]) or "none"
        raise LossDoctorError(f"{path} names no setting that is known, its keys are: {keys}; {EXPECTED}")
    if problem is not None:
        raise LossDoctorError(f"{problem}, and no text with settings; {EXPECTED}")
    raise LossDoctorError(f"{path} holds {kind_of(values)}; {EXPECTED}")


def of_mapping(values: Mapping[Any, Any], source: str) -> dict[str, Fact]:
    """The facts in a mapping, read by the dialect that recognises it."""
    from lossdoctor.facts.shorthand import spelled_out

    named = {str(name): value for name, value in values.items()}
    for module in (import_module(f"lossdoctor.facts.{name}") for name in MAPPINGS):
        if module.recognise(named):
            return translate(spelled_out(module.names(named)), source)
    return translate(spelled_out(named), source)


def of_text(content: str, source: str) -> dict[str, Fact]:
    """The facts in a text, read by the first dialect that recognises it and finds any."""
    modules = {name: import_module(f"lossdoctor.facts.{name}") for name in TEXTS}
    for module in modules.values():
        if module.recognise(content):
            if found := of_mapping(module.values(content), source):
                return found
    return of_mapping(modules["model_card"].values(content), source)  # a table alone


def settings(pairs: Iterable[str]) -> dict[str, Fact]:
    """The facts of `name=value` pairs.

    Raises:
        LossDoctorError: a pair has no `=`, names no fact, or gives it a value of another kind.
    """
    facts: dict[str, Fact] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise LossDoctorError(f"--set takes name=value, found {pair!r}")
        key, known = fact(name, value, "--set")
        facts[key] = known
    return facts
