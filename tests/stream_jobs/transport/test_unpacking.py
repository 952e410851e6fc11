"""What unpacks to more than a worker has room for is refused before the room is taken, and all else comes out whole."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cramjam
import pytest
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import calc_crc32c, encode_varint
from fleetmeter_jobs.errors import DamagedBatchError
from fleetmeter_jobs.transport.lean_records import LeanRecords
from fleetmeter_jobs.transport.unpacking import UNDECODABLE, UnpackedTooLargeError, unpack
from fleetmeter_jobs.transport.zstd_frame import most_bytes
from hypothesis import given
from hypothesis import strategies as st

MakeBatch = Callable[..., bytes]

GZIP, SNAPPY, LZ4, ZSTD = (
    DefaultRecordBatch.CODEC_GZIP,
    DefaultRecordBatch.CODEC_SNAPPY,
    DefaultRecordBatch.CODEC_LZ4,
    DefaultRecordBatch.CODEC_ZSTD,
)
_PIECE = 64 << 20
_PIECES = 64  # four gigabytes
_XERIAL = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)


def _gzip_member() -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = deflate.compress(bytes(_PIECE)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(7) + piece * _PIECES + b"\x03\x00" + bytes(8)


def _zstd_frame() -> bytes:
    """Blocks of one byte each, repeated; the frame doesn't say how large it is."""
    block = (128 * 1024 << 3 | 0b010).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x80" + block * (_PIECES * _PIECE // (128 * 1024)) + b"\x01\x00\x00"


def _snappy_blocks() -> bytes:
    block = bytes(cramjam.snappy.compress_raw(bytes(_PIECE)))
    return _XERIAL + (struct.pack(">i", len(block)) + block) * 5


BOMBS: dict[str, tuple[int, Callable[[], bytes]]] = {
    "gzip, one member": (GZIP, _gzip_member),
    "gzip, many members": (GZIP, lambda: gzip_encode(bytes(_PIECE)) * _PIECES),
    "snappy, blocks": (SNAPPY, _snappy_blocks),
    "snappy, a claim of 4 GiB": (SNAPPY, lambda: b"\xff\xff\xff\xff\x0f" + b"\0" * 9),
    "snappy, claims of 4 GiB": (
        SNAPPY,
        lambda: _XERIAL + (struct.pack(">i", 9) + b"\xff\xff\xff\xff\x0f" + bytes(4)) * 9,
    ),
    "lz4, many frames": (LZ4, lambda: lz4_encode(bytes(_PIECE)) * _PIECES),
    "lz4, one frame": (LZ4, lambda: (one := lz4_encode(bytes(_PIECE)))[:7] + one[7:-4] * _PIECES + bytes(4)),
    "zstd, one frame": (ZSTD, _zstd_frame),
    "zstd, many frames": (ZSTD, lambda: zstd_encode(bytes(_PIECE)) * _PIECES),
    "zstd, behind a frame to skip": (ZSTD, lambda: b"\x50\x2a\x4d\x18" + bytes(4) + _zstd_frame()),
}
TEXT = b'{"id":"01JD8Z5W8Q3K6V9XKQ2N4T7RYB-%d","source":"node"}\n'
LARGE = b"".join(TEXT % n for n in range(40_000))
NOISE = random.Random(3).randbytes(200_000)
WRITERS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip": (GZIP, gzip_encode),
    "snappy of Java": (SNAPPY, snappy_encode),
    "snappy of others": (SNAPPY, lambda data: bytes(snappy_encode(data, xerial_compatible=False))),
    "lz4": (LZ4, lz4_encode),
    "zstd": (ZSTD, zstd_encode),
}
_ROOM = 900 << 20
_WITH_A_LIMIT = f"""
import resource, sys
from pathlib import Path
from fleetmeter_jobs.errors import DamagedBatchError
from fleetmeter_jobs.transport.lean_records import LeanRecords
raw = Path(sys.argv[1]).read_bytes()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {_ROOM}, used + {_ROOM}))
try:
    next(LeanRecords(raw, None, 7))
except DamagedBatchError as error:
    print(error)
"""


