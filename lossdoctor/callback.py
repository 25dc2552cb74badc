"""The doctor inside a Trainer. The only file that imports transformers."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from transformers import TrainerCallback

from lossdoctor.base import Page
from lossdoctor.engine import Engine, Event, Sink
from lossdoctor.facts import live
from lossdoctor.facts.canonical import fact
from lossdoctor.language import not_spoken, say
from lossdoctor.model import Checkpoint, LossDoctorError, Record, Report, Run, Symptom
from lossdoctor.parsing.rows import records
from lossdoctor.probe_columns import NONFINITE_WEIGHTS, NOT_SAVED
from lossdoctor.probes import trainer as trainers
from lossdoctor.probes.instruments import Instruments
from lossdoctor.probes.ranks import Ranks
from lossdoctor.probes.votes import NO_SAVING, STOP, Votes
from lossdoctor.readers.folder import checkpoints
from lossdoctor.rotation import doomed, put_aside
from lossdoctor.sinks import opening
from lossdoctor.sinks.console import Console, write
from lossdoctor.sinks.trackers import reporting

#: Training rows after a resume within which a repaired run shows that it is well.
ROWS_TO_HEAL = 3
Handler = TypeVar("Handler", bound=Callable[..., None])


def _harmless(handler: Handler) -> Handler:
    """No exception leaves the callback: the first one is reported, switches the doctor off, and training goes on."""

    @functools.wraps(handler)
    def guarded(self: LossDoctorCallback, *args: Any, **kwargs: Any) -> None:
        if self.failure is not None:
            with suppress(Exception):
                if self._votes is not None:
                    self._votes.keep(handler.__name__, *args, **kwargs)
            return
        try:
            handler(self, *args, **kwargs)
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
            with suppress(Exception):  # not even a closed stderr may stop a training
                write(say("lossdoctor: switched off by an error of its own ({failure}); training goes on", failure=self.failure))
            with suppress(Exception):
                self._close()

    return guarded  # type: ignore[return-value]


class LossDoctorCallback(TrainerCallback):
    """Watches a run while it trains: `trainer.add_callback(LossDoctorCallback())`.

    Reads what the Trainer logs, and sees what it does not log: the loss of every micro-batch, labels, the loss scale. No added
    synchronisation, no collective, no change to `logs`, weights or random numbers. Runs on every rank, since all ranks must
    decide alike; only the main process prints.

    Args:
        on_critical: "warn" says so; "stop" also ends training after the step in which a critical symptom opened.
        sinks: callables that are told of every change, instead of the console, TensorBoard and the trackers in
            `args.report_to`; `[]` is silent, `[Console()]` is the console alone.
        facts: what the objects of the Trainer do not tell, such as `{"gpu": "RTX 3090"}`.
        settings: thresholds by slug, as in `[tool.lossdoctor]`.
        plugins: detectors and causes of your own, as instances or classes, besides those that are there anyway.
        probes: look inside the training, and not at the log alone.
        protect: save no checkpoint of weights that are NaN, and keep the last good one from `save_total_limit`.
        at_once: look at the loss of every micro-batch as soon as it is there. On a CPU that is so anyway; on a device it waits
            once more for each micro-batch and each step, and finds the module where a NaN began before the optimizer spreads it.
        keep_batch: save the batch of the first NaN beside what is found out about it.
        check: look at the configuration when training begins, and print what is worth a warning.

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
        *,
        probes: bool = True,
        protect: bool = True,
        at_once: bool = False,
        keep_batch: bool = False,
        check: bool = True,
    ) -> None:
        if on_critical not in ("warn", "stop"):
            raise LossDoctorError(f'on_critical takes "warn" or "stop", found {on_critical!r}')
        self.on_critical = on_critical
        self.protect = protect
        self.failure: str | None = None
        self._sinks: list[Sink] | None = None if sinks is None else list(sinks)
        self._known = dict(fact(name, value, "LossDoctorCallback") for name, value in (facts or {}).items())
        self._settings = settings
        self._plugins = tuple(plugins)
        self._probes, self._at_once, self._keep_batch, self._check = probes, at_once, keep_batch, check
        self._attached: Any = None
        self._instruments: Instruments | None = None
        self._votes: Votes | None = None
        self._told = ""  # of the configuration
        self._checkpoints: dict[int, str] = {}
        self._started = self._learned = False
        self._rows_to_recheck = 0
        self._critical: set[tuple[str, str, int]] = set()
        self._engine = Engine(Run(facts=self._known), settings=settings, plugins=self._plugins)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy for another process or machine needs: the instruments belong to this training."""
        return {**self.__dict__, "_attached": None, "_instruments": None, "_votes": None}

    @property
    def report(self) -> Report:
        """The outcome so far."""
        self._learn()
        return self._engine.report()

    @_harmless
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if self._sinks is None and state.is_world_process_zero and (reason := not_spoken()):
            write(f"lossdoctor: {reason}; English is used")
        self._begin(args, state, model, state.log_history, kwargs.get("train_dataloader"))
        if self._check and self._sinks is None and state.is_world_process_zero and not state.log_history:
            self._told = opening.tell(self._engine.run, self._settings, before=self._told)

    def _begin(self, args: Any, state: Any, model: Any, history: list[Any], loader: Any) -> None:
        """A fresh engine; what a resumed run logged before is replayed in silence, since it was told when it happened."""
        self._close()
        self._instruments = None
        ranks = Ranks(f"{args.output_dir}/{state.max_steps}/{state.global_step}")
        self._votes = Votes(ranks)
        trainer = (self._attached and self._attached()) or trainers.find(self)
        if self._probes and getattr(trainer, "is_in_train", True) and model is not None:
            options = {"at_once": self._at_once, "keep_batch": self._keep_batch}
            self._instruments = Instruments(args, state, model, trainer, ranks, **options)
        run = Run(
            kind="live",
            path=str(args.output_dir or ""),
            facts={**live.gather(args, state, model, loader), **self._known},
            watched=self._instruments.watched if self._instruments else {},  # the dictionary itself: a probe may fail later
        )
        engine = Engine(run, settings=self._settings, plugins=self._plugins)
        for record in records(history)[0]:
            engine.observe(record)
        if state.is_world_process_zero:
            engine.sinks = [Console(), *reporting(args, trainer)] if self._sinks is None else list(self._sinks)
        self._engine, self._started, self._learned = engine, True, False
        self._rows_to_recheck = ROWS_TO_HEAL if history else 0
        self._critical = set()
        self._checkpoints = {c.step: c.path for c in checkpoints(Path(args.output_dir or "."))}

    def _close(self) -> None:
        if self._instruments is not None:
            self._instruments.close()

    @_harmless
    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        if not self._started:  # added while the training was already going on; the last row of the history is this one
            model, loader = kwargs.get("model"), kwargs.get("train_dataloader")
            self._begin(args, state, model, state.log_history[:-1], loader)
        inside = self._instruments
        for record in inside.logged() if inside else ():
            self._observe(record, control)
        if inside and not self._learned:
            self._learned = True
            self._learn()  # the loss of the first step is known from here on, and the size of the weights
        row = {**(logs or {}), "step": state.global_step}
        for record in records([row])[0]:
            self._observe(record, control)
            self._stop(self._still_broken(record), control)
            if record.kind == "train":
                if inside and (by_layer := inside.by_layer(record.values.get("grad_norm"))):
                    self._observe(by_layer, control)
                self._vote(args, state, control)
            if record.kind == "summary" and "train_runtime" in record.values:
                self._learn()
                self._engine.finish()  # here rather than in on_train_end: there, trackers are closed already

    def _observe(self, record: Record, control: Any) -> None:
        changed = self._engine.observe(record)
        if changed:
            self._stop(changed, control)
            if self._instruments and any(s.open and s.severity != "info" for s in changed):
                self._instruments.arm()

    def _stop(self, changed: Iterable[Symptom], control: Any) -> None:
        """Ends the training if a critical symptom has opened; with several processes that is put to the vote."""
        for symptom in changed:
            if symptom.open and symptom.severity == "critical":
                self._critical.add(symptom.identity)
            else:
                self._critical.discard(symptom.identity)
        alone = self._votes is None or self._votes.alone
        if self._critical and self.on_critical == "stop" and alone:
            control.should_training_stop = True

    def _still_broken(self, record: Record) -> tuple[Symptom, ...]:
        """What was critical before a resume, and has not healed in the first rows after it: that is news after all."""
        if record.kind != "train" or not self._rows_to_recheck:
            return ()
        self._rows_to_recheck -= 1
        if self._rows_to_recheck:
            return ()
        symptoms = tuple(s for s in self._engine.report().symptoms if s.open and s.severity == "critical")
        for symptom in symptoms:
            self._engine.tell(Event("opened", symptom, self._engine.report))
        return symptoms

    @_harmless
    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._instruments is not None:
            self._instruments.optimizer_stepped()

    @_harmless
    def on_step_end(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
        if self._instruments is not None:
            for record in self._instruments.step_ended(optimizer):
                self._observe(record, control)
        if self._votes is not None:
            self._votes.count(args, state, control)
        if control.should_save:
            self._before_saving(args, state, control)

    @_harmless
    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_save and self._instruments is not None:
            self._before_saving(args, state, control)

    def _vote(self, args: Any, state: Any, control: Any) -> None:
        """At a row, which all processes see alike: asks the others to stop as well."""
        if self._votes is None or self._votes.alone:
            return
        self._votes.count(args, state, control, row=True)
        if self._critical and self.on_critical == "stop":
            self._votes.ask(STOP, state.global_step)

    def _before_saving(self, args: Any, state: Any, control: Any) -> None:
        """A checkpoint is about to be written: not of weights that are NaN, and not in place of the last good one."""
        inside, votes = self._instruments, self._votes
        if not self.protect or inside is None or votes is None:
            return
        record = inside.weights()
        lost = record is not None and record.values[NONFINITE_WEIGHTS] > 0
        if votes.alone:
            votes.no_saving = lost
        elif record is not None and not votes.no_saving:
            votes.ask(NO_SAVING, state.global_step, wanted=lost)  # of a sharded model each sees its own share
        if record is not None and lost:
            self._observe(Record(record.step, None, "probe", {**record.values, NOT_SAVED: float(votes.no_saving)}), control)
        if votes.no_saving:
            control.should_save = False
        elif args.should_save and (lost or self._critical):
            self._keep_the_last_good_one(args, state)

    def _keep_the_last_good_one(self, args: Any, state: Any) -> None:
        """Puts it aside if this saving would delete it. Only this process deletes, so only this one has to know."""
        self._learn()
        good = self._engine.report().last_good_checkpoint
        for checkpoint in doomed(self._saved(), args.save_total_limit, (state.best_model_checkpoint,)):
            if checkpoint.path == good:
                self._checkpoints[checkpoint.step] = put_aside(checkpoint).path

    @_harmless
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._checkpoints[state.global_step] = str(Path(args.output_dir, f"checkpoint-{state.global_step}"))
        self._learn()

    @_harmless
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._learn()
        self._close()

    def _learn(self) -> None:
        """Hands on what has changed besides the rows."""
        self._engine.know(self._saved())
        if self._instruments is not None:
            self._engine.learn(self._instruments.facts(), self._instruments.unseen())

    def _saved(self) -> tuple[Checkpoint, ...]:
        """The checkpoints of this run that are still on disk: `save_total_limit` deletes the old ones."""
        known = sorted(self._checkpoints.items())
        return tuple(Checkpoint(step, path) for step, path in known if os.path.isdir(path))  # noqa: PTH112  # never raises


def attach(trainer: Any, **options: Any) -> LossDoctorCallback:
    """Adds the doctor to a Trainer, and makes the Trainer known to it for sure; gives the callback.

    A `LossDoctorCallback` finds its Trainer by itself when the Trainer calls it. This is for Trainers that are driven by
    something else, and for those who like one line: `doctor = lossdoctor.attach(trainer, keep_batch=True)`.

    Args:
        trainer: any transformers Trainer, or a subclass such as SFTTrainer.
        options: the arguments of `LossDoctorCallback`; none if the Trainer has one already, which is then used.

    Raises:
        LossDoctorError: it is no Trainer, or options are given for a doctor that is there already.
    """
    handler = getattr(trainer, "callback_handler", None)
    if handler is None or not hasattr(trainer, "training_step"):
        raise LossDoctorError(f"attach takes a transformers Trainer, found {type(trainer).__name__}")
    doctor = next((c for c in handler.callbacks if isinstance(c, LossDoctorCallback)), None)
    if doctor is not None and options:
        raise LossDoctorError(f"this Trainer has a LossDoctorCallback already: give {', '.join(options)} to that one")
    if doctor is None:
        doctor = LossDoctorCallback(**options)
        trainer.add_callback(doctor)
    doctor._attached = weakref.ref(trainer)
    return doctor


__all__ = ["LossDoctorCallback", "attach"]
