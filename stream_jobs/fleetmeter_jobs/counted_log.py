"""Is it still the log that is counted? Asked when a partition starts, and whenever another leader has written on.

The consumer does not tell. After an unclean election the log may lack the end of what was read, and have other records
at those offsets; it goes on at the position as if nothing had happened, and what was written anew before it is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from faust.types import TP

from fleetmeter_jobs.errors import KafkaUnavailableError
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.log_check import check_log
from fleetmeter_jobs.processor_seams import Log
from fleetmeter_jobs.record_batch import RecordBatch


class CountedLog:
    """What was read last of one partition's log, and where that has to be found again."""

    def __init__(self, kafka: Log, tp: TP) -> None:
        self._kafka, self._tp = kafka, tp
        self._read: tuple[PartitionId, Position, str] | None = None

    async def begin(self, partition: PartitionId, position: Position, topic_id: str) -> None:
        """Reading begins at the position. Raises LogMismatchError if this is another log than the ledger's, and
        KafkaUnavailableError."""
        self._read = None
        await self._check(partition, position, topic_id)
        self._read = partition, position, topic_id

    async def go_on(self, batches: Sequence[RecordBatch]) -> None:
        """These come next. Raises LogMismatchError if the log was rewritten before them, KafkaUnavailableError, and
        leaves what was read as it was then."""
        if not batches:
            return
        if self._read is None:
            raise KafkaUnavailableError(f"{self._tp.topic}-{self._tp.partition}: reading has not begun")
        partition, read, topic_id = self._read
        # Before the first batch of all there is nothing to find again.
        if read.tail.leader_epoch not in {-1, batches[0].leader_epoch}:
            await self._check(partition, read, topic_id)
        last = batches[-1]
        tail = replace(read.tail, next_offset=last.next_offset, leader_epoch=last.leader_epoch, crc=last.crc)
        self._read = partition, replace(read, next_offset=last.next_offset, tail=tail), topic_id

    async def _check(self, partition: PartitionId, read: Position, topic_id: str) -> None:
        here, last_batch = read.next_offset, None
        log_start, log_end = await self._kafka.log_bounds(self._tp)
        if here > log_start:
            last_batch = await self._kafka.header_at(self._tp, here - 1)
        check_log(partition, read, topic_id, log_start, log_end, last_batch)
