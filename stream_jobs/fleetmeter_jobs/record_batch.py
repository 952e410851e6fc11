"""What travels from Kafka to the processor: whole Kafka record batches, never single records.

A record batch is the unit in which a broker stores, a leader stamps and a CRC protects records. Keeping it whole lets
one Python object stand for
thousands of events, and lets the ledger remember the log it counted by the header of the last batch it committed.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleetmeter_jobs.errors import JobError


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """One Kafka record batch, or the part of it from the consumer's position on.

    `values[i]` has offset `base_offset + i` and is the record's value as sent (None is a tombstone). Control batches
    (transaction markers) and batches of an
    aborted transaction have no values; they only say how many offsets they take, so that the offsets stay gapless.

    Promise: `len(values) + control + aborted == next_offset - base_offset`. Where that does not hold (a compacted log,
    a damaged batch), `missing` is not zero
    and whoever counts must stop the partition.
    """

    base_offset: int
    """Offset of the first value."""
    next_offset: int
    """Offset after the last one."""
    append_time_ms: int
    """The broker's append time (UTC, epoch milliseconds), the same for every record of the batch; 0 if it is not known,
    of an aborted batch from when the topic had CreateTime."""
    leader_epoch: int
    """Leader epoch in the batch header: which leader's log this is."""
    crc: int
    """CRC-32C in the batch header, over the batch as the broker stored it."""
    values: list[bytes | None]
    payload_bytes: int = 0
    """Bytes of all values, as the records have them."""
    control: int = 0
    """Offsets taken by transaction markers."""
    aborted: int = 0
    """Offsets taken by records of aborted transactions: never to be counted."""

    @property
    def span(self) -> int:
        """Offsets the batch takes in the log."""
        return self.next_offset - self.base_offset

    @property
    def missing(self) -> int:
        """Offsets that the batch spans but does not account for; 0 in every log that was not compacted."""
        return self.span - len(self.values) - self.control - self.aborted


@dataclass(frozen=True, slots=True)
class Fetch:
    """What one fetch brought for one partition: record batches in offset order."""

    topic: str
    partition: int
    batches: list[RecordBatch]
    positioning: int = 0
    """Which positioning of the partition's consumer the fetch follows. After a seek, fetches of an older one are stale
    and are dropped."""
    payload_bytes: int = 0
    """Bytes of all values: what the fetch holds in memory."""
    failure: JobError | None = None
    """Why the partition can't be read on from here; then there are no batches, and no later fetches."""
