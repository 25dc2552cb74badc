"""The fields of a serialised protobuf message, by number: whoever wants few of them needs neither its schema nor the library."""

from __future__ import annotations

#: Bytes of the wire types with a fixed length; 0 is a number of any length, 2 says its length first, others are long gone.
FIXED = {1: 8, 5: 4}
NUMBER, BYTES = 0, 2


def fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """The number and the value of each field: an integer, or bytes that the schema would give a meaning.

    Raises:
        ValueError: the bytes are not a message.
    """
    found: list[tuple[int, int | bytes]] = []
    place, end = 0, len(data)
    while place < end:
        key = data[place]
        place += 1
        if key > 127:
            key, place = _integer(data, place - 1)
        length = FIXED.get(key & 7, -1)
        if length < 0 and place < end:  # a short number stands in one byte
            length = data[place]
            place += 1
            if length > 127:
                length, place = _integer(data, place - 1)
            if key & 7 == NUMBER:
                found.append((key >> 3, length))
                continue
            if key & 7 != BYTES:
                break
        if length < 0 or place + length > end:
            break
        found.append((key >> 3, data[place : place + length]))
        place += length
    else:
        return found
    raise ValueError(f"not a protobuf message at byte {place}")


def _integer(data: bytes, place: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first, and the place after it."""
    value = 0
    for shift, byte in enumerate(data[place : place + 10]):
        value |= (byte & 127) << (7 * shift)
        if byte < 128:
            return value, place + shift + 1
    raise ValueError(f"no integer at byte {place}")
