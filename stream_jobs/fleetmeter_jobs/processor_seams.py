"""What a processor needs of the world, so that a test can stand in for Kafka, ClickHouse and whoever watches."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from faust.types import TP

from fleetmeter_jobs.errors import JobError
from fleetmeter_jobs.ledger.commit import Committed, Lost
from fleetmeter_jobs.ledger.dedup.chunks import Chunk
from fleetmeter_jobs.ledger.dedup.housekeeping import Kept
from fleetmeter_jobs.ledger.dedup.manifest import Manifest
from fleetmeter_jobs.ledger.dedup.restore import Restored
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.ledger.retry import Cancel
from fleetmeter_jobs.log_check import LastBatch
from fleetmeter_jobs.pending import Pending

Acknowledge = Callable[[], Awaitable[Any]]


class Log(Protocol):
    """A worker's view of Kafka (`transport.consumer.Consumer`); called from the event loop."""

    def start_at(self, tp: TP, offset: int) -> int: ...
    def stop_at(self, tp: TP) -> None: ...
    def hold(self, tp: TP) -> None: ...
    def release(self, tp: TP) -> None: ...
    def drained_at_ms(self, tp: TP, position: int) -> int | None: ...
    def log_end(self, tp: TP) -> int | None: ...
    def trouble(self, tp: TP) -> JobError | None: ...
    async def log_bounds(self, tp: TP) -> tuple[int, int]: ...
    async def header_at(self, tp: TP, offset: int) -> LastBatch | None: ...


class Ledger(Protocol):
    """One partition's side of the ledger (`partition_ledger.PartitionLedger`); its calls block and run in threads."""

    @property
    def partition(self) -> PartitionId: ...
    @property
    def trouble(self) -> JobError | None: ...
    @property
    def section_end(self) -> int | None: ...
    def topic_id(self) -> str: ...
    def open(self, log_start: int, topic_id: str) -> Position: ...
    def restore(self, position: Position) -> Restored: ...
    def blob_stats(self, blob: bytes) -> Mapping[str, int]: ...
    def look_up(self, asked: Sequence[tuple[Manifest, bytes]], since_ms: int, cancel: Cancel) -> bytes: ...
    def keep(self, chunk: Chunk, log_starts: Mapping[PartitionId, int], append_us: int, cancel: Cancel) -> Kept: ...
    def commit(self, previous: Position, pending: Pending, flush: Any, topic_id: str) -> Committed | Lost: ...
    def advance_watermark(self, watermark_us: int, next_offset: int) -> None: ...
    def new_cancel(self) -> threading.Event: ...
    def abandon(self) -> None: ...


Admit = Callable[[int], Awaitable[bool]]
"""Whether a partition may count all that its log holds, or a growth's section alone. Raises if the topic's partitions
are not those that the ledger knows; see `registration`."""


class Observer:
    """Sees what a processor does; metrics count with it."""

    def committed(self, pending: Pending, flush: Any, outcome: Committed, seconds: float) -> None:
        """A flush is in the ledger."""

    def restarted(self, reason: str) -> None:
        """The state in memory was dropped: `lost`, `gap`, `doubt`, or an error's domain."""

    def looked_up(self, asked: int, known: int, seconds: float) -> None:
        """The store was asked about so many old ids, of which it knew some."""

    def sealed(self, ids: int, seconds: float) -> None:
        """A chunk of so many foreign ids is in the store."""

    def seal_failed(self, error: JobError) -> None:
        """A try to seal a chunk did not succeed; there will be another one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When to flush, how much to hold, how long to wait."""

    flush_interval_s: float = 1.0
    flush_events: int = 500_000
    flush_groups: int = 200_000
    watermark_interval_s: float = 5.0
    inbox_bytes: int = 64 * 1024 * 1024
    retry_wait_s: float = 0.2
    retry_wait_limit_s: float = 15.0
    turn_poll_s: float = 1.0
    """How often a partition that waits for others, while partitions are added, looks whether it is its turn."""
    recheck_interval_s: float = 10.0
    held_events: int = 100_000
    """Events that may wait for an answer from the store before ingesting waits too."""
    exact_bytes: int = 2**30
    filter_bytes: int = 2**28
