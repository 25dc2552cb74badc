"""Every dialect, in the order in which they are tried: the one that recognises the content reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib import import_module
from typing import Protocol, cast

from lossdoctor.model import Log, LossDoctorError
from lossdoctor.readers.source import Source


class Dialect(Protocol):
    """What the module of a dialect offers."""

    def recognise(self, source: Source, /) -> bool:
        """Whether the content is in this dialect."""

    def read(self, source: Source, /) -> list[Log]:
        """The runs in it."""


#: Modules in this folder, loaded when they are asked. Usual ones come first, and what may be anything last.
DIALECTS = (
    *("event_files", "trainer_state", "llama_factory", "mmengine", "json_lines", "jupyter_notebook"),
    *("trainer_stdout", "deepspeed", "megatron", "torchtune"),
    *("html_table", "markdown_table", "notebook_table", "lightning_csv", "wandb_csv"),
    *("progress_bar", "key_value", "plain_csv", "bare_columns"),
)


def dialects(without: Collection[str] = ()) -> Iterator[Dialect]:
    """The module of every dialect, in the order in which they are tried, but for those named."""
    return (cast(Dialect, import_module(f"lossdoctor.readers.{name}")) for name in DIALECTS if name not in without)


def read_file(source: Source) -> list[Log]:
    """The runs in one source.

    Raises:
        LossDoctorError: no dialect recognises the content, or the one that does cannot read it.
        NothingToAnalyse: it is a log without a row.
    """
    for dialect in dialects():
        if dialect.recognise(source):
            return dialect.read(source)
    raise LossDoctorError(
        f"{source.name} is {_describe(source)}; expected a trainer_state.json, event files of TensorBoard, rows as JSON lines, "
        "or what a Trainer printed"
    )


def _describe(source: Source) -> str:
    if source.folder is not None:
        return "a folder without a log"
    if source.magic:
        return "a binary file that no reader knows"
    text = source.text.strip()
    if text[:1] == "{":
        if text[-1:] != "}":
            return "JSON that is cut off, without a log_history"
        return "JSON without a log_history: another program's file"
    if text[:1] == "[":
        return "a JSON array without loss, learning_rate or grad_norm"
    first = " ".join(text.partition("\n")[0].split())
    return f"text that begins with {first[:40]!r}"
