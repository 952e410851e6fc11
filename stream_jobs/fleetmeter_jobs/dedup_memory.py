"""What a partition knows of the events that were counted, while it is counting: held events, sealing, expiry.

Counting never waits for it: lookups and seals run in threads, and what they bring is taken into the core between two
fetches. Only a flush waits, until no event is held; and ingesting does, when too many are, or when the ids in memory
pass their limit because the store has not taken any for long.

Called in the event loop by the partition's processor alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Self

from fleetmeter_jobs.errors import JobError
from fleetmeter_jobs.ledger.dedup.book import ExactChunk
from fleetmeter_jobs.ledger.dedup.chunks import BlobStats
from fleetmeter_jobs.ledger.dedup.housekeeping import Kept
from fleetmeter_jobs.ledger.dedup.manifest import Manifest
from fleetmeter_jobs.ledger.dedup.restore import Restored
from fleetmeter_jobs.ledger.errors import CommitAbandonedError, DedupMovedError
from fleetmeter_jobs.ledger.position import Position
from fleetmeter_jobs.ledger.retry import Backoff
from fleetmeter_jobs.partition_status import DedupStatus
from fleetmeter_jobs.pending import Pending
from fleetmeter_jobs.processor_seams import Ledger, Limits, Observer
from fleetmeter_jobs.threads import Threads

log = logging.getLogger(__name__)


class DedupMemory:
    """A core and its chunks."""

    @classmethod
    async def read(
        cls, ledger: Ledger, position: Position, limits: Limits, threads: Threads, observer: Observer
    ) -> Self:
        """What the ledger knows at a position. Raises as `ledger.dedup.restore` does."""
        return cls(await threads.store(ledger.restore, position), ledger, limits, threads, observer)

    def __init__(
        self, restored: Restored, ledger: Ledger, limits: Limits, threads: Threads, observer: Observer
    ) -> None:
        self.core: Any = restored.core
        self.status = DedupStatus()
        self._book, self._cutter = restored.book, restored.cutter
        self._ledger, self._limits, self._threads, self._observer = ledger, limits, threads, observer
        self._wake: Callable[[], None] = lambda: None
        self._backoff = Backoff(limits.retry_wait_s, limits.retry_wait_limit_s)
        self._next_offset = 0  # the committed position
        self._cancel = ledger.new_cancel()
        self._held_since_ms = 0  # no held event was appended earlier
        self._lookup: asyncio.Task[_Answer] | None = None
        self._sealing: asyncio.Task[tuple[ExactChunk, Kept]] | None = None
        self._seal_error: JobError | None = None
        self._measure()

    @property
    def trouble(self) -> JobError | None:
        """Why ingesting waits for the store, if it does: ids can't leave memory, and there is no more room for them."""
        return self._seal_error if self._crowded else None

    @property
    def ready(self) -> bool:
        """Whether there is something to `take_in`."""
        return any(task is not None and task.done() for task in (self._lookup, self._sealing))

    @property
    def has_room(self) -> bool:
        """Whether more may be ingested."""
        return self.core.held_events < self._limits.held_events and not self._crowded

    @property
    def full(self) -> bool:
        """Whether there is enough for a flush."""
        core, limits = self.core, self._limits
        return bool(core.pending_events >= limits.flush_events or core.pending_groups >= limits.flush_groups)

    @property
    def _crowded(self) -> bool:
        return bool(self._book.closed) and self.status.exact_bytes >= self._limits.exact_bytes

    # Counting. What is named `..._in_core` runs in the core's thread.

    def ingest_in_core(self, pending: Pending, batches: Any) -> list[tuple[int, bytes]]:
        """Count batches; returns the lookups that held events need, unless some are on their way."""
        pending.ingest(self.core, batches)
        self._held_since_ms = pending.earliest_append_ms or 0
        self.status.held_events = self.core.held_events
        return self.core.take_lookups() if self.core.held_events and self._lookup is None else []

    def flush_in_core(self, pending: Pending) -> Any:
        """Take out what is to be committed; the chunk ends with it where `Cutter` says so."""
        flush = self.core.flush()
        if flush.blob:
            stats = BlobStats.of(self._ledger.blob_stats(flush.blob))
            number = self._book.add_commit(self._cutter, pending.next_offset, stats, len(flush.blob))
            if number is not None:
                self.core.begin_chunk(number)
        self._measure()
        return flush

    def look_up(self, lookups: list[tuple[int, bytes]]) -> None:
        """Ask the store about held events."""
        if lookups:
            chunks = [(self._book.chunk_of(number), fingerprints) for number, fingerprints in lookups]
            self._lookup = asyncio.create_task(self._ask(chunks), name=f"look up {self._ledger.partition}")
            self._lookup.add_done_callback(lambda _: self._wake())

    async def resolve_all(self, pending: Pending) -> None:
        """Wait until no event is held. Raises CommitAbandonedError after `pause`: nobody asks about them any more."""
        while self.core.held_events:
            if self._cancel.is_set():
                raise CommitAbandonedError(f"{self._ledger.partition} was given away while events waited for a lookup")
            if self._lookup is None:
                self.look_up(await self._threads.core(self.core.take_lookups))
            if self._lookup is not None:
                await asyncio.wait([self._lookup])
                await self._take_answer(pending)

    async def take_in(self, pending: Pending) -> None:
        """Bring into the core what has come. Raises what a lookup raised, and DedupMovedError when the state is to be
        read again."""
        if self._lookup is not None and self._lookup.done():
            await self._take_answer(pending)
        if self._sealing is not None and self._sealing.done():
            await self._take_sealed()

    async def _ask(self, chunks: list[tuple[Manifest | None, bytes]]) -> _Answer:
        began = time.monotonic()
        asked = [(chunk, fingerprints) for chunk, fingerprints in chunks if chunk is not None]
        if len(asked) < len(chunks):
            raise DedupMovedError(f"{self._ledger.partition}: a chunk has expired in which events were to be looked up")
        known = await self._threads.store(self._ledger.look_up, asked, self._held_since_ms, self._cancel)
        return _Answer(sum(len(some) for _, some in asked) // 16, known, time.monotonic() - began)

    async def _take_answer(self, pending: Pending) -> None:
        task, self._lookup = self._lookup, None
        if task is None:
            return
        answer = await task
        lookups = await self._threads.core(self._resolve_in_core, pending, answer.known)
        self._observer.looked_up(answer.asked, len(answer.known) // 16, answer.seconds)
        self.look_up(lookups)

    def _resolve_in_core(self, pending: Pending, known: bytes) -> list[tuple[int, bytes]]:
        pending.resolve(self.core, known)
        self.status.held_events = self.core.held_events
        lookups: list[tuple[int, bytes]] = self.core.take_lookups()
        return lookups

    # Sealing

    def committed(self, next_offset: int, append_time_ms: int) -> None:
        """Commits have come so far; what is complete may be sealed."""
        self._next_offset = next_offset
        self._book.append_us = append_time_ms * 1000 or self._book.append_us
        self._seal_next()

    def _seal_next(self) -> None:
        if self._sealing is not None or not self._book.closed or self._cancel.is_set():
            return
        exact = self._book.closed[0]
        if exact.chunk.next_offset <= self._next_offset or exact.chunk.partition != self._ledger.partition:
            self._sealing = asyncio.create_task(self._seal(exact), name=f"seal {exact.chunk}")
            self._sealing.add_done_callback(lambda _: self._wake())

    def go_on(self, next_offset: int, wake: Callable[[], None]) -> None:
        """Begin, or go on after `pause`. `wake` is called whenever there is something to `take_in`."""
        self._cancel, self._wake = self._ledger.new_cancel(), wake
        self.committed(next_offset, 0)

    def pause(self) -> None:
        """End what runs in the background: at once where it waits, else at its next step."""
        self._cancel.set()
        for task in (self._lookup, self._sealing):
            if task is not None:
                task.add_done_callback(_discard)
        self._lookup = self._sealing = None

    async def _seal(self, exact: ExactChunk) -> tuple[ExactChunk, Kept]:
        """Seal a chunk, however often it takes."""
        cancel, failures = self._cancel, 0
        while True:
            try:
                async with self._threads.sealing:  # one at a time: it takes memory, and a core's time
                    began = time.monotonic()
                    kept = await self._threads.store(
                        self._ledger.keep, exact.chunk, dict(self._book.log_starts), self._book.append_us, cancel
                    )
                    self._observer.sealed(kept.sealed.manifest.foreign_ids, time.monotonic() - began)
                    return exact, kept
            except (CommitAbandonedError, DedupMovedError):
                raise
            except JobError as error:
                failures += 1
                self._say(error)
            # An error that won't pass by itself does not stop the count: everything is in memory. A person has to look.
            if await self._threads.store(cancel.wait, self._backoff.wait_s(failures)):
                raise CommitAbandonedError(f"told to stop before sealing {exact.chunk}")

    def _say(self, error: JobError) -> None:
        if str(error) != self.status.seal_error:
            level = logging.WARNING if error.retryable else logging.ERROR
            log.log(level, "%s: sealing waits: %s", self._ledger.partition, error)
        self._seal_error, self.status.seal_error = error, str(error)
        self._observer.seal_failed(error)

    async def _take_sealed(self) -> None:
        task, self._sealing = self._sealing, None
        if task is None:
            return
        exact, kept = await task
        self._seal_error = self.status.seal_error = None
        self.status.sealed_at_s = time.time()
        await self._threads.core(self._take_kept_in_core, exact, kept)
        log.info("sealed %s: %s foreign ids", exact.chunk, exact.chunk.foreign_ids)
        self._seal_next()

    def _take_kept_in_core(self, exact: ExactChunk, kept: Kept) -> None:
        core, book, sealed = self.core, self._book, kept.sealed
        cold = book.sealed(exact, sealed.manifest, sealed.content.hours)
        if sealed.manifest.foreign_ids:
            core.set_chunk(
                cold.number,
                ids=sealed.manifest.foreign_ids,
                hours=cold.hours,
                filter=sealed.content.filter,
            )
        for one in book.over_budget(self._limits.filter_bytes):
            core.set_chunk(one.number, ids=one.manifest.foreign_ids, hours=one.hours, filter=None)
            one.filtered = False
        # The floor first: what is about to be forgotten must not be accepted again.
        core.floor_us = max(core.floor_us, kept.floor_us)
        for one in book.expired(kept.forgotten_before):
            core.forget_chunk(one.number)
        core.forget_sequenced(kept.forgotten_before)
        self._measure()

    def _measure(self) -> None:
        # Field by field: the event loop sets others meanwhile.
        stats, status = self.core.stats(), self.status
        for name in DedupStatus.OF_CORE:
            setattr(status, name, stats[name])
        status.unsealed_chunks = len(self._book.closed)


class _Answer:
    """What a lookup brought."""

    def __init__(self, asked: int, known: bytes, seconds: float) -> None:
        self.asked, self.known, self.seconds = asked, known, seconds


def _discard(task: asyncio.Task[Any]) -> None:
    """Of work whose result nobody wants any more; what went wrong with it is said nevertheless."""
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, CommitAbandonedError):
        log.info("%s ended with: %s", task.get_name(), error)
