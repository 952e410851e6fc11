"""One RecordBatch per Kafka record batch, out of the raw bytes of a fetch response.

Takes the place of aiokafka's `PartitionRecords`, which makes one object of eleven fields per record (170,000
records/s); this makes one list of values per batch, in native code (more than a million records/s). The rule that
decides which batches belong to aborted transactions is the same as there and in Kafka's own clients: a transactional
batch is aborted when the broker listed a transaction of its producer as aborted, starting at or before it, and no abort
marker of that producer came since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch
from fleetmeter_native import record_values

from fleetmeter_jobs.errors import DamagedBatchError, JobError, TopicRefusedError
from fleetmeter_jobs.record_batch import RecordBatch
from fleetmeter_jobs.transport.batch_header import HEADER_BYTES, BatchHeader, split_batches
from fleetmeter_jobs.transport.binary_mode import is_binary_mode, to_structured
from fleetmeter_jobs.transport.unpacking import UNDECODABLE, unpack

UNPACKED_LIMIT_BYTES: Final = 256 * 1024 * 1024
"""The records of a compressed batch may be so large together. What one request of a producer can hold, 1 to 8 MiB where
nobody raised it, is JSON of a tenth of this; an attack has no end."""
_RECORD_BYTES: Final = 256
"""A record, however short, takes about so much memory until it is committed: each may be refused, with a row of its
own."""


class LeanRecords:
    """Iterator over the record batches of one partition in one fetch response.

    `position` is where the consumer stands: a batch that begins before it (a fetch in the middle of a batch brings the
    whole) yields the part from there on.
    `next_fetch_offset` is where the next fetch starts; aiokafka's FetchResult reads it after every step.

    Raises DamagedBatchError (CRC, format, codec) and TopicRefusedError (no append time), and goes on raising: nothing
    behind a bad batch is yielded, and the position stays before it.
    """

    def __init__(
        self,
        raw: bytes,
        aborted_transactions: Iterable[tuple[int, int]] | None,
        position: int,
        unpacked_limit_bytes: int = UNPACKED_LIMIT_BYTES,
    ) -> None:
        self.next_fetch_offset = position
        self._unpacked_limit_bytes = unpacked_limit_bytes
        self._batches = split_batches(raw)
        self._aborted_starts = sorted(aborted_transactions or (), key=lambda start: start[1])
        self._aborted_producers: set[int] = set()
        self._failure: JobError | None = None

    def __iter__(self) -> Iterator[RecordBatch]:
        return self

    def __next__(self) -> RecordBatch:
        if self._failure is not None:
            raise self._failure
        try:
            return self._next_from_position()
        except JobError as error:
            self._failure = error
            raise

    def _next_from_position(self) -> RecordBatch:
        while True:
            header, raw = next(self._batches)
            batch = DefaultRecordBatch(raw)
            if not batch.validate_crc():
                raise DamagedBatchError(f"the record batch at offset {header.base_offset} fails its CRC check")
            decoded = self._decode(header, batch, raw)
            if header.next_offset > self.next_fetch_offset:
                self.next_fetch_offset = header.next_offset
                return decoded

    def _decode(self, header: BatchHeader, batch: Any, raw: memoryview) -> RecordBatch:
        aborted = self._is_aborted(header, batch)
        first = max(header.base_offset, self.next_fetch_offset)
        left = max(header.next_offset - first, 0)
        if batch.is_control_batch:
            return _batch(header, first, [], control=left)
        if aborted:
            return _batch(header, first, [], aborted=left)
        if not header.log_append_time:
            raise TopicRefusedError(
                f"the record batch at offset {header.base_offset} was written with message.timestamp.type=CreateTime: "
                "without the broker's append time, late and future events can't be told apart the same way on "
                "every replay"
            )
        try:
            values, payload_bytes = self._values(batch.compression_type, raw[HEADER_BYTES:], header.records)
        except UNDECODABLE as error:
            raise DamagedBatchError(
                f"the record batch at offset {header.base_offset} can't be decoded: {error}. Unless the log can be "
                f"restored, `fleetmeter positions set PARTITION --to {header.next_offset} --reason 'why'` skips the "
                "batch, and writes the loss down"
            ) from error
        if len(values) != header.span:
            # Which offsets are gone is not known; handed on whole, so that the continuity check sees it.
            return _batch(header, header.base_offset, values, payload_bytes)
        if first > header.base_offset:
            values = values[first - header.base_offset :]
            payload_bytes = sum(map(len, filter(None, values)))
        return _batch(header, first, values, payload_bytes)

    def _values(self, codec: int, records: memoryview, count: int) -> tuple[list[bytes | None], int]:
        """The records' values, and how many bytes they have. Raises one of UNDECODABLE."""
        unpacked = bytes(records)
        if codec != DefaultRecordBatch.CODEC_NONE:
            most = self._unpacked_limit_bytes // _RECORD_BYTES
            if count > most:
                raise ValueError(f"it has {count:,} records, and a worker makes room for {most:,}")
            unpacked = unpack(codec, unpacked, self._unpacked_limit_bytes)
        values, payload_bytes, with_headers = record_values(unpacked, count)
        for place, headers in with_headers:
            if is_binary_mode(headers):
                values[place] = to_structured(headers, values[place])
        return values, payload_bytes

    def _is_aborted(self, header: BatchHeader, batch: Any) -> bool:
        while self._aborted_starts and self._aborted_starts[0][1] <= header.base_offset:
            self._aborted_producers.add(self._aborted_starts.pop(0)[0])
        if batch.is_control_batch:
            if ControlRecord.parse(next(iter(batch)).key) == ABORT_MARKER:
                self._aborted_producers.discard(batch.producer_id)
            return False
        return bool(batch.is_transactional and batch.producer_id in self._aborted_producers)


def _batch(
    header: BatchHeader,
    base_offset: int,
    values: list[bytes | None],
    payload_bytes: int = 0,
    *,
    control: int = 0,
    aborted: int = 0,
) -> RecordBatch:
    return RecordBatch(
        base_offset=base_offset,
        next_offset=header.next_offset,
        # A producer's clock may say anything, and what is of another month or year decides what is forgotten.
        append_time_ms=header.append_time_ms if header.log_append_time else 0,
        leader_epoch=header.leader_epoch,
        crc=header.crc,
        values=values,
        payload_bytes=payload_bytes,
        control=control,
        aborted=aborted,
    )
