"""The compressed records of a Kafka record batch, unpacked up to a limit.

A batch of one megabyte may unpack to gigabytes, and whoever writes to Kafka decides about that: a worker that unpacks
whatever comes is killed for want of memory, and again after every start. What is refused here has taken about as much
memory as the limit says, and no more.
"""

from __future__ import annotations

import gzip
import io
import mmap
import struct
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Final, cast

import cramjam
from aiokafka.codec import gzip_decode, snappy_decode, zstd_decode
from aiokafka.errors import UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatch

from fleetmeter_jobs.transport import lz4_frame, zstd_frame

_DEFLATE_BEST_RATIO: Final = 1032
"""Deflate can't compress better."""
_GZIP_STEP_BYTES: Final = 1024 * 1024
_XERIAL: Final = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
"""Java's clients cut into blocks what they compress with snappy; others write one block, without this before it."""
_NO_ROOM: Final = "failed to write whole buffer"


class UnpackedTooLargeError(ValueError):
    """It unpacks to more than the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"its records unpack to more than {limit:,} bytes, the most that a worker makes room for")


UNDECODABLE: Final = (
    UnsupportedCodecError,
    cramjam.DecompressionError,
    zlib.error,
    struct.error,  # snappy: a block's length is cut off
    EOFError,  # gzip: cut off
    OSError,  # gzip: not gzip
    ValueError,  # too large, or a damaged record
)


def unpack(codec: int, packed: bytes, limit: int) -> bytes:
    """What was compressed. Raises one of UNDECODABLE; UnpackedTooLargeError if it is more than `limit` bytes."""
    if codec not in _DECODERS:
        raise UnsupportedCodecError(f"no codec has the number {codec}")
    return _DECODERS[codec](packed, limit)


def _gzip(packed: bytes, limit: int) -> bytes:
    if len(packed) * _DEFLATE_BEST_RATIO <= limit:
        return cast("bytes", gzip_decode(packed))
    whole = io.BytesIO()
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        while step := file.read(_GZIP_STEP_BYTES):
            if whole.tell() + len(step) > limit:
                raise UnpackedTooLargeError(limit)
            whole.write(step)
    return whole.getvalue()


def _snappy(packed: bytes, limit: int) -> bytes:
    # Room is made for what each block claims.
    if sum(cramjam.snappy.decompress_raw_len(block) for block in _snappy_blocks(packed)) > limit:
        raise UnpackedTooLargeError(limit)
    return cast("bytes", snappy_decode(packed))


def _snappy_blocks(packed: bytes) -> Iterator[bytes]:
    if not packed.startswith(_XERIAL):
        yield packed
        return
    at = len(_XERIAL)
    while at < len(packed):
        size = struct.unpack_from(">i", packed, at)[0]
        if size < 0:
            raise ValueError(f"a block of snappy has {size} bytes")
        yield packed[at + 4 : at + 4 + size]
        at += 4 + size


def _lz4(packed: bytes, limit: int) -> bytes:
    most = lz4_frame.most_bytes(packed)
    if most is None or most > min(lz4_frame.MOST_BYTES, limit):
        return _into_room(cramjam.lz4, packed, limit)
    return lz4_frame.decompress(packed, most)


def _zstd(packed: bytes, limit: int) -> bytes:
    most = zstd_frame.most_bytes(packed)
    if most is None or most > limit:
        return _into_room(cramjam.zstd, packed, limit)
    return cast("bytes", zstd_decode(packed))


def _into_room(codec: ModuleType, packed: bytes, limit: int) -> bytes:
    """For what may be too large, and mostly is not. Of the room only what is written takes memory."""
    with mmap.mmap(-1, limit, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as room:
        try:
            used = codec.decompress_into(packed, room)
        except cramjam.DecompressionError as error:
            if _NO_ROOM in str(error):
                raise UnpackedTooLargeError(limit) from error
            raise
        return room[:used]


_DECODERS: Final[dict[int, Callable[[bytes, int], bytes]]] = {
    DefaultRecordBatch.CODEC_GZIP: _gzip,
    DefaultRecordBatch.CODEC_SNAPPY: _snappy,
    DefaultRecordBatch.CODEC_LZ4: _lz4,
    DefaultRecordBatch.CODEC_ZSTD: _zstd,
}
