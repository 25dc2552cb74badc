"""Records in, symptoms out, and at any time a report: the one engine behind the callback and the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lossdoctor.base import Cause, Detector, Page, counted
from lossdoctor.differential import diagnose
from lossdoctor.incidents import Incidents
from lossdoctor.kept import Kept
from lossdoctor.language import later, say
from lossdoctor.learning_rates import another_rate
from lossdoctor.model import (
    RANK,
    Chart,
    Checkpoint,
    Diagnosis,
    Fact,
    NotJudged,
    Record,
    Report,
    Run,
    Symptom,
    Verdict,
    surely_expected,
)
from lossdoctor.registry import all_causes, all_detectors, build, given, installed
from lossdoctor.remedies import first_bad_step, last_checkpoint_before
from lossdoctor.vitals import Vitals

Transition = Literal["opened", "worsened", "closed", "finished"]

#: Fewer training rows than this support no verdict of health.
ENOUGH_ROWS = 6
#: A run that was critical this often, and healed each time, is worth a look all the same.
HEALED_TO_WARN = 3
#: Symptoms kept; a run with more has long said all it has to say.
KEPT_SYMPTOMS = 256

#: Shares of `max_steps` at which the whole curve is looked at while the run goes on, and the rows it takes.
LOOKS = (0.4, 0.6, 0.8)
ROWS_TO_LOOK = 20
#: After this many sound rows running, detectors that sound rows tell nothing are left asleep.
NAP = 16

#: Records of a log from which on it is worth loading numpy to pass over stretches of it; and where it is loaded already.
LONG, LONG_ENOUGH = 16_384, 2_048
#: Records that are looked at together.
LEAST_WIDTH, MOST_WIDTH = 512, 8192


@dataclass(frozen=True)
class Event:
    """What a sink is told: a symptom that opened, got worse or closed, or (without a symptom) that the run is over.

    `report()` gives the state of the whole run at that row.
    """

    transition: Transition
    symptom: Symptom | None
    report: Callable[[], Report]


Sink = Callable[[Event], None]


class Engine:
    """Feeds every record to the vitals and to all detectors; keeps the latest state of every symptom.

    Args:
        run: what is known besides the rows.
        detectors, causes: instances to use instead of all that the registry finds.
        sinks: told about transitions only.
        settings: thresholds by slug, as in `[tool.lossdoctor]`.
        plugins: detectors and causes of your own besides these, as instances or classes.
        rows: keep rows in the report, to draw them.
        strict: let a failing detector raise (for tests) instead of switching it off with a note.
    """

    def __init__(
        self,
        run: Run | None = None,
        *,
        detectors: Sequence[Detector] | None = None,
        causes: Sequence[Cause] | None = None,
        sinks: Iterable[Sink] = (),
        settings: dict[str, dict[str, Any]] | None = None,
        plugins: Iterable[Page | type[Page]] = (),
        rows: bool = True,
        strict: bool = False,
    ) -> None:
        self.run = run or Run()
        self.vitals = Vitals(self.run)
        own = given(plugins, settings)
        names = {page.slug for page in own}
        known = build(all_detectors(), settings) if detectors is None else detectors
        self.detectors = [d for d in known if d.slug not in names] + [p for p in own if isinstance(p, Detector)]
        weighing = build(all_causes(), settings) if causes is None else causes
        self.causes = [c for c in weighing if c.slug not in names] + [p for p in own if isinstance(p, Cause)]
        self._left_out = installed()[1] if detectors is None else ()
        self.sinks = list(sinks)
        self.strict = strict
        self.rows = 0
        self._symptoms: dict[tuple[str, str, int], Symptom] = {}
        self._kept = Kept() if rows else None
        self._failed: list[NotJudged] = []
        self._last_step: int | None = None
        self._first_step: int | None = None
        self._listeners: dict[str, list[Detector]] = {}
        self._awake: list[Detector] = []
        self._sound_rows = 0
        self._look_at = self._next_look(0)
        self._looked: set[tuple[str, str, int]] = set()
        self._muted: set[tuple[str, str, int]] = set()
        self._incidents = Incidents(self.detectors)
        self._listen()

    def _next_look(self, step: int) -> float:
        """The step of the next look at the whole curve; never, where `max_steps` is not known."""
        total = self.run.get("max_steps") or 0
        return next((share * total for share in LOOKS if share * total > step), float("inf"))

    def _listen(self) -> None:
        """Who is to be told of which kind of record."""
        for kind in ("train", "eval", "summary", "probe"):
            hear = [d for d in self.detectors if kind in d.kinds and type(d).update is not Detector.update]
            self._listeners[kind] = hear
        self._awake = self._listeners["train"]

    def _audience(self) -> list[Detector]:
        """The detectors that must see this row of training: while all goes well, most of them sleep."""
        if not self.vitals.sound:
            self._sound_rows = 0
            self._awake = self._listeners["train"]
            return self._awake
        self._sound_rows += 1
        if self._sound_rows % NAP == 0:
            self._awake = [d for d in self._awake if not self._settled(d)]
        return self._awake

    def observe(self, record: Record) -> tuple[Symptom, ...]:
        """Takes the next record; returns the symptoms that opened, got worse or closed in it."""
        if record.kind in ("train", "eval"):
            self.rows += 1
            self._last_step = record.step
            if self._first_step is None:
                self._first_step = record.step
        if self._kept is not None:
            self._kept.add(record)
        vitals = self.vitals
        vitals.observe(record)
        changed: list[tuple[Transition, Symptom]] = []
        kind = record.kind
        for detector in self._audience() if kind == "train" else self._listeners[kind]:
            try:
                symptom = detector.update(record, vitals)
                if symptom is None or not (transition := self._note(_sound(symptom))):
                    continue
            except Exception as error:
                self._switch_off(detector, record.step, error)
                continue
            changed.append((transition, symptom))
        if kind == "train" and record.step >= self._look_at:
            changed += self._look()
        for transition, symptom in changed:  # only now, so that a sink which asks for the report gets the whole row
            self.tell(Event(transition, symptom, self.report))
        return tuple([symptom for _, symptom in changed]) if changed else ()

    def observe_all(self, records: Sequence[Record]) -> None:
        """Takes many records, as `observe` does with each; sound rows of long logs are taken together, see `lossdoctor.stretch`.

        Where no stretch begins it is tried again later, and later still: trying takes as long as some rows.
        """
        place, again, pause, width = 0, 0, NAP, LEAST_WIDTH
        if len(records) < (LONG_ENOUGH if "numpy" in sys.modules else LONG):
            again = len(records)
        while place < len(records):
            if place >= again and self.vitals.sound:
                given = records[place : place + width]
                passed = self._pass_over(given)
                place += passed
                if passed:
                    pause, width = NAP, min(MOST_WIDTH, max(LEAST_WIDTH, 2 * passed))
                    again = place + (passed < len(given))
                    continue
                again, pause = place + pause, min(2 * pause, MOST_WIDTH)
            self.observe(records[place])
            place += 1

    def _pass_over(self, records: Sequence[Record]) -> int:
        """Takes the stretch that these records begin with; how many of them it has."""
        from lossdoctor.passing import passed

        self._awake = [d for d in self._awake if not self._settled(d)]
        stretch = passed(self.vitals, self._awake, records, self._look_at)
        if stretch is None:
            return 0
        rows = stretch.rows
        self.rows += rows
        self._sound_rows += rows
        self._last_step = self.vitals.step
        if self._kept is not None:
            self._kept.extend(records[:rows], stretch.loss, stretch.norm)
        return rows

    def _look(self) -> list[tuple[Transition, Symptom]]:
        """What only the whole curve shows, judged now and then while the run goes on: changes worth a word."""
        self._look_at = self._next_look(self.vitals.step)
        if self.vitals.rows < ROWS_TO_LOOK:
            return []
        changed: list[tuple[Transition, Symptom]] = []
        seen = set()
        for detector in tuple(self.detectors):
            if type(detector).update is not Detector.update:
                continue  # it follows the rows and tells of its symptoms itself
            for symptom in self._continued(detector, over=False):
                if symptom.severity != "info":
                    if transition := self._note(symptom):
                        changed.append((transition, symptom))
                    if symptom.identity in self._symptoms:
                        seen.add(symptom.identity)
        for identity in sorted(self._looked - seen):
            changed.append(("closed", replace(self._symptoms[identity], open=False, last=self.vitals.step)))
            self._symptoms[identity] = changed[-1][1]
        self._looked = seen
        return changed

    def _continued(self, detector: Detector, over: bool = True) -> list[Symptom]:
        """The detector's last symptoms; one seen at an earlier look keeps the onset it was told with."""
        symptoms = self._finished(detector, over)
        if not self._looked:
            return symptoms
        onsets = {identity[:2]: identity[2] for identity in self._looked}
        return [replace(s, onset=onsets.get((s.slug, s.series), s.onset)) for s in symptoms]

    def _settled(self, detector: Detector) -> bool:
        try:
            return detector.settled
        except Exception as error:
            self._switch_off(detector, self.vitals.step, error)
            return True

    def _finished(self, detector: Detector, over: bool) -> list[Symptom]:
        try:
            return [_sound(symptom) for symptom in (detector.finish if over else detector.so_far)(self.vitals)]
        except Exception as error:
            self._switch_off(detector, self.vitals.step, error)
            return []

    def _note(self, symptom: Symptom) -> Transition | None:
        """Keeps the new state; says what changed, if anything that others want to know did."""
        known = self._symptoms.get(symptom.identity)
        if known is None:
            if self._incidents.told_already(symptom, self._symptoms):
                if len(self._muted) < KEPT_SYMPTOMS:
                    self._muted.add(symptom.identity)
                return None
            if len(self._symptoms) >= KEPT_SYMPTOMS or (symptom.identity in self._muted and not symptom.open):
                return None
        self._symptoms[symptom.identity] = symptom
        if known is None:
            return "opened"
        if known.open and not symptom.open:
            return "closed"
        if symptom.open and not known.open:
            return "opened"  # it has come back
        return "worsened" if RANK[symptom.severity] > RANK[known.severity] else None

    def tell(self, event: Event) -> None:
        """Passes an event on; a sink that fails is dropped, with a note in the report, and disturbs nobody."""
        for sink in tuple(self.sinks):
            try:
                sink(event)
            except Exception as error:
                if self.strict:
                    raise
                self.sinks.remove(sink)
                name = getattr(sink, "__name__", type(sink).__name__)
                self._failed.append(
                    NotJudged(
                        say("sink {name}", name=name),
                        say("switched off: {name}: {error}", name=type(error).__name__, error=error),
                    )
                )

    def finish(self) -> Report:
        """Tells the sinks that the run is over, and returns its report."""
        self.tell(Event("finished", None, self.report))
        return self.report()

    def know(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Replaces what is known of checkpoints: they come and go while a run goes on."""
        self.run = replace(self.run, checkpoints=tuple(checkpoints))

    def learn(self, facts: Mapping[str, Fact], unseen: Iterable[NotJudged] = ()) -> None:
        """Adds facts that only showed while the run went on, instead of those known before, and what instruments do not see."""
        self.run = self.vitals.run = replace(self.run, facts={**self.run.facts, **facts}, unseen=tuple(unseen))

    def _switch_off(self, detector: Detector, step: int, error: Exception) -> None:
        if self.strict:
            raise error
        self.detectors = [d for d in self.detectors if d is not detector]  # a new list: this one may be being walked
        self._listen()
        self._failed.append(
            NotJudged(
                detector.slug,
                say("switched off at step {step}: {name}: {error}", step=step, name=type(error).__name__, error=error),
            )
        )

    def report(self) -> Report:
        """The outcome so far. Changes nothing: the engine may go on observing."""
        symptoms = self._current()
        outline = self.vitals.outline()
        run = self.run.knowing({"task": Fact(self.vitals.task, later("columns of the log"))})
        if peak := another_rate(run, outline):
            run = run.knowing({"learning_rate": Fact(float(f"{peak:.3g}"), later("the highest rate of the log"))}, first=True)
        chart = Chart(run, symptoms, outline)
        diagnoses, failed = diagnose(self.causes, chart, self.strict)
        bad = first_bad_step(chart)
        last_good = self._last_step if bad is None else bad - 1 if bad > self.vitals.begin else None
        checkpoint = last_checkpoint_before(run, (last_good or 0) + 1)
        epochs = self.vitals.epoch
        return Report(
            run=run,
            records=self._kept.records() if self._kept else (),
            rows=self.rows,
            verdict=self._verdict(symptoms, diagnoses),
            symptoms=symptoms,
            diagnoses=diagnoses,
            not_judged=(*self._blind(), *self._left_out, *self._failed, *failed),
            first_step=self._first_step,
            last_step=self._last_step,
            epochs=epochs,
            last_good_step=last_good,
            last_good_checkpoint=checkpoint.path if checkpoint and last_good else None,
        )

    def _current(self) -> tuple[Symptom, ...]:
        """The latest state of every symptom, with what the detectors would say at the end of the log."""
        states = dict(self._symptoms)
        ended: set[tuple[str, str, int]] = set()
        for detector in tuple(self.detectors):
            for symptom in self._continued(detector):
                if symptom.identity in states or not self._incidents.told_already(symptom, states):
                    states[symptom.identity] = symptom
                    ended.add(symptom.identity)
        for identity in self._looked - ended:
            states[identity] = replace(states[identity], open=False, last=self.vitals.step)
        whole = [s for s in states.values() if not self._incidents.part_of_another(s, states)]
        return tuple(sorted(whole, key=lambda s: (s.onset, -RANK[s.severity], s.slug)))

    def _verdict(self, symptoms: tuple[Symptom, ...], diagnoses: tuple[Diagnosis, ...]) -> Verdict:
        """The worst symptom that is neither healed nor explained as normal by a confident diagnosis.

        A cause that is sure and asks for a change is worth a look even where what showed it is a note, or has healed.
        """
        expected = surely_expected(diagnoses)
        standing = [s.severity for s in symptoms if s.open and s.identity not in expected]
        if "critical" in standing:
            return "critical"
        healed = sum(s.severity == "critical" and not s.open for s in symptoms)
        sure = any(d.confidence == "high" and not d.normal and not d.mechanism for d in diagnoses)
        if "warning" in standing or healed >= HEALED_TO_WARN or sure:
            return "warning"
        judged = self.vitals.rows >= ENOUGH_ROWS and not self._failed  # a detector that failed may have missed what it is for
        return "healthy" if judged else "insufficient"

    def _blind(self) -> list[NotJudged]:
        reasons: dict[str, list[str]] = {}
        for detector in self.detectors:
            try:
                reason = detector.blind(self.vitals)
            except Exception as error:
                self._switch_off(detector, self.vitals.step, error)
                continue
            if reason:
                reasons.setdefault(reason, []).append(detector.slug)
        blind = []
        if self.vitals.rows < ENOUGH_ROWS:
            blind.append(
                NotJudged(
                    say("health of the run"),
                    say("{rows}: too few for a verdict of health", rows=counted(self.vitals.rows, "training row")),
                )
            )
        blind += [NotJudged(", ".join(slugs), reason) for reason, slugs in reasons.items()]
        blind += self.run.unseen
        if not self.vitals.loss_tells:
            blind.append(NotJudged(say("KL divergence"), say("this version does not watch it: look at its curve yourself")))
        blind += [NotJudged(say("part of the input"), note) for note in self.run.notes]
        return blind


def _sound(symptom: Symptom) -> Symptom:
    """The symptom, or an error that names what is wrong with it: a detector of somebody else may return anything."""
    if not isinstance(symptom, Symptom):
        raise TypeError(f"a detector returns a Symptom or None, found {symptom!r}")
    if symptom.severity not in RANK:
        raise ValueError(f"severity must be critical, warning or info, found {symptom.severity!r}")
    if bad := [name for name, value in symptom.evidence.items() if not isinstance(value, (int, float))]:
        raise TypeError(f"evidence must be numbers, found {symptom.evidence[bad[0]]!r} for {bad[0]}")
    return symptom


def examine(
    records: Sequence[Record],
    run: Run | None = None,
    settings: dict[str, dict[str, Any]] | None = None,
    plugins: Iterable[Page | type[Page]] = (),
    *,
    rows: bool = True,
) -> Report:
    """The report on a finished log; without `rows` it has none to draw."""
    engine = Engine(run, settings=settings, plugins=plugins, rows=rows)
    engine.observe_all(records)
    return engine.report()
