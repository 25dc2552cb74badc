"""Every check on one configuration, before its first step."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lossdoctor.base import Check
from lossdoctor.language import later, say
from lossdoctor.model import (
    RANK,
    Fact,
    Finding,
    LossDoctorError,
    NotJudged,
    Run,
    Suggestion,
    Verdict,
    suggested,
)
from lossdoctor.plan import Plan, plan_of
from lossdoctor.registry import all_checks, build
from lossdoctor.tasks import PREFERENCE, REINFORCEMENT, task_of_run

#: What the name of a run, of its data or of its model says of what it learns, where no trainer is named.
_TASKS = ((REINFORCEMENT, ("grpo", "ppo", "rloo")), (PREFERENCE, ("dpo", "orpo", "kto", "simpo", "preference")))
#: What facts from a DeepSpeed configuration have behind their source.
DEEPSPEED = "(DeepSpeed)"


@dataclass(frozen=True, repr=False)
class CheckReport:
    """What the checks found in one configuration, the worst first, and what they could not judge.

    `looked_at` says in words how many examples were looked at, where there were some.
    """

    run: Run
    plan: Plan
    findings: tuple[Finding, ...]
    not_judged: tuple[NotJudged, ...]
    verdict: Verdict
    looked_at: str = ""

    @property
    def suggestions(self) -> dict[str, Suggestion]:
        """What to change by the name of the setting, from warnings and worse; the worst finding that names a setting wins."""
        alarming = [finding for finding in self.findings if finding.severity != "info"]
        return suggested(self.run, [(remedy, finding.slug) for finding in alarming for remedy in finding.remedies])

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes the report to a file; its ending says how: .html, .md, .json, .xml (JUnit), or text.

        Raises:
            LossDoctorError: the file cannot be written.
        """
        from lossdoctor.reports.checkup import save

        save(self, Path(file))

    def __repr__(self) -> str:
        found = ", ".join(finding.slug for finding in self.findings) or "nothing found"
        return f"<CheckReport on {self.run.title or 'a configuration'}: {self.verdict}; {found}>"

    def __str__(self) -> str:
        """The report as text, as the command line prints it."""
        from lossdoctor.reports import Look
        from lossdoctor.reports.checkup import FORMATS

        return FORMATS["text"](self, Look(color=False))


def check(
    source: Any,
    *,
    model: Any = None,
    peft: Any = None,
    rows: int | None = None,
    gpu: str | None = None,
    facts: Mapping[str, Any] | None = None,
    settings: dict[str, dict[str, Any]] | None = None,
    extra: Iterable[Finding] = (),
    not_judged: Iterable[NotJudged] = (),
) -> CheckReport:
    """Checks a configuration before anything is trained.

    Args:
        source: TrainingArguments or what is made of them, a mapping, or a path or several paths that describe one run: whatever
            `lossdoctor analyze --config` takes, a folder with the files of a run, a training_args.bin. Of several the later
            ones win.
        model: its name, or the model itself.
        peft: a LoraConfig.
        rows: the number of training examples.
        gpu: what it is called, such as "T4" or "4x A100".
        facts: others by their names; they win over all.
        settings: thresholds by slug, as in `[tool.lossdoctor]`.
        extra: findings that somebody else has made, such as those of a look at the data; `not_judged` what that could not see.

    Raises:
        LossDoctorError: the source cannot be read, or a fact or a threshold is none.
    """
    from lossdoctor.facts import live
    from lossdoctor.facts.canonical import fact

    run = _run(source, None if isinstance(model, str) else model)
    if peft is not None:
        run = run.knowing(live.of_adapter(peft), first=True)
    named = {"model_name_or_path": model if isinstance(model, str) else None, "dataset_size": rows, "gpu": gpu}
    told = {**{name: value for name, value in named.items() if value is not None}, **(facts or {})}
    run = run.knowing(dict(fact(name, value, "stated") for name, value in told.items()), first=True)
    return examine(run, settings, extra=extra, not_judged=not_judged)


def examine(
    run: Run,
    settings: dict[str, dict[str, Any]] | None = None,
    *,
    extra: Iterable[Finding] = (),
    not_judged: Iterable[NotJudged] = (),
    looked_at: str = "",
    strict: bool = False,
) -> CheckReport:
    """Every check on what is known of a run. One that raises is switched off with a note, unless it is `strict`.

    Raises:
        LossDoctorError: a setting names no threshold of its check.
    """
    run = run.knowing({"task": Fact(_task(run), later("told from the other facts"))})
    plan = plan_of(run)
    found, missing, faults = list(extra), {}, []  # type: list[Finding], dict[str, str], list[NotJudged]
    checks = build(all_checks(), settings)
    for one in checks:
        try:
            finding = one.look(plan)
            why = one.blind(plan) if finding is None else None
        except Exception as error:
            if strict:
                raise
            faults.append(
                NotJudged(
                    one.slug, say("switched off by an error of its own ({name}: {error})", name=type(error).__name__, error=error)
                )
            )
            continue
        if finding is not None:
            found.append(finding)
        elif why:
            missing[one.slug] = why
    findings = _merged(found, checks)
    told = (*_by_reason(missing), *faults, *not_judged)
    return CheckReport(run, plan, findings, told, _verdict(findings, run), looked_at)


