"""The fields of a serialised protobuf message, by number: whoever wants few of them needs neither its schema nor the library."""

from __future__ import annotations

from collections.abc import Iterator

#: Bytes of the wire types with a fixed length; 0 is a number of any length, 2 says its length first, others are long gone.
FIXED = {1: 8, 5: 4}


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The number and the value of each field: an integer, or bytes that the schema would give a meaning.

    Raises:
        ValueError: the bytes are not a message.
    """
    place, end = 0, len(data)
    while place < end:
        key, place = _integer(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _integer(data, place)
            yield key >> 3, value
            continue
        length = FIXED.get(kind)
        if kind == 2:
            length, place = _integer(data, place)
        if length is None or place + length > end:
            raise ValueError(f"not a protobuf message at byte {place}")
        yield key >> 3, data[place : place + length]
        place += length


def _integer(data: bytes, place: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first, and the place after it."""
    if place < len(data) and data[place] < 128:
        return data[place], place + 1
    value = 0
    for shift, byte in enumerate(data[place : place + 10]):
        value |= (byte & 127) << (7 * shift)
        if byte < 128:
            return value, place + shift + 1
    raise ValueError(f"no integer at byte {place}")
