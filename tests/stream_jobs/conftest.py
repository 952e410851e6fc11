"""Partitions and workers in this process, with a ledger and a core in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from fleetmeter_doubles.memory_ledger import MemoryLedger
from fleetmeter_doubles.partition_world import PartitionWorld
from fleetmeter_doubles.toy_core import ToyCore
from fleetmeter_doubles.toy_dedup import TOY_NATIVE
from fleetmeter_jobs.app import UsageApp, build_app, count_with
from fleetmeter_jobs.kafka_topic import countable_topic_id
from fleetmeter_jobs.ledger.position import Counts, PartitionId
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.partitions import Partitions
from fleetmeter_jobs.processor import Processor
from fleetmeter_jobs.processor_seams import Limits
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.threads import Threads
from fleetmeter_local import RunningKafka

Eventually = Callable[[Callable[[], Any]], Awaitable[None]]


@dataclass
class ToyWorker:
    """A Faust app that counts into memory."""

    app: UsageApp
    partitions: Partitions
    stop: Callable[[], Awaitable[None]]


@dataclass
class ToyFleet:
    """Starts workers on one topic that share a ledger."""

    settings: Settings
    store: MemoryLedger
    stack: AsyncExitStack

    async def start_worker(self) -> ToyWorker:
        """A worker that is joining its group."""
        return await self.stack.enter_async_context(self._worker())

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[ToyWorker]:
        settings, app, threads = self.settings, build_app(self.settings), Threads()
        limits = Limits(flush_interval_s=0.05, watermark_interval_s=0.1, retry_wait_s=0.05, recheck_interval_s=0.2)

        def new_processor(partition: int) -> Processor:
            ledger = PartitionLedger(
                self.store,
                settings.topic,
                partition,
                settings,
                lambda: countable_topic_id(settings.kafka_access, settings.topic),
                core=lambda _settings, _key: ToyCore(),
                native=lambda: TOY_NATIVE,
            )
            return Processor(ledger, app.batch_consumer, limits, threads)

        partitions = Partitions(new_processor, settings.rebalance_limit_s)
        count_with(app, settings, partitions)
        ended = False

        async def stop() -> None:
            nonlocal ended
            if not ended:
                ended = True
                await partitions.stop(10)
                await app.stop()
                threads.close()

        await app.start()
        try:
            yield ToyWorker(app, partitions, stop)
        finally:
            await stop()

    def committed(self, partition: int = 0, epoch: int = 0) -> int:
        """The partition's position; -1 before it has one."""
        position = self.store.position(PartitionId(self.settings.topic, partition, epoch))
        return position.next_offset if position else -1

    def totals(self, partition: int = 0, epoch: int = 0) -> Counts:
        """What the markers add up to."""
        position = self.store.position(PartitionId(self.settings.topic, partition, epoch))
        assert position is not None
        return position.totals


@pytest.fixture
async def fleet(kafka: RunningKafka) -> AsyncIterator[Callable[[str], ToyFleet]]:
    """`fleet(topic)`: workers to be started on a topic."""
    async with AsyncExitStack() as stack:

        def make(topic: str, **options: Any) -> ToyFleet:
            options = {"session_timeout_s": 6, "rebalance_limit_s": 5, **options}
            settings = Settings.load(kafka_bootstrap=kafka.bootstrap, topic=topic, consumer_group=topic, **options)
            return ToyFleet(settings, MemoryLedger(), stack)

        yield make


@pytest.fixture
async def world() -> AsyncIterator[PartitionWorld]:
    """One partition in memory; its processors are stopped afterwards."""
    made = PartitionWorld(Threads())
    yield made
    for processor in made.processors:
        await processor.stop(5)
    made.threads.close()


@pytest.fixture
def eventually() -> Eventually:
    """Wait until a condition holds; fails the test after a minute."""

    async def wait(condition: Callable[[], Any]) -> None:
        give_up = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < give_up, "the condition never came to hold"
            await asyncio.sleep(0.01)

    return wait