def _merged(found: Sequence[Finding], checks: Sequence[Check]) -> tuple[Finding, ...]:
    """The worst first, without those that say again what another one has said; of one slug the worst."""
    slugs = {finding.slug for finding in found}
    said = {other for one in checks if one.slug in slugs for other in one.includes}
    places = {one.slug: one.place for one in checks}
    told = (finding for finding in found if finding.slug not in said)
    return tuple(sorted(told, key=lambda finding: (-RANK[finding.severity], places.get(finding.slug, 5))))


def _by_reason(missing: Mapping[str, str]) -> tuple[NotJudged, ...]:
    """What could not be judged, those with one reason together."""
    reasons: dict[str, list[str]] = {}
    for slug, why in missing.items():
        reasons.setdefault(why, []).append(slug)
    return tuple(NotJudged(", ".join(slugs), why) for why, slugs in reasons.items())


def _verdict(findings: Sequence[Finding], run: Run) -> Verdict:
    """That of the worst finding; insufficient where nothing is known that a check looks at."""
    worst = max((RANK[finding.severity] for finding in findings), default=-1)
    if worst > 0:
        return "critical" if worst == RANK["critical"] else "warning"
    names = set(run.facts) - {"task", "framework", "trainer", "model_name_or_path", "model_type", "gpu", "dataset_size"}
    return "healthy" if names or findings else "insufficient"


def _task(run: Run) -> str:
    """What is learned: told from the trainer, from settings that only some have, or from names."""
    task = task_of_run(run)
    if run.get("num_generations"):
        return REINFORCEMENT
    if run.words("trainer") or task in (PREFERENCE, REINFORCEMENT):
        return task
    if run.get("beta") is not None or run.get("ref_model"):
        return PREFERENCE
    words = f"{run.words('dataset')} {run.path.lower()}"
    return next((named for named, marks in _TASKS if any(mark in words for mark in marks)), task)


def _run(source: Any, model: Any) -> Run:
    """What a source tells, whatever it is."""
    from lossdoctor.facts import config_file, live

    if isinstance(source, Run):
        run = source
    elif isinstance(source, Mapping):
        stated = config_file.of_mapping(source, "stated")
        run = Run(kind="mapping", facts=stated).knowing(_marked(_inner_deepspeed(stated)))
    elif isinstance(source, (str, os.PathLike)):
        return _of_paths([source], model)
    elif isinstance(source, Sequence):
        return _of_paths(source, model)
    elif hasattr(source, "learning_rate") or hasattr(source, "num_train_epochs"):
        return Run(path=str(getattr(source, "output_dir", "") or ""), kind="live", facts=live.gather(source, model=model))
    else:
        raise LossDoctorError(f"check takes TrainingArguments, a mapping or a path, found {type(source).__name__}")
    return _with_model(run, model)


def _with_model(run: Run, model: Any) -> Run:
    from lossdoctor.facts import live

    return run if model is None else run.knowing(live.of_model(model), first=True)


def _of_paths(paths: Sequence[str | os.PathLike[str]], model: Any = None) -> Run:
    """One run as several files tell of it; the later ones win, save that a DeepSpeed configuration decides nothing."""
    if not paths:
        raise LossDoctorError("check takes at least one path")
    run = Run(path=", ".join(os.fspath(path) for path in paths), kind="configuration")
    for path in map(Path, paths):
        own, beside, notes = _read(path)
        of_deepspeed = _is_deepspeed(path)
        run = run.knowing(_marked(own) if of_deepspeed else own, first=not of_deepspeed)
        for more in beside:
            run = run.knowing(more)
        run = replace(run, notes=(*run.notes, *notes))
    steps = run.facts.get("max_steps")
    if steps is not None and steps.source.endswith(DEEPSPEED) and "num_train_epochs" in run.facts:
        run = replace(run, facts={name: found for name, found in run.facts.items() if name != "max_steps"})
    return _with_model(run, model)


def _read(path: Path) -> tuple[dict[str, Fact], list[dict[str, Fact]], list[str]]:
    """What a file or a folder states, what lies beside it or within it, and notes on what could not be read."""
    from lossdoctor import facts
    from lossdoctor.facts import config_file, training_args

    if path.is_dir():
        found, notes = facts.beside([path], [path])
        if not any(found):
            raise LossDoctorError(f"{path} is a folder without a training_args.bin, an adapter_config.json or another source")
        return found[0], found[1:], notes
    if path.suffix == ".bin":
        return training_args.read(path), [], []
    own = config_file.read_alone(path)
    beside = _inner_deepspeed(own) or config_file.with_deepspeed(own, path.parent)[1]
    return own, [_marked(beside)] if beside else [], []


def _is_deepspeed(path: Path) -> bool:
    """Whether a file is the JSON of DeepSpeed itself, which speaks of the Trainer's settings as its own."""
    from lossdoctor.facts import deepspeed_config, files

    try:
        return path.is_file() and path.suffix != ".bin" and deepspeed_config.recognise(files.mapping(path))
    except LossDoctorError:  # text with flags, a model card
        return False


def _inner_deepspeed(own: Mapping[str, Fact]) -> dict[str, Fact]:
    """What a DeepSpeed configuration states that stands within another one, also where both speak of the same."""
    from lossdoctor.facts import deepspeed_config
    from lossdoctor.facts.canonical import translate

    known = own.get("deepspeed")
    if known is None or not isinstance(known.value, dict):
        return {}
    return translate(deepspeed_config.beside(known.value, own), known.source)


def _marked(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Facts that are DeepSpeed's, so that everybody sees whose they are."""
    return {name: Fact(found.value, f"{found.source} {DEEPSPEED}") for name, found in facts.items()}
