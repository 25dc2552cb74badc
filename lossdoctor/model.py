"""The nouns: what was logged, what is known, what was seen, why, and what to change.

Frozen dataclasses on the standard library alone, so that every other part may import them for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar

from lossdoctor.agreement import agree, number

Kind = Literal["train", "eval", "summary", "probe"]
Severity = Literal["critical", "warning", "info"]
Confidence = Literal["high", "medium", "low"]
Verdict = Literal["critical", "warning", "healthy", "insufficient"]
Cost = Literal["none", "low", "medium", "high"]
Arguments = TypeVar("Arguments")

#: Worse is larger, so that severities can be compared.
RANK: Mapping[str, int] = {"info": 0, "warning": 1, "critical": 2}


class LossDoctorError(Exception):
    """The input or a setting cannot be used; the text is one line for the user."""


class NothingToAnalyse(LossDoctorError):
    """The input is a log, and there is not one row in it."""


class NotALog(LossDoctorError):
    """The input is something else than a log, and no waiting will make it one."""


@dataclass(slots=True)  # a frozen one takes four times as long to make, and a log has a million of them
class Record:
    """One logged row: `step` counts optimizer steps from 1, `values` holds every number of the row by its own name.

    A `probe` record is not from the log: it is what an instrument inside the training saw in that very step. Nobody changes
    one: detectors, the report and the fingerprint of a run share it.
    """

    step: int
    epoch: float | None
    kind: Kind
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing known besides the log, and where it came from."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Sources that state different values of one fact: the one that is used first, then those that say otherwise."""

    name: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint folder that is on disk beside the log."""

    step: int
    path: str


@dataclass(frozen=True)
class Run:
    """What is known of a run besides its rows; every fact may be missing."""

    path: str = ""
    kind: str = ""
    name: str = ""  # which one, where a source holds several runs
    facts: Mapping[str, Fact] = field(default_factory=dict)
    checkpoints: tuple[Checkpoint, ...] = ()
    notes: tuple[str, ...] = ()
    numbered: bool = False  # the log has no steps: its rows were numbered, and a step may stand for hundreds
    resumed_at: tuple[int, ...] = ()  # where the rows go on from an earlier checkpoint: the first step of each new branch
    conflicts: tuple[Conflict, ...] = ()
    configurations: tuple[Mapping[str, Fact], ...] = ()  # what each configuration that the user named states, the oldest first
    watched: Mapping[str, int] = field(default_factory=dict)  # what live instruments see, from which step on: see `probe_columns`
    unseen: tuple[NotJudged, ...] = ()  # what they could not see, and why
    same: tuple[str, ...] = ()  # other sources that hold the same rows

    @property
    def title(self) -> str:
        """Where the run is from, and which one of several there; nothing where that is not known."""
        return f"{self.path} [{self.name}]" if self.path and self.name else self.path or self.name

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a fact by its canonical name, or `default` where it is not known."""
        fact = self.facts.get(name)
        return default if fact is None else fact.value

    def words(self, *names: str) -> str:
        """The values of these facts in one lower-case text, to look for names in; nothing for a fact that is not known."""
        return " ".join(str(self.get(name) or "") for name in names).lower()

    def knowing(self, facts: Mapping[str, Fact], *, first: bool = False) -> Run:
        """This run with more facts; what is known already wins, unless the new ones come `first`. Conflicts are kept."""
        merged = {**self.facts, **facts} if first else {**facts, **self.facts}
        told = {conflict.name: conflict.facts for conflict in self.conflicts}
        for name in facts.keys() & self.facts.keys():
            if name == "num_train_epochs" and "max_steps" in facts:
                continue  # the steps decide, and the epochs beside them are a default that nobody chose
            known = told.pop(name, (self.facts[name],))
            used, *others = (facts[name], *known) if first else (*known, facts[name])
            differing = [fact for fact in others if _differ(name, used, fact)]
            if differing:
                told[name] = (used, *differing)
        conflicts = tuple(Conflict(name, stated) for name, stated in sorted(told.items()))
        return replace(self, facts=merged, conflicts=conflicts)


