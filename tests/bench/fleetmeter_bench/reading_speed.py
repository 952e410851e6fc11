"""What the worker's own consumer brings out of Kafka: record batches fetched, checked, decoded, and nothing more."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition
from fleetmeter_jobs.errors import JobError
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.transport.lean_fetcher import LeanConsumer

_TAKE_S: Final = 1.0


@dataclass(frozen=True)
class Reading:
    """How long a topic took from the first request to the last record, every value a `bytes` of its own."""

    records: int
    payload_bytes: int
    seconds: float
    processor_seconds: float
    """Processor time of the reading process, on all cores."""

    @property
    def records_per_s(self) -> float:
        """Records read a second."""
        return self.records / self.seconds


def reading_speed(settings: Settings, records: int, limit_s: float) -> Reading:
    """Read the settings' topic from its beginning, all partitions, until `records` are read.

    Raises `RuntimeError` if that takes longer than `limit_s`, and what makes a partition unreadable.
    """
    return asyncio.run(_read(settings, records, limit_s))


async def _read(settings: Settings, records: int, limit_s: float) -> Reading:
    partitions = [TopicPartition(settings.topic, number) for number in range(settings.topic_partitions)]
    consumer = LeanConsumer(
        **settings.kafka_access.aiokafka(),
        client_id="fleetmeter-bench",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=settings.fetch_limit_bytes,
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        began, processor_began = time.monotonic(), time.process_time()
        for partition in partitions:
            consumer.seek(partition, 0)
        done = payload = 0
        while done < records:
            for piece in (await consumer.take(partitions, _TAKE_S)).values():
                if isinstance(piece, JobError):
                    raise piece
                done += sum(len(batch.values) for batch in piece.batches)
                payload += piece.payload_bytes
            if time.monotonic() - began > limit_s:
                raise RuntimeError(f"only {done} of {records} records were read in {limit_s:g} s")
        return Reading(done, payload, time.monotonic() - began, time.process_time() - processor_began)
    finally:
        await consumer.stop()
