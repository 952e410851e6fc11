"""The world of one partition, in memory: a log, a core and a ledger; the commit protocol is the real one.

The oracle is the log itself: distinct good values are accepted, repeated ones are duplicates, `!` marks rejected ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP
from fleetmeter_jobs.ledger.position import Counts, PartitionId
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.processor import Processor
from fleetmeter_jobs.processor_seams import Admit, Limits
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.threads import Threads

from fleetmeter_doubles.memory_ledger import MemoryLedger
from fleetmeter_doubles.toy_core import ToyCore
from fleetmeter_doubles.toy_dedup import TOY_NATIVE, identity
from fleetmeter_doubles.toy_log import ToyLog

PARTITION = PartitionId("usage", 0, 0)
TOPIC = TP("usage", 0)
QUICK = Limits(
    flush_interval_s=0.02,
    watermark_interval_s=0.02,
    retry_wait_s=0.01,
    retry_wait_limit_s=0.02,
    recheck_interval_s=0.02,
)
DEADLINE_S = 60.0


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until the condition holds; fails the test after the deadline."""
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, "the condition never came to hold"
        await asyncio.sleep(0.002)


@dataclass
class PartitionWorld:
    """A log, a ledger, and the processors that a test starts on them."""

    threads: Threads
    log: ToyLog = field(default_factory=lambda: ToyLog(TOPIC))
    store: MemoryLedger = field(default_factory=MemoryLedger)
    cores: list[ToyCore] = field(default_factory=list)
    processors: list[Processor] = field(default_factory=list)
    work: Callable[[Any], None] = lambda _values: None

    def processor(
        self, limits: Limits = QUICK, log: ToyLog | None = None, admit: Admit | None = None, **settings: Any
    ) -> Processor:
        """A processor on the world's ledger, not started yet."""

        def new_core(_settings: Settings, _key: bytes) -> ToyCore:
            self.cores.append(ToyCore())
            self.cores[-1].work = lambda values: self.work(values)  # noqa: PLW0108  (the test may change it)
            return self.cores[-1]

        log = log or self.log
        given = Settings(**{"retry_wait_s": 0.01, "retry_wait_limit_s": 0.02, **settings})
        ledger = PartitionLedger(
            self.store,
            PARTITION.topic,
            PARTITION.partition,
            given,
            lambda: log.topic_id,
            core=new_core,
            topic_id_now=log.topic_id_now,
            native=lambda: TOY_NATIVE,
        )
        processor = Processor(ledger, log, limits, self.threads, admit=admit)
        log.deliver_to(processor.offer)
        self.processors.append(processor)
        return processor

    def committed(self) -> int:
        """The partition's position; -1 before it has one."""
        position = self.store.position(PARTITION)
        return position.next_offset if position else -1

    def totals(self) -> Counts:
        """What the markers add up to."""
        position = self.store.position(PARTITION)
        assert position is not None
        return position.totals

    def oracle(self, log: ToyLog | None = None) -> Counts:
        """What the log says must have been counted."""
        batches = (log or self.log).batches
        values = [value for batch in batches for value in batch.values]
        bad = sum(value is None or value.startswith(b"!") for value in values)
        good = [identity(value) for value in values if value is not None and not value.startswith(b"!")]
        return Counts(
            records=len(values),
            control_offsets=sum(batch.control for batch in batches),
            aborted_offsets=sum(batch.aborted for batch in batches),
            events_in=len(values),
            accepted=len(set(good)),
            duplicates=len(good) - len(set(good)),
            rejected=bad,
        )


def fill(log: ToyLog, batches: int = 5, size: int = 4) -> None:
    """Append record batches in which values repeat."""
    for number in range(batches):
        log.append([b"%d-%d" % (number, i % 3) for i in range(size)])