def pack(batch: bytes, codec: int, packed: bytes, records: int = 1) -> bytes:
    """A batch as the broker stores it, with these bytes for its compressed records."""
    raw = bytearray(batch[:61]) + packed
    struct.pack_into(">i", raw, 8, len(raw) - 12)
    struct.pack_into(">h", raw, 21, struct.unpack_from(">h", raw, 21)[0] | codec)
    struct.pack_into(">i", raw, 23, records - 1)
    struct.pack_into(">i", raw, 57, records)
    struct.pack_into(">I", raw, 17, calc_crc32c(memoryview(bytes(raw))[21:]))
    return bytes(raw)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_within_the_memory_there_is(batch: MakeBatch, tmp_path: Path, name: str) -> None:
    codec, make = BOMBS[name]
    bomb = tmp_path / "bomb"
    bomb.write_bytes(pack(batch(7, [b"x"]), codec, make()))
    ran = subprocess.run(
        [sys.executable, "-c", _WITH_A_LIMIT, str(bomb)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(
        "the record batch at offset 7 can't be decoded: its records unpack to more than 268,435,456"
    )
    assert "fleetmeter positions set PARTITION --to 8 --reason" in ran.stdout


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("data", [b"x", LARGE, NOISE, NOISE + LARGE, bytes(5_000_000)], ids=len)
def test_up_to_the_limit_everything_comes_out_as_it_went_in(writer: str, data: bytes) -> None:
    codec, write = WRITERS[writer]
    packed = write(data)
    for limit in (1 << 28, max(len(data), 1)):
        assert unpack(codec, packed, limit) == data
    if len(data) > 1:
        with pytest.raises(UnpackedTooLargeError, match=f"{len(data) - 1:,} bytes"):
            unpack(codec, packed, len(data) - 1)


@pytest.mark.parametrize(("codec", "write"), [(GZIP, gzip_encode), (LZ4, lz4_encode), (ZSTD, zstd_encode)])
def test_several_frames_are_one_content(codec: int, write: Callable[[bytes], bytes]) -> None:
    packed = write(LARGE) + write(b"") + write(NOISE)
    for limit in (1 << 28, len(LARGE) + len(NOISE)):
        assert unpack(codec, packed, limit) == LARGE + NOISE
    with pytest.raises(UnpackedTooLargeError):
        unpack(codec, packed, len(LARGE) + len(NOISE) - 1)


@given(st.lists(st.binary(max_size=300) | st.just(TEXT * 2000), max_size=8), st.integers(-5, 19))
def test_the_blocks_of_zstd_tell_how_large_it_can_be(pieces: list[bytes], level: int) -> None:
    compressor = cramjam.zstd.Compressor(level=level)
    frame = b""
    for piece in pieces:
        compressor.compress(piece)
        frame += bytes(compressor.flush())
    frame += bytes(compressor.finish())
    most = most_bytes(frame * 2)
    assert most is not None
    assert 2 * len(b"".join(pieces)) <= most <= (2 * len(frame)) * 128 * 1024


@given(
    st.sampled_from(sorted(WRITERS)), st.integers(0, 10_000), st.integers(0, 255), st.sampled_from([20_000, 1 << 28])
)
def test_damage_is_an_error_or_does_no_harm(writer: str, at: int, byte: int, limit: int) -> None:
    codec, write = WRITERS[writer]
    packed = bytearray(write(LARGE[:20_000]))
    packed[at % len(packed)] = byte
    try:
        assert len(unpack(codec, bytes(packed), limit)) <= limit
    except UNDECODABLE:
        return


def test_more_records_than_there_is_room_for_are_refused_before_they_are_unpacked(batch: MakeBatch) -> None:
    bomb = pack(batch(7, [b"x"]), ZSTD, zstd_encode(b"not looked at"), records=1_048_577)
    with pytest.raises(DamagedBatchError, match="1,048,577 records, and a worker makes room for 1,048,576"):
        next(LeanRecords(bomb, None, 7))


def test_more_headers_than_there_is_room_for_are_refused_before_they_are_read(batch: MakeBatch) -> None:
    """One of two bytes takes a hundred times as much memory once it is read."""
    record = bytearray(b"\0\0\0\1\1")  # neither key nor value
    encode_varint(count := 4_194_305, record.append)
    record += b"\0\1" * count
    whole = bytearray()
    encode_varint(len(record), whole.append)
    bomb = pack(batch(7, [b"x"]), ZSTD, zstd_encode(bytes(whole + record)))
    with pytest.raises(DamagedBatchError, match=r"more than 4,194,304 headers.*--to 8 --reason"):
        next(LeanRecords(bomb, None, 7))
