"""LZ4 frames of every shape come out as they went in."""

from __future__ import annotations

import random

import cramjam
import pytest
from aiokafka.codec import lz4_encode
from aiokafka.record.default_records import DefaultRecordBatch
from fleetmeter_jobs.transport.lz4_frame import most_bytes
from fleetmeter_jobs.transport.unpacking import unpack
from hypothesis import given
from hypothesis import strategies as st

TEXT = b'{"id":"01JD8Z5W8Q3K6V9XKQ2N4T7RYB-%d","source":"node"}\n'
LARGE = b"".join(TEXT % n for n in range(40_000))
LIMIT = 256 * 1024 * 1024
NOISE = random.Random(3).randbytes(200_000)


def decompress(frame: bytes) -> bytes:
    return unpack(DefaultRecordBatch.CODEC_LZ4, frame, LIMIT)


@pytest.mark.parametrize("data", [b"", b"x", LARGE, NOISE, NOISE + LARGE, bytes(5_000_000)], ids=len)
def test_what_kafka_clients_write(data: bytes) -> None:
    frame = lz4_encode(data)
    assert decompress(frame) == data
    most = most_bytes(frame)
    assert most is not None
    assert len(data) <= most <= len(data) + 4 * 1024 * 1024


@given(st.lists(st.binary(max_size=300) | st.just(TEXT * 2000), max_size=8), st.booleans(), st.booleans())
def test_every_layout(pieces: list[bytes], content_checksum: bool, block_linked: bool) -> None:
    compressor = cramjam.lz4.Compressor(content_checksum=content_checksum, block_linked=block_linked)
    frame = b""
    for piece in pieces:
        compressor.compress(piece)
        frame += bytes(compressor.flush())
    frame += bytes(compressor.finish())
    assert decompress(frame) == b"".join(pieces)


def test_of_two_frames_the_size_is_not_known() -> None:
    two = lz4_encode(b"a") + lz4_encode(b"b")
    assert most_bytes(two) is None
    assert decompress(two) == b"ab"


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_damage_is_an_error_or_does_no_harm(at: int, byte: int) -> None:
    frame = bytearray(lz4_encode(LARGE[:20_000]))
    frame[at % len(frame)] = byte
    try:
        decompress(bytes(frame))
    except cramjam.DecompressionError:
        return


def test_a_cut_off_frame_is_an_error() -> None:
    frame = lz4_encode(LARGE)
    for end in (8, len(frame) // 2, len(frame) - 5):
        with pytest.raises(cramjam.DecompressionError):
            decompress(frame[:end])


def test_what_a_frame_claims_is_not_taken_on_trust() -> None:
    """Many blocks that could be large, and are empty: more than is made room for."""
    block = b"\x01\x00\x00\x00\x00"
    frame = b"\x04\x22\x4d\x18\x60\x70\x73" + block * 1_000_000 + bytes(4)
    assert most_bytes(frame) == 255 * 1_000_000
    assert decompress(frame) == b""
