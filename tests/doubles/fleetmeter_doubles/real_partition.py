"""One partition over weeks of the broker's clock: real core, real processor, real ClickHouse; only Kafka is a double.

The oracle is the log: which (source, id) was there before, and when its events happened.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from faust.types import TP
from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.context import CommitObserver
from fleetmeter_jobs.ledger.position import Position
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.partition_status import DedupStatus
from fleetmeter_jobs.processor import Processor
from fleetmeter_jobs.processor_seams import Limits
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.threads import Threads

from fleetmeter_doubles.toy_log import ToyLog

TOPIC = TP("usage", 0)
ULID = "01JD8Z5W8Q3K6V9XKQ2N4T7RYB"
DAY_MS = 86_400_000
_DEADLINE_S = 120.0
_QUICK = Limits(flush_interval_s=0.02, watermark_interval_s=0.05, retry_wait_s=0.02, retry_wait_limit_s=0.1)


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until the condition holds; fails the test after the deadline."""
    give_up = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, "the condition never came to hold"
        await asyncio.sleep(0.02)


@dataclass
class RealPartition:
    """A log, a ledger, and the processors that a test starts on them."""

    store: ClickHouseStore
    threads: Threads
    log: ToyLog = field(default_factory=lambda: ToyLog(TOPIC))
    observer: CommitObserver = field(default_factory=CommitObserver)
    processors: list[Processor] = field(default_factory=list)

    def processor(self, limits: Limits = _QUICK, **settings: Any) -> Processor:
        """A processor on the partition, begun."""
        given = Settings(**{"retry_wait_s": 0.02, "retry_wait_limit_s": 0.1, **settings})
        ledger = PartitionLedger(
            self.store, TOPIC.topic, TOPIC.partition, given, lambda: self.log.topic_id, observer=self.observer
        )
        processor = Processor(ledger, self.log, limits, self.threads)
        self.log.deliver_to(processor.offer)
        self.processors.append(processor)
        processor.start()
        return processor

    def append(self, ids: Iterable[str], days_ago: float = 0.001) -> None:
        """A record batch of events that happened some days before they are appended."""
        append_ms = self.log.append_time_ms + self.log.end
        happened = datetime.fromtimestamp(append_ms / 1000, UTC) - timedelta(days=days_ago)
        self.log.append([_event(event_id, happened) for event_id in ids])

    async def days(self, count: int, a_day: int = 40) -> list[tuple[str, int]]:
        """Each day new foreign ids and new sequenced ones, committed before the next day begins. Returns the foreign
        ones with the append time (epoch ms) of their day."""
        foreign = []
        for _ in range(count):
            base = self.log.end
            some = [f"order-{base + number}" for number in range(a_day)]
            foreign += [(one, self.log.append_time_ms + base) for one in some]
            self.append([*some, *(f"{ULID}-{base + number}" for number in range(a_day // 2))])
            await self.counted()
            self.log.append_time_ms += DAY_MS
        return foreign

    async def counted(self) -> None:
        """Wait until the log is committed to its end."""
        await eventually(lambda: self.next_offset == self.log.end)

    async def sealed(self, processor: Processor) -> None:
        """Wait until every chunk that is complete has left memory, and its blobs the ledger."""
        await eventually(lambda: processor.status.dedup.unsealed_chunks == 0 and self.blobs() <= 2)

    @property
    def next_offset(self) -> int:
        return -1 if (found := self._position()) is None else found.next_offset

    @property
    def position(self) -> Position:
        found = self._position()
        assert found is not None
        return found

    def _position(self) -> Position | None:
        epochs = self.store.epochs(TOPIC.topic, TOPIC.partition)
        return epochs[-1][1] if epochs else None

    def blobs(self) -> int:
        return int(self.one("SELECT count() FROM ledger WHERE row_kind = 'blob' AND topic != ''"))

    def one(self, query: str) -> Any:
        """The only value of a query."""
        ((value,),) = self.store.http.rows(query)
        return value


def dedup(processor: Processor) -> DedupStatus:
    """What is remembered."""
    return processor.status.dedup


def _event(event_id: str, happened: datetime) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "type": "fleetmeter.generation.v1",
            "source": "gateway",
            "id": event_id,
            "subject": "acme",
            "time": happened.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": {"model": "mercury-coder-mini", "generation_mode": "diffusion", "input_tokens": 7},
        }
    ).encode()
