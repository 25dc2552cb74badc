"""`training_args.bin`: every argument of the run, read without torch and without running anything in it.

The file is a zip that holds one pickle (before torch 1.6: pickles one after another). A pickle is a program; this reader
gives it nothing to call: every class and function it names becomes an inert stand-in that only remembers what it was given.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, ClassVar

from lossdoctor.facts.canonical import translate
from lossdoctor.model import Fact, LossDoctorError

#: A real file has some 5 kB; more is not a set of arguments.
LARGEST = 4 * 1024 * 1024
MOST_CLASSES = 500
MOST_PICKLES = 8
#: A fact with more parts than this, or deeper than three levels, is no fact.
MOST_PARTS = 200


class _Inert:
    """Stands for any object of the pickle: takes every call and attribute, does nothing, keeps the arguments."""

    args: tuple[Any, ...] = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> _Inert:
        self = object.__new__(cls)
        self.args = args
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> _Inert:
        return _Inert(*args)

    def append(self, value: Any) -> None:
        """Lists of a foreign class are filled through this."""


class _InertUnpickler(pickle._Unpickler):  # the one in Python: the memo of the one in C can be made to reserve gigabytes
    """Rebuilds the shape of a pickle out of plain containers and inert stand-ins."""

    #: Without the codes that reserve as many bytes as they claim to bring.
    dispatch: ClassVar[dict[int, Any]] = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()
        if code not in (pickle.BYTEARRAY8[0], pickle.NEXT_BUFFER[0], pickle.READONLY_BUFFER[0])
    }

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.classes: dict[tuple[str, str], type[_Inert]] = {}

    def find_class(self, module: str, name: str) -> type[_Inert]:
        known = self.classes.get((module, name))
        if known is None:
            if len(self.classes) >= MOST_CLASSES:
                raise pickle.UnpicklingError(f"more than {MOST_CLASSES} classes")
            known = type("Inert", (_Inert,), {})
            self.classes[module, name] = known
        return known

    def persistent_load(self, pid: Any) -> _Inert:
        return _Inert(pid)

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError("extension codes are not read")


def read(path: Path) -> dict[str, Fact]:
    """The arguments in the file.

    Raises:
        LossDoctorError: the file is not a saved TrainingArguments object.
    """
    try:
        found = {name: _plain(value) for name, value in _attributes(path).items()}
        return translate(found, "training_args.bin")
    except LossDoctorError:
        raise
    except Exception as error:  # whatever a hostile or broken pickle provokes
        raise LossDoctorError(f"{path.name} could not be read: {type(error).__name__}: {str(error)[:80]}") from None


def _attributes(path: Path) -> dict[str, Any]:
    if path.stat().st_size > LARGEST:
        raise LossDoctorError(f"{path.name} has {path.stat().st_size:,} bytes, too many for training arguments")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inner = next((i for i in archive.infolist() if i.filename.endswith("data.pkl")), None)
            if inner is None or inner.file_size > LARGEST or inner.compress_type != zipfile.ZIP_STORED:
                raise LossDoctorError(f"{path.name} is a zip without a small data.pkl: not saved training arguments")
            stream = io.BytesIO(archive.read(inner))
    else:
        stream = io.BytesIO(path.read_bytes())
    size = len(stream.getbuffer())
    for _ in range(MOST_PICKLES):
        if stream.tell() >= size:
            break
        thing = _InertUnpickler(stream).load()
        values = getattr(thing, "__dict__", {})
        if isinstance(thing, _Inert) and "learning_rate" in values:
            return {name: value for name, value in values.items() if isinstance(name, str)}
    raise LossDoctorError(f"{path.name} holds no training arguments")


def _plain(value: Any) -> Any:
    """The value as plain data, or None. An enumeration member is stored as its class called with its value."""
    budget = MOST_PARTS

    def copy(part: Any, depth: int) -> Any:
        nonlocal budget
        budget -= 1
        if budget < 0 or depth > 3:
            raise ValueError("too large for a fact")
        if isinstance(part, _Inert):
            part = part.args[0] if len(part.args) == 1 else None
            return part if isinstance(part, (str, int, float)) else None
        if isinstance(part, dict):
            return {str(name): copy(inner, depth + 1) for name, inner in part.items() if isinstance(name, str)}
        if isinstance(part, (list, tuple, set)):
            return [copy(inner, depth + 1) for inner in part]
        if isinstance(part, str):
            return part.encode("utf-8", "replace").decode() if len(part) < 10_000 else None
        return part if isinstance(part, (int, float, bool)) else None

    try:
        return copy(value, 0)
    except ValueError:
        return None
