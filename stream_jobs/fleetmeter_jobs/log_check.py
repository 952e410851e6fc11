"""Is this the log that the ledger counted? Asked before a partition is read, because the wrong answer counts twice or
loses.

A topic that was deleted and made again looks like the old one to a consumer: same name, offsets that exist. A broker
that lost its disk comes back with fewer. Retention may have eaten what was not counted yet. In each case the offsets
alone don't tell, so the ledger's tail remembers the topic's id and the last record batch's leader epoch and CRC.
"""

from __future__ import annotations

from typing import Protocol

from fleetmeter_jobs.errors import LogMismatchError
from fleetmeter_jobs.ledger.position import PartitionId, Position


class LastBatch(Protocol):
    """What identifies the record batch before the position (see `transport.batch_header.BatchHeader`)."""

    @property
    def next_offset(self) -> int: ...
    @property
    def leader_epoch(self) -> int: ...
    @property
    def crc(self) -> int: ...


def check_log(
    partition: PartitionId,
    position: Position,
    topic_id: str,
    log_start: int,
    log_end: int,
    last_batch: LastBatch | None,
) -> None:
    """Raise LogMismatchError unless the position lies in this log. `last_batch` holds offset `position.next_offset -
    1`,
    and is None where the log does not reach back to it."""
    here, tail = position.next_offset, position.tail
    if tail.topic_id != topic_id:
        raise _mismatch(
            partition, f"topic id {tail.topic_id}", f"topic id {topic_id}: the topic was deleted and made again"
        )
    if here < log_start:
        raise _mismatch(
            partition,
            f"position {here}",
            f"a log that starts at {log_start}: retention or an operator deleted {log_start - here} offsets before "
            "they "
            "were counted",
        )
    if here > log_end:
        raise _mismatch(
            partition,
            f"position {here}",
            f"a log that ends at {log_end}: the broker lost {here - log_end} offsets that are counted",
        )
    if tail.leader_epoch < 0 or here == log_start:
        return  # nothing was counted yet, or retention took the last counted batch: there is nothing to compare
    if last_batch is None:
        raise _mismatch(partition, f"a record batch before {here}", "none there")
    # Flushes end where record batches end, so this is the batch that the tail describes.
    if (last_batch.leader_epoch, last_batch.crc) != (tail.leader_epoch, tail.crc):
        raise _mismatch(
            partition,
            f"leader epoch {tail.leader_epoch} and CRC {tail.crc:#010x} for the record batch before {here}",
            f"leader epoch {last_batch.leader_epoch} and CRC {last_batch.crc:#010x}: other records at the same offsets",
        )


def _mismatch(partition: PartitionId, ledger_has: str, kafka_has: str) -> LogMismatchError:
    return LogMismatchError(
        f"{partition}: the ledger has {ledger_has}, Kafka has {kafka_has}. Counting on would lose events or count "
        "others "
        f"twice, so this partition stands still. If the old log is gone for good, set FLEETMETER_TOPIC_EPOCH="
        f"{partition.epoch + 1} for all workers and restart them: they count the present log from its start as a "
        "new one"
    )