def _differ(name: str, one: Fact, other: Fact) -> bool:
    """Whether two sources disagree; the batch size in a trainer_state counts all GPUs of its one process."""
    if name == "per_device_train_batch_size" and "trainer_state" in (one.source, other.source):
        first, second = (number(fact.value) or 0 for fact in sorted((one, other), key=lambda f: f.source != "trainer_state"))
        if second and first > second and first % second == 0:
            return False
    return not agree(name, one.value, other.value)


@dataclass(frozen=True)
class Log:
    """One run as a reader found it: the rows in the order they were written."""

    run: Run
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Symptom:
    """What was seen in one series from `onset` to `last`, with the numbers that show it.

    Slug, series and onset are its identity: a detector that returns the same identity again reports a new state of the
    same symptom. A symptom that is no longer `open` has healed. One that comes and goes has in `steps` where it began each
    time, the onset first; of very many, some.
    """

    slug: str
    series: str
    severity: Severity
    onset: int
    last: int
    open: bool
    message: str
    evidence: Mapping[str, float] = field(default_factory=dict)
    steps: tuple[int, ...] = ()

    @property
    def identity(self) -> tuple[str, str, int]:
        return (self.slug, self.series, self.onset)


@dataclass(frozen=True, slots=True)
class Rule:
    """A value that somebody has to choose, in words: "true on Ampere or newer, else false". Never pasted anywhere."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to change: `settings` are TrainingArguments names with values, or names of the tool that `do` mentions.

    A value is what can be pasted (true or false, a number, None, a name, a list, a mapping), or else a `Rule`.
    Remedies of one diagnosis are meant together, except that an `alternative` is taken instead of those before it.
    """

    do: str
    why: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = "low"
    sources: tuple[str, ...] = ()
    alternative: bool = False


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why: one candidate cause, with what speaks for and against it. `normal` is alarming to look at, yet expected."""

    slug: str
    title: str
    confidence: Confidence
    because: tuple[Symptom, ...]
    explanation: str
    supports: tuple[str, ...] = ()
    contradicts: tuple[str, ...] = ()
    decide_by: str = ""
    remedies: tuple[Remedy, ...] = ()
    normal: bool = False
    mechanism: bool = False  # explains why the log looks as it does rather than why the run failed


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found in a configuration: one sentence, the numbers it rests on, and what to change.

    `because` has the lines of evidence, each with where its number is from or how it was worked out.
    """

    slug: str
    severity: Severity
    message: str
    because: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()


def surely_expected(diagnoses: Iterable[Diagnosis]) -> set[tuple[str, str, int]]:
    """The identities of the symptoms that a confident diagnosis explains as normal: they alarm nobody."""
    return {s.identity for d in diagnoses if d.normal and d.confidence == "high" for s in d.because}


def fails(severity: str, fail_on: str) -> bool:
    """Whether a severity or verdict is as bad as `fail_on`: "critical", "warning", or "never"."""
    return fail_on != "never" and RANK.get(severity, -1) >= RANK[fail_on]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One setting to change: the new value, the one so far (None where it is not known), what that does, why, and for whom."""

    value: Any
    was: Any
    do: str
    because: str
    slug: str  # the diagnosis that it is from


@dataclass(frozen=True, slots=True)
class NotJudged:
    """Something that could not be judged, and the reason."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Ends:
    """How one column began and ended: the means of its first three and its last five rows; and the highest row."""

    rows: int
    first: float
    last: float
    highest: float


