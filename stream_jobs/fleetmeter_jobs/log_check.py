"""Is this the log that the ledger counted? Asked before a partition is read, because the wrong answer counts twice or
loses.

A topic that was deleted and made again looks like the old one to a consumer: same name, offsets that exist. A broker
that lost its disk comes back with fewer. Retention may have eaten what was not counted yet. In each case the offsets
alone don't tell, so the ledger's tail remembers the topic's id and the last record batch's leader epoch and CRC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from fleetmeter_jobs.errors import LogMismatchError
from fleetmeter_jobs.ledger.position import PartitionId, Position

Remedy = Literal["new-epoch", "set"]
"""The command of `fleetmeter positions` that resolves a mismatch."""


class LastBatch(Protocol):
    """What identifies the record batch before the position (see `transport.batch_header.BatchHeader`)."""

    @property
    def next_offset(self) -> int: ...
    @property
    def leader_epoch(self) -> int: ...
    @property
    def crc(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What the ledger has, what Kafka has instead, and what a person can do about it."""

    partition: PartitionId
    ledger_has: str
    kafka_has: str
    meaning: str
    remedy: Remedy

    @property
    def command(self) -> str:
        """The command that resolves it; as it stands it only tells what it would do."""
        where = f"{self.partition.partition} -s topic={self.partition.topic}"
        to = " --to start" if self.remedy == "set" else ""
        return f"fleetmeter positions {self.remedy} {where}{to} --reason 'why'"

    def __str__(self) -> str:
        return (
            f"{self.partition}: the ledger has {self.ledger_has}, Kafka has {self.kafka_has}: {self.meaning} The "
            f"partition stands still until somebody decides: `{self.command}` shows what it would do, and does it with "
            "--yes; workers then go on by themselves"
        )


def find_mismatch(
    partition: PartitionId,
    position: Position,
    topic_id: str,
    log_start: int,
    log_end: int,
    last_batch: LastBatch | None,
) -> Mismatch | None:
    """What keeps this log from being counted on from the position, if anything does.

    `last_batch` holds offset `position.next_offset - 1`, and is None where the log does not reach back to it.
    """
    here, tail = position.next_offset, position.tail

    def mismatch(ledger_has: str, kafka_has: str, meaning: str, remedy: Remedy = "new-epoch") -> Mismatch:
        return Mismatch(partition, ledger_has, kafka_has, meaning, remedy)

    if tail.topic_id != topic_id:
        return mismatch(
            f"position {here} in the topic with id {tail.topic_id}",
            f"a log from {log_start} to {log_end} in the topic with id {topic_id}",
            "the topic was deleted and made again. A new log epoch counts the present log from its start; what was "
            "counted before is not counted again.",
        )
    if here < log_start:
        return mismatch(
            f"position {here}",
            f"a log that starts at {log_start}",
            f"retention or an operator deleted {log_start - here} offsets before they were counted. They are lost; "
            "skipping them writes that down.",
            "set",
        )
    if here > log_end:
        return mismatch(
            f"position {here}",
            f"a log that ends at {log_end}",
            f"the broker lost {here - log_end} offsets that are counted, and will give them to other records. If they "
            "don't come back, a new log epoch reads the present log from its start; what was counted before is not "
            "counted again.",
        )
    if tail.leader_epoch < 0 or here == log_start:
        return None  # nothing was counted yet, or retention took the last counted batch: there is nothing to compare
    other = (
        "these are other records at the same offsets: the log was truncated and written again. A new log epoch reads "
        "the present log from its start; what was counted before is not counted again."
    )
    if last_batch is None:
        return mismatch(f"a record batch before {here}", f"none there in its log from {log_start} to {log_end}", other)
    # Flushes end where record batches end, so this is the batch that the tail describes.
    if (last_batch.leader_epoch, last_batch.crc) != (tail.leader_epoch, tail.crc):
        return mismatch(
            f"leader epoch {tail.leader_epoch} and CRC {tail.crc:#010x} for the record batch before {here}",
            f"leader epoch {last_batch.leader_epoch} and CRC {last_batch.crc:#010x} there, in a log from {log_start} "
            f"to {log_end}",
            other,
        )
    return None


def check_log(
    partition: PartitionId,
    position: Position,
    topic_id: str,
    log_start: int,
    log_end: int,
    last_batch: LastBatch | None,
) -> None:
    """Raise LogMismatchError, which names both sides and the command that resolves it, unless the position lies in
    this log (see `find_mismatch`)."""
    mismatch = find_mismatch(partition, position, topic_id, log_start, log_end, last_batch)
    if mismatch is not None:
        raise LogMismatchError(str(mismatch))
