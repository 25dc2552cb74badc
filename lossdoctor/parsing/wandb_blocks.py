"""The records in a file of W&B: as in the log of LevelDB, in blocks, in parts where they do not fit, each behind its checksum."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from lossdoctor.language import say

MAGIC = b":W&B"
#: A block holds parts of records; a part stands behind its checksum, its length, and whether the record goes on.
BLOCK, FILE_HEADER, PART_HEADER = 32 * 1024, 7, struct.Struct("<IHB")
WHOLE, FIRST, MIDDLE, LAST, BROKEN = 1, 2, 3, 4, 5
#: A longer record holds a table or pictures, and no scalar.
LARGEST_RECORD = 16 * 1024 * 1024


class RunFile:
    """The records of one file; `broken` parts were left out, `cut` says that the last one is not whole."""

    def __init__(self, path: Path) -> None:
        self.path, self.broken, self.cut = path, 0, False

    def records(self) -> Iterator[bytes]:
        """The records in order; of a block with a wrong checksum what stood before it."""
        begun: list[bytes] | None = None
        with self.path.open("rb") as file:
            file.seek(FILE_HEADER)
            length = BLOCK - FILE_HEADER
            while block := file.read(length):
                for kind, part in self._parts(block, length):
                    begun = [] if kind in (WHOLE, FIRST) else None if kind == BROKEN else begun
                    if begun is None:
                        continue
                    begun.append(part)
                    if kind in (WHOLE, LAST):
                        yield b"".join(begun)
                        begun = None
                    elif len(begun) * BLOCK > LARGEST_RECORD:
                        begun = None
                length = BLOCK
        self.cut |= begun is not None

    def _parts(self, block: bytes, full: int) -> Iterator[tuple[int, bytes]]:
        place = 0
        while place + PART_HEADER.size <= len(block):
            checksum, length, kind = PART_HEADER.unpack_from(block, place)
            if not kind:  # zeros to the end of the block
                return
            place += PART_HEADER.size
            part = block[place : place + length]
            if len(part) < length and len(block) < full:
                self.cut = True
                return
            if kind > LAST or zlib.crc32(part, zlib.crc32(bytes((kind,)))) != checksum:
                self.broken += 1
                yield BROKEN, b""
                return
            yield kind, part
            place += length
        self.cut |= len(block) < full and place < len(block)

    def notes(self) -> Iterator[str]:
        """What could not be read, once all records were."""
        if self.broken:
            yield say("{broken} block(s) of the file are broken and were left out", broken=self.broken)
        if self.cut:
            yield say("its last record is cut off, as while it is being written")
