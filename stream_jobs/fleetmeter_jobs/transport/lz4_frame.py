"""LZ4 frames, decompressed into memory of the right size.

Without a size to begin with, the decompressor grows its output all the time, which costs ten times as much as the
decompression itself. The frame's blocks tell how much it can be at most: each says its compressed size, and the frame
how large a block is at most. Layout: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
"""

from __future__ import annotations

import struct
from typing import Final

import cramjam

_MAGIC: Final = b"\x04\x22\x4d\x18"
_WORD: Final = struct.Struct("<I")
_STORED: Final = 1 << 31
"""Set in the size of a block that is not compressed."""
_BEST_RATIO: Final = 255
"""LZ4 can't compress better."""
MOST_BYTES: Final = 64 * 1024 * 1024
"""For a frame that may be larger no room is made beforehand: what it claims may not be true."""


def decompress(frame: bytes, most: int) -> bytes:
    """What the frame holds, `most_bytes` at most. Raises cramjam.DecompressionError for a damaged one."""
    room = bytearray(most)
    used = cramjam.lz4.decompress_into(frame, room)
    return bytes(memoryview(room)[:used])


def most_bytes(frame: bytes) -> int | None:
    """How many bytes the frame's blocks can hold at most; None for what is not one whole frame of the usual kind."""
    if len(frame) < 7 or frame[:4] != _MAGIC or frame[4] & 0b1100_0001 != 0b0100_0000:  # version 1, no dictionary
        return None
    flags, largest = frame[4], 1 << (8 + 2 * (frame[5] >> 4 & 0b111))
    checksum = 4 if flags & 0b1_0000 else 0
    at = 7 + (8 if flags & 0b1000 else 0)
    most = 0
    while at + _WORD.size <= len(frame):
        size = _WORD.unpack_from(frame, at)[0]
        at += _WORD.size
        if size == 0:
            end = at + (4 if flags & 0b100 else 0)
            return most if end == len(frame) else None
        stored = size & ~_STORED
        most += min(largest, stored if size & _STORED else stored * _BEST_RATIO)
        at += stored + checksum
    return None
