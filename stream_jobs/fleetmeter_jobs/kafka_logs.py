"""Kafka's logs as a worker would see them, for the commands that compare them with the ledger: bounds, and the headers
of single record batches. Belongs to no consumer group and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from fleetmeter_jobs.errors import KafkaUnavailableError
from fleetmeter_jobs.kafka_access import KafkaAccess
from fleetmeter_jobs.transport.batch_header import BatchHeader
from fleetmeter_jobs.transport.lean_fetcher import LeanConsumer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KafkaLog:
    """One partition's log."""

    start: int
    end: int
    """The offset after the last one that may be counted now (records of open transactions may not)."""


def log_bounds(access: KafkaAccess, topic: str, partitions: Iterable[int]) -> dict[int, KafkaLog]:
    """Where each log begins and ends. Raises KafkaUnavailableError."""

    async def ask(consumer: LeanConsumer) -> dict[int, KafkaLog]:
        return {n: KafkaLog(*await consumer.log_bounds(TopicPartition(topic, n))) for n in partitions}

    return _with_consumer(access, ask)


def headers_before(access: KafkaAccess, topic: str, offsets: Mapping[int, int]) -> dict[int, BatchHeader | None]:
    """By partition, the header of the record batch that holds the offset before the given one; None where the log has
    none there. Raises KafkaUnavailableError."""

    async def ask(consumer: LeanConsumer) -> dict[int, BatchHeader | None]:
        headers: dict[int, BatchHeader | None] = {}
        for partition, offset in offsets.items():
            tp = TopicPartition(topic, partition)
            start, end = await consumer.log_bounds(tp)  # and so the client learns who leads the partition
            headers[partition] = await consumer.header_at(tp, offset - 1) if start < offset <= end else None
        return headers

    return _with_consumer(access, ask)


def _with_consumer(access: KafkaAccess, ask: Callable[[LeanConsumer], Awaitable[T]]) -> T:
    async def run() -> T:
        consumer = LeanConsumer(
            **access.aiokafka(),
            client_id="fleetmeter-logs",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
        )
        try:
            await consumer.start()
            return await ask(consumer)
        except KafkaError as error:
            raise KafkaUnavailableError(f"Kafka at {access.bootstrap} does not answer as it should: {error}") from error
        finally:
            await consumer.stop()

    return asyncio.run(run())
