"""What the bytes of the fuzzer are to a reader: a text, a file, one file of a folder, or what one column of a database holds."""

from __future__ import annotations

import re
import shutil
import sqlite3
import struct
import zlib
from collections import Counter
from contextlib import closing, suppress
from importlib import import_module
from pathlib import Path
from typing import Protocol

from lossdoctor.parsing.source import Source
from lossdoctor.parsing.wandb_blocks import BLOCK, FILE_HEADER, LAST, PART_HEADER

LOGS = Path(__file__).parent.parent / "tests" / "logs"
#: Longer inputs say nothing new and take longer.
LONGEST = 16_384
#: What has broken parsers before, and what tables, bars and pages begin with.
TOKENS = (
    *(
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1e-400",
        "-0.0",
        "9" * 40,
        "\r",
        "\r\n",
        "\n\n",
        "\t",
        "１２",
        "\x1b[31m",
        "%|",
        "|---|",
        "| ",
    ),
    *("{'loss': ", "'}", '{"loss": ', "}\n", "[[[[", "step=", "-1", "loss: ", "<table>", "<tr><td>", "</td>", "<!--", "<script>"),
    *("Step\tTraining Loss\n", "100%|###| 5/10 [00:01<00:02, 1it/s]", "epoch ", "TrainingArguments(", "--learning_rate ", "#"),
)
MOST_WORDS = 300


class Input(Protocol):
    """How bytes become a source, and which ones the fuzzer begins with."""

    def put(self, data: bytes) -> Source: ...

    def seeds(self) -> list[bytes]: ...


def of_reader(kind: str, place: Path) -> Input:
    """The input of a reader, which keeps what it needs at that place."""
    if kind in ("mlflow_folder", "dvclive"):
        return InFolder(kind, place)
    if kind in ("mlflow_store", "trackio_store"):
        return InDatabase(kind, place)
    if kind == "wandb_run":
        return Sealed(kind, place)
    return (AsItIs if kind == "event_files" else Text)(kind, place)


def dictionary(seeds: list[bytes]) -> str:
    """The words of the seeds with the signs behind them, the usual ones first, as libFuzzer wants them."""
    words: Counter[bytes] = Counter()
    for seed in seeds:
        words.update(set(re.findall(rb"[A-Za-z_'\"<][A-Za-z_/ '\"]{1,30}[^A-Za-z0-9\n]{0,3}", seed)))
    tokens = [*(token.encode() for token in TOKENS), *(word for word, _ in words.most_common(MOST_WORDS))]
    return "".join('"' + "".join(map("\\x{:02x}".format, token)) + '"\n' for token in tokens)


class AsItIs:
    """The bytes are a file."""

    def __init__(self, kind: str, place: Path) -> None:
        self.logs, self.place = LOGS / kind, place

    def put(self, data: bytes) -> Source:
        self.place.write_bytes(data)
        return Source.open(self.place)

    def seeds(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.logs.glob("**/*")) if path.is_file()]


class Text(AsItIs):
    """The bytes are a text, whatever they are: most of them would be refused at once, and tell nothing of a reader."""

    def put(self, data: bytes) -> Source:
        return super().put(data.decode("utf-8", "replace").replace("\0", "\n").encode())


class Sealed(AsItIs):
    """The bytes are a file of W&B, whose parts all have the right checksum."""

    def put(self, data: bytes) -> Source:
        sealed, place = bytearray(data), FILE_HEADER
        while place + PART_HEADER.size <= len(sealed):
            left = BLOCK - place % BLOCK
            _, length, kind = PART_HEADER.unpack_from(sealed, place)
            if left < PART_HEADER.size or not kind or kind > LAST:
                place += left
                continue
            part = bytes(sealed[place + PART_HEADER.size : place + min(left, PART_HEADER.size + length)])
            struct.pack_into("<I", sealed, place, zlib.crc32(part, zlib.crc32(bytes((kind,)))))
            place += PART_HEADER.size + len(part)
        return super().put(bytes(sealed))


class InFolder(AsItIs):
    """The first byte says which file of which folder holds the others; of a store with several runs one is read, or all."""

    def __init__(self, kind: str, place: Path) -> None:
        super().__init__(kind, place)
        shutil.copytree(self.logs, place)
        self.files = [path.relative_to(place) for path in sorted(place.glob("**/*")) if path.is_file()]
        self.changed = self.files[0]
        self.smallest = {path: self._smallest(kind, path) for path in self.files}

    def _smallest(self, kind: str, path: Path) -> Path:
        """The folder nearest to a file that is a log by itself: most inputs are then read in little time."""
        reader = import_module(f"lossdoctor.readers.{kind}")
        return next(folder for folder in path.parents if reader.recognise(Source.open(self.place / folder)))

    def put(self, data: bytes) -> Source:
        (self.place / self.changed).write_bytes((self.logs / self.changed).read_bytes())
        self.changed = self.files[(data or b"\0")[0] % len(self.files)]
        (self.place / self.changed).write_bytes(data[1:])
        return Source.open(self.place / self.smallest[self.changed])

    def seeds(self) -> list[bytes]:
        return [bytes((place,)) + (self.logs / path).read_bytes() for place, path in enumerate(self.files)]


class InDatabase(AsItIs):
    """The first byte says which column of some rows holds the others, as text or as bytes; or that they are the file."""

    TABLES = ("metrics", "runs", "params", "configs")

    def __init__(self, kind: str, place: Path) -> None:
        super().__init__(kind, place)
        self.columns: list[tuple[bytes, str, str]] = []
        for path in sorted(self.logs.iterdir()):
            shutil.copyfile(path, place)
            with closing(sqlite3.connect(place)) as database:
                database.execute("pragma journal_mode = delete")
                columns = [(t, row[1]) for t in self.TABLES for row in database.execute(f"pragma table_info({t})")]
            self.columns += [(place.read_bytes(), *column) for column in columns]

    def put(self, data: bytes) -> Source:
        number = (data or b"\0")[0] % (len(self.columns) + 1)
        if number == len(self.columns):
            return super().put(data[1:])
        content, table, column = self.columns[number]
        self.place.write_bytes(content)
        rows, value = data[1:2], data[2:]
        with closing(sqlite3.connect(self.place, isolation_level=None)) as database:
            for pragma in ("journal_mode = off", "synchronous = off", "foreign_keys = off"):
                database.execute(f"pragma {pragma}")
            some = f"select rowid from {table} limit {(rows or b'1')[0] % 16 + 1}"
            held = value if rows > b"\x80" else value.decode("utf-8", "replace")
            with suppress(sqlite3.Error):  # a column that takes no such value stays as it is
                database.execute(f"update or ignore {table} set {column} = ? where rowid in ({some})", (held,))
        return Source.open(self.place)

    def seeds(self) -> list[bytes]:
        found = [bytes((len(self.columns),)) + path.read_bytes() for path in sorted(self.logs.iterdir())]
        for number, (content, table, column) in enumerate(self.columns):
            self.place.write_bytes(content)
            with closing(sqlite3.connect(self.place)) as database:
                for (value,) in database.execute(f"select {column} from {table} limit 2"):
                    found.append(bytes((number, 1)) + (value if isinstance(value, bytes) else str(value).encode()))
        return found
