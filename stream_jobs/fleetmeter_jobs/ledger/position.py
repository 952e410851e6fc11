"""Where a partition stands: everything that the ledger's marker rows say about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

INIT_TABLE_PARTITION = 0
"""Table partition of rows that no commit before them could name: a partition's first marker, and the hash key."""

_LATEST_MS = 2**32 * 1000
"""End of what a ClickHouse DateTime column holds, in February 2106."""


@dataclass(frozen=True, slots=True, order=True)
class PartitionId:
    """One log that is counted: a Kafka partition, in one log epoch (raised when the log was replaced)."""

    topic: str
    partition: int
    epoch: int = 0

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}/{self.epoch}"


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of the newest commit: what the next one must continue, and how the log looked there."""

    next_offset: int
    nonce: str
    """Random name of the flush that made the commit; tells one's own commit from a rival's."""
    topic_id: str
    """Kafka's id of the topic when it was read; another one means that the topic was recreated."""
    leader_epoch: int
    """Leader epoch in the header of the last Kafka batch; -1 before the first."""
    crc: int
    """CRC-32C in the header of the last Kafka batch; 0 before the first."""
    table_partition: int
    """Table partition (yyyymm) into which the next commit goes, so that rivals for it meet in one place."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a commit, or a sum of commits, accounts for."""

    records: int = 0
    """Kafka records that were read."""
    control_offsets: int = 0
    aborted_offsets: int = 0
    events_in: int = 0
    """accepted + duplicates + rejected"""
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    unknown_fields: int = 0
    overflowed_labels: int = 0
    skipped_offsets: int = 0
    """Offsets that an operator has decided not to count; 0 in every worker's commit."""

    @property
    def offsets(self) -> int:
        """Offsets accounted for; equals next offset - first offset wherever nothing is lost or doubled."""
        return self.records + self.control_offsets + self.aborted_offsets + self.skipped_offsets


@dataclass(frozen=True, slots=True)
class Position:
    """All commits of a partition together, read in one snapshot."""

    first_offset: int
    """Where the log started when the partition was first counted."""
    next_offset: int
    """Where the next commit starts."""
    tail: Tail
    totals: Counts = field(default_factory=Counts)
    commits: int = 0
    """Flushes committed; the first, empty marker is none."""
    watermark_us: int = 0
    """Largest event time seen, in microseconds since the epoch; 0 before the first event."""
    successor: int | None = None
    """Newest log epoch of the same Kafka partition, where an operator has begun one: this one is closed for good."""


def table_partition_of(append_time_ms: int) -> int:
    """The month (UTC, yyyymm) of a broker's append time in milliseconds since the epoch.

    Raises ValueError for a time that no LogAppendTime topic gives (negative, or beyond what a DateTime column holds).
    """
    if not 0 <= append_time_ms < _LATEST_MS:
        raise ValueError(f"append time {append_time_ms} ms is not a broker's clock; is the topic on LogAppendTime?")
    moment = datetime.fromtimestamp(append_time_ms // 1000, tz=UTC)
    return moment.year * 100 + moment.month
