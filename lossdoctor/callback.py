"""The doctor inside a Trainer. The only file that imports transformers."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from transformers import TrainerCallback

from lossdoctor.base import Page
from lossdoctor.engine import Engine, Event, Sink
from lossdoctor.facts import live
from lossdoctor.facts.canonical import fact
from lossdoctor.model import Checkpoint, LossDoctorError, Record, Report, Run, Symptom
from lossdoctor.readers.folder import checkpoints
from lossdoctor.readers.rows import records
from lossdoctor.sinks.console import Console, write

#: Training rows after a resume within which a repaired run shows that it is well.
ROWS_TO_HEAL = 3
Handler = TypeVar("Handler", bound=Callable[..., None])


def _harmless(handler: Handler) -> Handler:
    """No exception leaves the callback: the first one is reported, switches the doctor off, and training goes on."""

    @functools.wraps(handler)
    def guarded(self: LossDoctorCallback, *args: Any, **kwargs: Any) -> None:
        if self.failure is not None:
            return
        try:
            handler(self, *args, **kwargs)
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
            with suppress(Exception):  # not even a closed stderr may stop a training
                write(f"lossdoctor: switched off by an error of its own ({self.failure}); training goes on")

    return guarded  # type: ignore[return-value]


class LossDoctorCallback(TrainerCallback):
    """Watches a run while it trains: `trainer.add_callback(LossDoctorCallback())`.

    Reads what the Trainer logs and nothing else: no synchronisation, no collective, no change to `logs` or weights. Runs on
    every rank, since all ranks see the same rows and must decide alike; only the main process prints.

    Args:
        on_critical: "warn" says so; "stop" also ends training after the step in which a critical symptom opened.
        sinks: callables that are told of every change, instead of the console; `[]` is silent.
        facts: what the objects of the Trainer do not tell, such as `{"gpu": "RTX 3090"}`.
        settings: thresholds by slug, as in `[tool.lossdoctor]`.
        plugins: detectors and causes of your own, as instances or classes, besides those that are there anyway.

    Raises:
        LossDoctorError: an argument cannot be used. This is said when the callback is made, never during training.
    """

    def __init__(
        self,
        on_critical: Literal["warn", "stop"] = "warn",
        sinks: Iterable[Sink] | None = None,
        facts: Mapping[str, Any] | None = None,
        settings: dict[str, dict[str, Any]] | None = None,
        plugins: Iterable[Page | type[Page]] = (),
    ) -> None:
        if on_critical not in ("warn", "stop"):
            raise LossDoctorError(f'on_critical takes "warn" or "stop", found {on_critical!r}')
        self.on_critical = on_critical
        self.failure: str | None = None
        self._sinks: list[Sink] | None = None if sinks is None else list(sinks)
        self._known = dict(fact(name, value, "LossDoctorCallback") for name, value in (facts or {}).items())
        self._settings = settings
        self._plugins = tuple(plugins)
        self._checkpoints: dict[int, str] = {}
        self._started = False
        self._rows_to_recheck = 0
        self._engine = Engine(Run(facts=self._known), settings=settings, plugins=self._plugins)

    @property
    def report(self) -> Report:
        """The outcome so far."""
        self._engine.know(self._saved())
        return self._engine.report()

    @_harmless
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self._begin(args, state, model, state.log_history)

    def _begin(self, args: Any, state: Any, model: Any, history: list[Any]) -> None:
        """A fresh engine; what a resumed run logged before is replayed in silence, since it was told when it happened."""
        run = Run(kind="live", path=str(args.output_dir or ""), facts={**live.gather(args, state, model), **self._known})
        engine = Engine(run, settings=self._settings, plugins=self._plugins)
        for record in records(history)[0]:
            engine.observe(record)
        if state.is_world_process_zero:
            engine.sinks = [Console()] if self._sinks is None else list(self._sinks)
        self._engine, self._started = engine, True
        self._rows_to_recheck = ROWS_TO_HEAL if history else 0
        self._checkpoints = {c.step: c.path for c in checkpoints(Path(args.output_dir or "."))}

    @_harmless
    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        if not self._started:  # added while the training was already going on; the last row of the history is this one
            self._begin(args, state, kwargs.get("model"), state.log_history[:-1])
        row = {**(logs or {}), "step": state.global_step}
        for record in records([row])[0]:
            changed = [*self._engine.observe(record), *self._still_broken(record)]
            if self.on_critical == "stop" and any(s.open and s.severity == "critical" for s in changed):
                control.should_training_stop = True
            if record.kind == "summary" and "train_runtime" in record.values:
                self._engine.know(self._saved())
                self._engine.finish()  # here rather than in on_train_end: there, trackers are closed already

    def _still_broken(self, record: Record) -> Iterable[Symptom]:
        """What was critical before a resume, and has not healed in the first rows after it: that is news after all."""
        if record.kind != "train" or not self._rows_to_recheck:
            return ()
        self._rows_to_recheck -= 1
        if self._rows_to_recheck:
            return ()
        symptoms = [s for s in self._engine.report().symptoms if s.open and s.severity == "critical"]
        for symptom in symptoms:
            self._engine.tell(Event("opened", symptom, self._engine.report))
        return symptoms

    @_harmless
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._checkpoints[state.global_step] = str(Path(args.output_dir, f"checkpoint-{state.global_step}"))
        self._engine.know(self._saved())

    def _saved(self) -> tuple[Checkpoint, ...]:
        """The checkpoints of this run that are still on disk: `save_total_limit` deletes the old ones."""
        known = sorted(self._checkpoints.items())
        return tuple(Checkpoint(step, path) for step, path in known if os.path.isdir(path))  # noqa: PTH112  # never raises


__all__ = ["LossDoctorCallback"]
