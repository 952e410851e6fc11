"""What a partition has ingested since its last flush: the native core's deltas, and beside them what the core hands
out.

Not thread-safe by itself: the processor uses it from one thread at a time, the same that works in the core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fleetmeter_jobs.errors import CountingError
from fleetmeter_jobs.ledger.side_rows import Fact, Rejection
from fleetmeter_jobs.record_batch import RecordBatch

_SIDE_BYTES_LIMIT = 32 * 1024 * 1024
_REJECTION_BYTES = 1024
"""What a rejection takes besides its payload while it waits and, with its sentence, when it becomes a row, about."""
_FACT_BYTES = 256
_CORE_ERRORS = (ValueError, TypeError, OverflowError, MemoryError, RuntimeError)


class Ingested(Protocol):
    """What the native core says about one call (see `fleetmeter_native`)."""

    max_event_time_us: int
    rejections: list[tuple[int, int, int, str, bytes]]
    facts: list[tuple[int, int, bytes]]


class Core(Protocol):
    """The part of the native core that counts (see `fleetmeter_native`)."""

    pending_events: int
    pending_groups: int

    def ingest(self, values: list[bytes | None], base_offset: int, append_time_us: int) -> Ingested: ...
    def resolve(self, known: bytes) -> Ingested: ...


@dataclass(slots=True)
class Pending:
    """Everything between the last flush (`first_offset`) and now (`next_offset`)."""

    first_offset: int
    watermark_us: int
    """Largest event time so far (capped at the append time, a clock can't run ahead of the log); carried over
    flushes."""
    next_offset: int = field(init=False)
    records: int = 0
    control: int = 0
    aborted: int = 0
    leader_epoch: int = -1
    crc: int = 0
    append_time_ms: int = 0
    """Of the last batch of which it is known; 0 if of none."""
    earliest_append_ms: int | None = None
    """Of all records."""
    rejections: list[Rejection] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    side_bytes: int = 0
    """What rejections and facts, which wait in memory, take of it."""

    def __post_init__(self) -> None:
        self.next_offset = self.first_offset

    @property
    def empty(self) -> bool:
        """Nothing to commit, not even offsets."""
        return self.next_offset == self.first_offset

    @property
    def large(self) -> bool:
        """Whether what waits in memory beside the core is a reason to flush."""
        return self.side_bytes >= _SIDE_BYTES_LIMIT

    def ingest(self, core: Core, batches: Sequence[RecordBatch]) -> None:
        """Count the batches, which must continue at `next_offset` (see `continuity`).

        Raises CountingError when the core fails; then its state may hold a part of the batches and must be dropped.
        """
        for batch in batches:
            if batch.values:
                self._ingest_values(core, batch)
            self.records += len(batch.values)
            self.control += batch.control
            self.aborted += batch.aborted
            self.next_offset = batch.next_offset
            self.leader_epoch, self.crc = batch.leader_epoch, batch.crc
            self.append_time_ms = batch.append_time_ms or self.append_time_ms

    def resolve(self, core: Core, known: bytes) -> None:
        """The lookups that were taken are answered: held events are counted, as new or as `known` (fingerprints).

        Raises CountingError as `ingest` does.
        """
        try:
            resolved = core.resolve(known)
        except _CORE_ERRORS as error:
            raise CountingError(
                f"the native core refused the answer to lookups: {type(error).__name__}: {error}"
            ) from error
        for offset, index, event in resolved.facts:
            self.facts.append(Fact(offset, index, event))
            self.side_bytes += len(event) + _FACT_BYTES

    def _ingest_values(self, core: Core, batch: RecordBatch) -> None:
        earliest = self.earliest_append_ms
        self.earliest_append_ms = batch.append_time_ms if earliest is None else min(earliest, batch.append_time_ms)
        try:
            ingested = core.ingest(batch.values, batch.base_offset, batch.append_time_ms * 1000)
        except _CORE_ERRORS as error:
            raise CountingError(
                f"the native core refused offsets {batch.base_offset}..{batch.next_offset}: "
                f"{type(error).__name__}: {error}"
            ) from error
        for record, index, code, field_name, payload in ingested.rejections:
            offset = batch.base_offset + record
            self.rejections.append(Rejection(offset, index, batch.append_time_ms, code, field_name, payload))
            self.side_bytes += len(payload) + _REJECTION_BYTES
        for record, index, event in ingested.facts:
            self.facts.append(Fact(batch.base_offset + record, index, event))
            self.side_bytes += len(event) + _FACT_BYTES
        seen_us = min(ingested.max_event_time_us, batch.append_time_ms * 1000)
        self.watermark_us = max(self.watermark_us, seen_us)
