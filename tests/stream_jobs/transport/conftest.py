"""Kafka record batches as a broker stores them, made with aiokafka's builder and stamped as a leader does."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

Header = tuple[str, bytes | None]
MakeBatch = Callable[..., bytes]

_ATTRIBUTES = 21
_CONTROL, _LOG_APPEND = 0x20, 0x08


def stored_batch(
    base_offset: int,
    values: Sequence[bytes | None],
    *,
    append_time_ms: int = 1_700_000_000_123,
    leader_epoch: int = 7,
    codec: int = 0,
    headers: Sequence[Sequence[Header]] | None = None,
    producer_id: int = -1,
    transactional: bool = False,
    control: bool = False,
    log_append_time: bool = True,
    keys: Sequence[bytes | None] | None = None,
    deltas: Sequence[int] | None = None,
    last_delta: int | None = None,
) -> bytes:
    """The bytes of one batch. `deltas` are the records' offset deltas where compaction has left gaps."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=transactional,
        producer_id=producer_id,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1 << 30,
    )
    for index, value in enumerate(values):
        delta = deltas[index] if deltas else index
        key = keys[index] if keys else None
        builder.append(delta, append_time_ms, key, value, list(headers[index]) if headers else [])
    raw = bytearray(builder.build())
    attributes = struct.unpack_from(">h", raw, _ATTRIBUTES)[0]
    attributes |= (_CONTROL if control else 0) | (_LOG_APPEND if log_append_time else 0)
    if last_delta is None:
        last_delta = (deltas[-1] if deltas else len(values) - 1) if values else 0
    struct.pack_into(">q", raw, 0, base_offset)
    struct.pack_into(">i", raw, 12, leader_epoch)
    struct.pack_into(">hiqq", raw, _ATTRIBUTES, attributes, last_delta, append_time_ms, append_time_ms)
    struct.pack_into(">I", raw, 17, calc_crc32c(memoryview(bytes(raw))[_ATTRIBUTES:]))
    return bytes(raw)


def stored_marker(base_offset: int, producer_id: int, *, commit: bool) -> bytes:
    """The control batch that ends a transaction."""
    key = struct.pack(">hh", 0, 1 if commit else 0)
    return stored_batch(base_offset, [b"\0" * 6], keys=[key], producer_id=producer_id, transactional=True, control=True)


@pytest.fixture(name="batch", scope="session")
def batch_fixture() -> MakeBatch:
    return stored_batch


@pytest.fixture(name="marker", scope="session")
def marker_fixture() -> MakeBatch:
    return stored_marker
