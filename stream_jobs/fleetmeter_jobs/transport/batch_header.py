"""The header of a Kafka record batch (message format v2), read from the raw bytes.

aiokafka decodes the header too, but keeps the leader epoch and the length to itself. Layout: Kafka protocol guide,
"Record Batch"
(https://kafka.apache.org/documentation/#recordbatch).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fleetmeter_jobs.errors import DamagedBatchError

# base offset, length, partition leader epoch, magic, CRC, attributes, last offset delta, base timestamp, max timestamp,
# producer's id, its epoch, base sequence, number of records
_HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES = _HEADER.size
"""A batch's records, compressed or not, begin here."""
_LENGTH_END = 12  # `length` counts the bytes after itself
_MAGIC_V2 = 2
_LOG_APPEND_TIME = 0x08


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """Where a record batch lies in the log, and what identifies it there."""

    base_offset: int
    next_offset: int
    leader_epoch: int
    crc: int
    append_time_ms: int
    """The broker's append time in epoch milliseconds."""
    log_append_time: bool
    """False: the batch was written while the topic had CreateTime, and `append_time_ms` is the producer's clock."""
    records: int
    """How many records the batch holds: fewer than `span` after compaction."""

    @property
    def span(self) -> int:
        return self.next_offset - self.base_offset


def split_batches(raw: bytes) -> Iterator[tuple[BatchHeader, memoryview]]:
    """The complete record batches in a fetch response, in offset order, each with its bytes.

    A broker cuts a response off at its size limit, so that the last batch may be incomplete: it is left out, and the
    next fetch starts there.
    Raises DamagedBatchError for what can't be a batch of format v2.
    """
    view = memoryview(raw)
    start = 0
    while len(view) - start >= _HEADER.size:
        (base, length, leader_epoch, magic, crc, attributes, last_delta, _, max_timestamp, _, _, _, records) = (
            _HEADER.unpack_from(view, start)
        )
        end = start + _LENGTH_END + length
        if magic != _MAGIC_V2:
            raise DamagedBatchError(
                f"the record batch at offset {base} has message format v{magic}; "
                "only v2 (Kafka 0.11 and newer) can be counted"
            )
        if length < HEADER_BYTES - _LENGTH_END or last_delta < 0 or records < 0:
            raise DamagedBatchError(
                f"the record batch at offset {base} has an impossible header "
                f"(length {length}, last offset delta {last_delta}, {records} records)"
            )
        if end > len(view):
            return
        header = BatchHeader(
            base_offset=base,
            next_offset=base + last_delta + 1,
            leader_epoch=leader_epoch,
            crc=crc,
            append_time_ms=max_timestamp,
            log_append_time=bool(attributes & _LOG_APPEND_TIME),
            records=records,
        )
        yield header, view[start:end]
        start = end
