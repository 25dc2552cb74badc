"""`trainer_state.json` of the Hugging Face Trainer, versions 3 to 5, with the quirks of real files."""

from __future__ import annotations

import json
from typing import Any

from lossdoctor.facts.canonical import translate
from lossdoctor.model import Fact, Log, LossDoctorError, NothingToAnalyse, Run
from lossdoctor.parsing.rows import emptied, records
from lossdoctor.parsing.source import Source
from lossdoctor.readers.json_lines import PROGRESS

KIND = "trainer_state"
#: An iterable data set leaves the largest integer here.
UNKNOWN_EPOCHS = 2**31


def recognise(source: Source) -> bool:
    """A JSON object, or text around one, that speaks of `log_history`; the rows of ms-swift end with an empty one."""
    known = source.text.lstrip()[:1] == "{" and '"log_history"' in source.text
    return known and f'"{PROGRESS}"' not in source.head


def read(source: Source) -> list[Log]:
    """One run.

    Raises:
        LossDoctorError: the JSON is cut off or broken, or has another shape.
        NothingToAnalyse: the history is empty.
    """
    text = source.take().lstrip()
    try:
        state, _ = json.JSONDecoder().raw_decode(text)
    except ValueError as error:
        place = getattr(error, "pos", 0)
        cut = place >= len(text.rstrip()) - 10 or "Unterminated" in str(error)
        what = f"is cut off after {len(text):,} characters" if cut else f"is broken JSON at character {place:,}"
        raise LossDoctorError(f"{source.name} {what}; a complete trainer_state.json was expected") from None
    except RecursionError:
        raise LossDoctorError(f"{source.name} is nested too deeply for a trainer_state.json") from None
    del text  # before there are records beside the rows
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise LossDoctorError(f"{source.name} has a log_history that is not a list; a trainer_state.json was expected")
    logged = len(history)
    found, notes, resumed_at, numbered = records(emptied(history), given_up=True)
    if not found:
        rows = f"{logged} rows without a number" if logged else "an empty log_history"
        raise NothingToAnalyse(f"{source.name} has {rows}: training stopped before the first logging step, nothing to analyse")
    return [Log(Run(kind=KIND, facts=_facts(state), notes=tuple(notes), resumed_at=resumed_at, numbered=numbered), tuple(found))]


def _facts(state: dict[str, Any]) -> dict[str, Fact]:
    names = ("max_steps", "logging_steps", "save_steps", "eval_steps", "num_train_epochs")
    facts = translate({name: state.get(name) for name in names}, KIND)
    batch = state.get("train_batch_size")
    if isinstance(batch, int) and batch > 0:
        facts["per_device_train_batch_size"] = Fact(batch, KIND)
    epochs = facts.get("num_train_epochs")
    if epochs and epochs.value > UNKNOWN_EPOCHS:
        del facts["num_train_epochs"]
    return facts
