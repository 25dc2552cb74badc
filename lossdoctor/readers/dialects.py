"""Every dialect, in the order in which they are tried: the one that recognises the content reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from lossdoctor.model import Log, LossDoctorError
from lossdoctor.parsing import sqlite
from lossdoctor.parsing.source import Source


class Dialect(Protocol):
    """What the module of a dialect offers."""

    def recognise(self, source: Source, /) -> bool:
        """Whether the content is in this dialect."""

    def read(self, source: Source, /) -> list[Log]:
        """The runs in it."""


#: What trackers keep: each is told by its first bytes or its folder, whatever was tried before.
STORES = ("wandb_run", "mlflow_store", "trackio_store", "mlflow_folder", "dvclive")
#: Modules in this folder, loaded when they are asked. Usual ones come first, and what may be anything last.
DIALECTS = (
    *("event_files", "trainer_state", *STORES, "llama_factory", "mmengine", "json_lines", "jupyter_notebook"),
    *("trainer_stdout", "deepspeed", "megatron", "torchtune", "verl"),
    *("html_table", "markdown_table", "notebook_table", "lightning_csv", "wandb_csv"),
    *("progress_bar", "key_value", "plain_csv", "text_table", "bare_columns"),
)
#: Those for which a folder as such is a log, whatever else is in it: beside W&B's file lies what the same run printed.
#: Event files may lie in an output folder.
OF_FOLDERS = ("mlflow_folder", "dvclive", "wandb_run")


def dialects(without: Collection[str] = ()) -> Iterator[Dialect]:
    """The module of every dialect, in the order in which they are tried, but for those named."""
    return (_module(name) for name in DIALECTS if name not in without)


def _module(name: str) -> Dialect:
    return cast(Dialect, import_module(f"lossdoctor.readers.{name}"))


def reads_folder(folder: Path) -> bool:
    """Whether a folder as such, rather than a file in it, is a log; quick on any folder."""
    source = Source(str(folder), folder, "", folder=folder)
    try:
        return any(_module(name).recognise(source) for name in OF_FOLDERS)
    except OSError:  # one that may not be entered, or is just going
        return False


def read_file(source: Source) -> list[Log]:
    """The runs in one source.

    Raises:
        LossDoctorError: no dialect recognises the content, or the one that does cannot read it.
        NothingToAnalyse: it is a log without a row.
    """
    for dialect in dialects():
        if dialect.recognise(source):
            try:
                return dialect.read(source)
            except OSError as error:  # a store has many files, and one may just be going
                at = error.filename or source.name
                raise LossDoctorError(f"{at}: {(error.strerror or str(error)).lower()}") from None
    raise LossDoctorError(
        f"{source.name} is {_describe(source)}; expected a log of a training, such as a trainer_state.json, event files of "
        "TensorBoard, what a Trainer or another program printed, a table from a notebook, or CSV"
    )


def _describe(source: Source) -> str:
    if source.folder is not None:
        return "a folder without a log"
    if source.path is not None and source.magic.startswith(sqlite.MAGIC):
        with sqlite.opened(source.path):  # one that is broken or locked says so itself
            return "an SQLite database without the metrics of MLflow or trackio"
    if source.magic:
        return "a binary file that no reader knows"
    text = source.text.strip()
    if text[:1] == "{":
        if text[-1:] != "}":
            return "JSON that is cut off, without a log_history"
        return "JSON without a log_history: another program's file"
    if text[:1] == "[" and (text[-1:] == "]" or text[1:2] in '[{"'):
        return "a JSON array without loss, learning_rate or grad_norm"
    first = " ".join(text.partition("\n")[0].split())
    return f"text that begins with {first[:40]!r}"
