"""How an entry lies in a spool's file: marker, length, checksum, value.

The marker begins with a byte that UTF-8 never uses, so that after damage the next entry is found by looking for it. The
checksum starts from the length, so that a damaged length is noticed too.
"""

from __future__ import annotations

import struct
from typing import Final
from zlib import crc32

MARKER: Final = b"\xff\xf5fm"
HEADER: Final = struct.Struct("<4sII")


def frame(value: bytes) -> bytes:
    """A value as it is written."""
    size = len(value)
    return HEADER.pack(MARKER, size, crc32(value, size)) + value


def frame_bytes(value: bytes) -> int:
    """The size of a value's frame."""
    return HEADER.size + len(value)


def value_at(data: bytes, at: int) -> bytes | None:
    """The value of the frame that begins at `at`; None if there is no whole and sound one."""
    if len(data) - at < HEADER.size:
        return None
    marker, size, checksum = HEADER.unpack_from(data, at)
    begin = at + HEADER.size
    if marker != MARKER or size > len(data) - begin:
        return None
    value = data[begin : begin + size]
    return value if crc32(value, size) == checksum else None


def bytes_needed(data: bytes, at: int) -> int:
    """How many bytes the frame at `at` takes, as far as its header tells; a header's if there is none whole."""
    if len(data) - at < HEADER.size:
        return HEADER.size
    marker, size, _ = HEADER.unpack_from(data, at)
    return HEADER.size + (size if marker == MARKER else 0)