@dataclass(frozen=True)
class Outline:
    """The course of a log in a few numbers, for causes that weigh more than symptoms; None or 0 where the log does not say.

    `table` has columns of equal length (`step`, `epoch`, `loss`, `rate`, `norm`; NaN where nothing was logged), thinned out in
    long runs; `ends` has the columns that only preference tuning and reinforcement learning log.
    """

    rows: int = 0
    evals: int = 0
    first_step: int | None = None
    last_step: int | None = None
    window: int = 1  # optimizer steps between rows
    epochs: float | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    level: float | None = None  # the median of the last five losses
    first_eval: float | None = None
    best_eval: float | None = None
    last_eval: float | None = None
    begins_late: bool = False
    numbered: bool = False  # the steps are row numbers
    table: Mapping[str, Sequence[float]] = field(default_factory=dict)
    ends: Mapping[str, Ends] = field(default_factory=dict)
    metrics: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # at the lowest evaluation loss, and at the end
    last_eval_step: int | None = None  # the last one with a finite loss
    eval_gap: int | None = None  # steps between the last two evaluations
    reward_nan: bool = False  # rewards, log probabilities or KL divergence of the last row are NaN
    _there: dict[str, list[float]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def there(self, name: str) -> list[float]:
        """The values of a column of the table that were logged."""
        if name not in self._there:
            self._there[name] = [value for value in self.table.get(name, ()) if value == value]
        return self._there[name]

    @property
    def steps_per_epoch(self) -> float | None:
        """Optimizer steps in one epoch; None before a tenth of an epoch, or where steps or epochs are not logged."""
        known = self.epochs and self.epochs > 0.1 and self.last_step and not self.numbered
        return self.last_step / self.epochs if known else None  # type: ignore[operator]

    @property
    def now(self) -> float | None:
        """Where the loss is: its level, or the last row of a few."""
        return self.last_loss if self.rows < 6 or self.level is None else self.level

    @property
    def fallen(self) -> float | None:
        """Share by which the loss is below its first row; None with a single row."""
        if not self.first_loss or self.now is None or self.rows < 2:
            return None
        return (self.first_loss - self.now) / abs(self.first_loss)

    @cached_property
    def peak_rate(self) -> float | None:
        """The highest learning rate of the log; None where none was logged above 0."""
        return max((rate for rate in self.there("rate") if rate > 0), default=None)

    @cached_property
    def typical_norm(self) -> float | None:
        """The middle one of all gradient norms; None where none was logged."""
        norms = sorted(self.there("norm"))
        return norms[len(norms) // 2] if norms else None

    def rate_begun_anew(self, step: int, times: float) -> tuple[float, float] | None:
        """The learning rate before `step`, fallen from its peak, and the highest of the next five rows, if so many times it."""
        rows = [(s, r) for s, r in zip(self.table.get("step", ()), self.table.get("rate", ()), strict=True) if r == r]
        before, after = [rate for at, rate in rows if at < step], [rate for at, rate in rows if at >= step][:5]
        fell = bool(before and after) and before[-1] < 0.98 * max(before)
        return (before[-1], max(after)) if fell and max(after) >= times * before[-1] else None

    def rate_at(self, step: int) -> float | None:
        """The learning rate of the first row at or after `step`; None where none was logged."""
        rows = zip(self.table.get("step", ()), self.table.get("rate", ()), strict=True)
        return next((rate for at, rate in rows if at >= step and rate == rate), None)


@dataclass(frozen=True)
class Chart:
    """All that a cause may look at."""

    run: Run
    symptoms: tuple[Symptom, ...]
    outline: Outline = field(default_factory=Outline)

    def seen(self, slug: str) -> Symptom | None:
        """The worst symptom of that slug, the earliest among equals; None where it was not seen."""
        found = [s for s in self.symptoms if s.slug == slug]
        return max(found, key=lambda s: (RANK[s.severity], s.open, -s.onset), default=None)

    def all(self, *slugs: str) -> Iterator[Symptom]:
        """Every symptom with one of these slugs, in the order they were seen."""
        return (s for s in self.symptoms if s.slug in slugs)


@dataclass(frozen=True, repr=False)
class Report:
    """The whole outcome. `records` may be thinned out; `rows` counts all training and evaluation rows that were read."""

    run: Run
    records: tuple[Record, ...]
    rows: int
    verdict: Verdict
    symptoms: tuple[Symptom, ...]
    diagnoses: tuple[Diagnosis, ...]
    not_judged: tuple[NotJudged, ...] = ()
    first_step: int | None = None
    last_step: int | None = None
    epochs: float | None = None
    last_good_step: int | None = None
    last_good_checkpoint: str | None = None

    @property
    def leading(self) -> Diagnosis | None:
        """The diagnosis to act on: the first that is not normal and more than a guess."""
        return next((d for d in self.diagnoses if not d.normal and d.confidence != "low"), None)

    @property
    def suggestions(self) -> dict[str, Suggestion]:
        """What to change by the name of the setting, from the leading diagnosis; the first remedy that names a setting wins.

        Without alternatives, without values that somebody has to choose, and without what is as it should be already.
        """
        cause = self.leading
        return suggested(self.run, [(remedy, cause.slug) for remedy in cause.remedies] if cause else ())

    def suggested_arguments(self, args: Arguments) -> Arguments:
        """A new object of the class of `args` (TrainingArguments, SFTConfig, …) with the suggestions that are fields of it.

        `args` stays as it is. What belongs elsewhere (LoraConfig, from_pretrained, …) is left to `suggestions`.

        Raises:
            LossDoctorError: `args` is no such object, or its class refuses a suggestion.
        """
        from lossdoctor.arguments import changed

        try:
            return changed(args, {name: suggestion.value for name, suggestion in self.suggestions.items()})
        except ValueError as error:
            raise LossDoctorError(f"suggested_arguments: {error}") from None

    def save(self, file: str | PathLike[str]) -> None:
        """Writes the report to a file; its ending says how: .html, .md (its chart beside it), .json, .xml (JUnit), .svg, or text.

        Raises:
            LossDoctorError: the file cannot be written.
        """
        from lossdoctor.reports import save

        save([self], Path(file))

    def to_dataframe(self) -> Any:
        """The rows as a pandas DataFrame: `step`, `epoch`, `kind`, a column for each number that was logged, and `symptoms`.

        `symptoms` names what was going on in that row, by slug. Of a run of more than 4,000 rows it has those that are kept.

        Raises:
            LossDoctorError: pandas is not installed.
        """
        from lossdoctor.reports.dataframe import render

        return render(self)

    def __repr__(self) -> str:
        seen = ", ".join(dict.fromkeys(symptom.slug for symptom in self.symptoms)) or "nothing seen"
        return f"<Report on {self.run.title or 'a run'}: {self.verdict}, {self.rows:,} rows; {seen}>"

    def __str__(self) -> str:
        """The report as text, as the command line prints it."""
        from lossdoctor.reports import FORMATS, Look

        return FORMATS["text"]([self], Look(color=False))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """How notebooks show it: curves, verdict and what to change; the whole report folds out."""
        from lossdoctor.reports.notebook import bundle

        return bundle(self)


def suggested(run: Run, remedies: Iterable[tuple[Remedy, str]]) -> dict[str, Suggestion]:
    """The settings of remedies, each with the slug that it is from, as suggestions; the first that names a setting wins."""
    from lossdoctor.settings import FACTS

    found: dict[str, Suggestion] = {}
    for remedy, slug in remedies:
        for name, value in {} if remedy.alternative else remedy.settings.items():
            if name not in found and not isinstance(value, Rule):
                was = run.get(name, run.get(FACTS.get(name, name)))
                found[name] = Suggestion(value, was, remedy.do, remedy.why, slug)
    return {name: suggestion for name, suggestion in found.items() if not _same(suggestion.value, suggestion.was)}


def _same(value: Any, was: Any) -> bool:
    return was is not None and isinstance(value, bool) is isinstance(was, bool) and bool(value == was)
