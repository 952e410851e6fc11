"""How large zstd frames can be once they are decompressed, read from the headers of their frames and blocks.

A megabyte can hold gigabytes, and what a frame says of its own size may not be true. A block never holds more than 128
KiB, so that the blocks tell without a byte decompressed. Layout: RFC 8878, section 3.1
(https://www.rfc-editor.org/rfc/rfc8878#section-3.1).
"""

from __future__ import annotations

from typing import Final

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LARGEST_BLOCK: Final = 128 * 1024
_COMPRESSED: Final = 2
_DICTIONARY_ID_BYTES: Final = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES: Final = (0, 2, 4, 8)


def most_bytes(frames: bytes) -> int | None:
    """How many bytes the frames' blocks can hold at most; None for what is not whole frames of the usual kind."""
    at = most = 0
    while at < len(frames):
        if frames[at : at + 4] != _MAGIC or at + 5 > len(frames):
            return None
        flags = frames[at + 4]
        alone = flags >> 5 & 1  # one segment: no window's size, and always a content size
        at += 5 + (1 - alone) + _DICTIONARY_ID_BYTES[flags & 0b11] + (_CONTENT_SIZE_BYTES[flags >> 6] or alone)
        last = False
        while not last:
            if at + 3 > len(frames):
                return None
            header = int.from_bytes(frames[at : at + 3], "little")
            last, kind, size = bool(header & 1), header >> 1 & 0b11, header >> 3
            # Stored, or one byte repeated: the size is that of the content.
            most += _LARGEST_BLOCK if kind == _COMPRESSED else size
            at += 3 + (1 if kind == 1 else size)
        at += 4 if flags & 0b100 else 0
    return most if at == len(frames) else None
