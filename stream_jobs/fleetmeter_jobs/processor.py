"""One partition: from fetched record batches to commits.

    start:  position from the ledger -> is this its log? -> dedup state -> seek
    then:   fetches --ingest (a thread, GIL released)--> pending --flush--> commit (a thread) --> acknowledge

While one flush is being committed the next one is ingested; when that one is full too, nothing more is taken, the inbox
fills, and the partition's fetches pause. So memory is bounded by two flushes and the inbox, whatever ClickHouse does.

Nothing here is durable and nothing is guessed. After anything unexpected the state in memory is dropped and made again
from the ledger: always right, because only a commit counts, and a commit is all or nothing.
- another worker committed first (Lost): start again;
- an error that may pass: hold the position, wait, start again; health and metrics say so;
- an error that won't: the partition stops and the others go on. A person has to look; the message says what to do.
  It looks again now and then, so that what that person does takes effect without touching the worker.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from faust.types import TP

from fleetmeter_jobs.continuity import continue_from
from fleetmeter_jobs.counted_log import CountedLog
from fleetmeter_jobs.dedup_memory import DedupMemory
from fleetmeter_jobs.errors import JobError, OffsetGapError, PartitionGrowingError
from fleetmeter_jobs.flight import Landed, fly
from fleetmeter_jobs.idle_watermark import IdleWatermark
from fleetmeter_jobs.ledger.commit import Lost
from fleetmeter_jobs.ledger.errors import CommitAbandonedError
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.ledger.retry import Backoff
from fleetmeter_jobs.partition_status import PartitionStatus, State
from fleetmeter_jobs.pending import Pending
from fleetmeter_jobs.processor_seams import Acknowledge, Admit, Ledger, Limits, Log, Observer
from fleetmeter_jobs.record_batch import Fetch
from fleetmeter_jobs.threads import Threads
from fleetmeter_jobs.waking import woken

log = logging.getLogger(__name__)


class _StartAgain(Exception):
    """The state in memory may no longer follow from the ledger. `reason` is for metrics."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Processor:
    """Counts one partition while this worker has it. All methods are called in the event loop."""

    def __init__(
        self,
        ledger: Ledger,
        kafka: Log,
        limits: Limits,
        threads: Threads,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
        admit: Admit | None = None,
    ) -> None:
        self._status = PartitionStatus()
        self._tp = TP(ledger.partition.topic, ledger.partition.partition)
        self._ledger, self._kafka, self._limits, self._threads = ledger, kafka, limits, threads
        self._counted_log = CountedLog(kafka, self._tp)
        self._observer = observer or Observer()
        self._clock, self._admit = clock, admit
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._abandoned = False
        self._wake = asyncio.Event()
        # From the last start on:
        self._positioning = 0
        self._inbox: deque[tuple[Fetch, Acknowledge]] = deque()
        self._holding = False
        self._unacknowledged: deque[tuple[int, Acknowledge]] = deque()
        self._last_gap: int | None = None
        self._doubt = ""
        # What follows from the ledger, and is dropped when it no longer does:
        self._memory: DedupMemory | None = None
        self._topic_id = ""
        self._position: Position | None = None
        self._pending = Pending(0, 0)
        self._pending_since = 0.0
        self._flight: asyncio.Task[Landed] | None = None
        self._idle_watermark = IdleWatermark(ledger, threads, limits.watermark_interval_s, clock)

    # Called by the worker

    @property
    def partition(self) -> PartitionId:
        """The log that is counted, in the epoch in which it was opened last."""
        return self._ledger.partition

    @property
    def status(self) -> PartitionStatus:
        """What the partition is doing now."""
        if (memory := self._memory) is not None:
            self._status.dedup = memory.status
        if self._status.state is not State.COUNTING:
            return self._status
        self._status.log_end = self._kafka.log_end(self._tp)
        trouble = self._ledger.trouble or self._kafka.trouble(self._tp) or (memory.trouble if memory else None)
        if trouble is None:
            return self._status
        waiting = replace(self._status)
        waiting.failed(State.WAITING, trouble)
        return waiting

    def start(self) -> None:
        """Begin, or go on after `stop`: what is in memory is used again if the ledger still agrees with it."""
        self._stopping = False
        self._status.entered(State.STARTING)
        self._task = asyncio.create_task(self._run(), name=f"count {self.partition}")
        self._task.add_done_callback(self._ended)

    def offer(self, fetch: Fetch, acknowledge: Acknowledge) -> None:
        """Take a fetch in. Never blocks: when there is enough to do, the partition is held."""
        if fetch.positioning != self._positioning:
            return  # from before the last seek
        self._inbox.append((fetch, acknowledge))
        self._status.inbox_bytes += fetch.payload_bytes
        if self._status.inbox_bytes >= self._limits.inbox_bytes and not self._holding:
            self._holding = True
            self._kafka.hold(self._tp)
        self._wake.set()

    async def stop(self, limit_s: float) -> bool:
        """Commit what is pending and end. False if that did not succeed in time: then the state is void, and the
        outcome of the commit in flight is read back by whoever starts next."""
        self._stopping = True
        self._positioning = 0
        self._stop_reading()
        self._wake.set()
        if self._task is None:
            return True
        done, _ = await asyncio.wait([self._task], timeout=limit_s)
        if not done:
            self._abandoned = True  # from here on another processor may read the partition
            self._ledger.abandon()
            self._forget()
            log.warning("%s: the last commit is not confirmed after %.1f s; abandoned", self.partition, limit_s)
        elif self._status.state is not State.STOPPED:
            self._status.entered(State.RELEASED)
        return bool(done)

    def look_again(self, why: str, *, unless: str | None = None) -> None:
        """Begin again with all checks, unless it is the topic of this id that is counted: it may be another log now."""
        if self._status.state is State.COUNTING and self._topic_id != unless:
            self._doubt = why
            self._wake.set()

    def drained_at_ms(self) -> int | None:
        """Since when (this machine's clock) the log is known to have nothing that is not committed; None if it has."""
        if self._status.state is not State.COUNTING or self._inbox or self._flight or not self._pending.empty:
            return None
        return self._kafka.drained_at_ms(self._tp, self._pending.next_offset)

    # The partition's life

    async def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                await self._begin()
                failures = 0
                await self._count()
            except _StartAgain as again:
                log.info("%s: %s; starting again from the ledger", self.partition, again)
                self._observer.restarted(again.reason)
                await self._drop()
                self._status.entered(State.STARTING)
            except CommitAbandonedError as told:
                log.info("%s", told)
                await self._drop()
            except JobError as error:
                await self._drop()
                failures += 1
                if await self._give_way(error, failures):
                    return

    async def _give_way(self, error: JobError, failures: int) -> bool:
        """Say what is wrong and wait until it is time to look again. True if it never is."""
        if self._status.error != str(error):  # once, and not with every look
            self._observer.restarted(error.domain)
            level, verb = (logging.WARNING, "waits") if error.retryable else (logging.ERROR, "stops")
            log.log(level, "%s %s: %s", self.partition, verb, error)
        self._status.failed(State.WAITING if error.retryable else State.STOPPED, error)
        if error.retryable:
            backoff = Backoff(self._limits.retry_wait_s, self._limits.retry_wait_limit_s)
            turn = isinstance(error, PartitionGrowingError)
            await self._pause(self._limits.turn_poll_s if turn else backoff.wait_s(failures))
        elif error.mendable and not self._stopping:
            await self._pause(self._limits.recheck_interval_s)
        else:
            return True
        return False

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (defect := task.exception()) is not None:
            log.error("%s stops: a defect of fleetmeter, please report it", self.partition, exc_info=defect)
            self._forget()
            self._stop_reading()
            self._status.failed(State.STOPPED, defect)

    async def _begin(self) -> None:
        self._doubt = ""
        topic_id = await self._threads.store(self._ledger.topic_id)  # first: partitions added later are noticed
        beyond_section = self._admit is None or await self._admit(self._tp.partition)
        log_start, _ = await self._kafka.log_bounds(self._tp)
        position = await self._threads.store(self._ledger.open, log_start, topic_id)
        if self._ledger.section_end is None and not beyond_section:
            raise PartitionGrowingError(
                f"{self.partition} waits: its section is counted, and it may not go on by itself"
            )
        await self._counted_log.begin(self.partition, position, topic_id)
        self._status.entered(State.STARTING)
        if self._memory is None or self._position != position:
            self._forget()
            self._memory = await DedupMemory.read(self._ledger, position, self._limits, self._threads, self._observer)
        self._memory.go_on(position.next_offset, self._wake.set)
        self._topic_id, self._position = topic_id, position
        self._pending = Pending(position.next_offset, position.watermark_us)
        self._status.next_offset, self._status.watermark_us = position.next_offset, position.watermark_us
        self._seek(position.next_offset)
        self._status.entered(State.COUNTING)
        log.info("%s: counting from offset %s (the log starts at %s)", self.partition, position.next_offset, log_start)

    def _forget(self) -> None:
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.pause()

    @property
    def _known(self) -> DedupMemory:
        if self._memory is None:
            raise CommitAbandonedError(f"{self.partition} was given away; nothing more is counted here")
        return self._memory

    def _seek(self, offset: int) -> None:
        if self._stopping:
            return
        self._inbox.clear()
        self._status.inbox_bytes = 0
        self._holding = False
        self._positioning = self._kafka.start_at(self._tp, offset)

    async def _drop(self) -> None:
        """Forget everything that was not committed. Waits for a commit in flight: the next start must not race it."""
        self._stop_reading()
        self._forget()
        self._positioning = 0
        self._inbox.clear()
        self._unacknowledged.clear()
        self._status.inbox_bytes = self._status.pending_events = 0
        if self._flight is not None:
            await asyncio.wait([self._flight])
            if (error := self._flight.exception()) is not None:
                log.info("%s: the commit in flight ended with: %s", self.partition, error)
            self._flight = None

    def _stop_reading(self) -> None:
        if not self._abandoned:
            self._kafka.stop_at(self._tp)

    # Counting

    async def _count(self) -> None:
        while True:
            if self._flight is not None and self._flight.done():
                await self._land()
            elif self._doubt and not self._stopping:
                raise _StartAgain("doubt", self._doubt)
            elif self._stopping:
                await self._commit_rest()
                self._known.pause()
                return
            elif self._known.ready:
                await self._known.take_in(self._pending)
            elif self._flight is None and self._flush_due() and not self._known.core.held_events:
                await self._launch()
            elif self._inbox and self._may_ingest():
                await self._ingest()
            else:
                await self._idle()

    async def _ingest(self) -> None:
        fetch, acknowledge = self._inbox.popleft()
        self._status.inbox_bytes -= fetch.payload_bytes
        if self._holding and not self._stopping and self._status.inbox_bytes < self._limits.inbox_bytes // 2:
            self._holding = False
            self._kafka.release(self._tp)
        try:
            if fetch.failure is not None:
                raise fetch.failure
            batches = continue_from(self._pending.next_offset, fetch.batches, end := self._ledger.section_end)
            await self._counted_log.go_on(batches)
        except OffsetGapError as error:
            await self._on_gap(error)
            return
        except JobError:
            await self._commit_rest()
            raise
        if self._stopping:
            return  # whoever starts next reads it again
        if self._pending.empty:
            self._pending_since = self._clock()
        memory = self._known
        memory.look_up(await self._threads.core(memory.ingest_in_core, self._pending, batches))
        self._status.pending_events = memory.core.pending_events
        self._unacknowledged.append((self._pending.next_offset, acknowledge))
        if end is not None and self._pending.next_offset >= end:
            await self._commit_rest()
            raise _StartAgain("growth", f"counted up to {end}, where its section ends")

    async def _on_gap(self, error: OffsetGapError) -> None:
        """Ask again once, from where the gap begins: only a gap that is really in the log stops the partition."""
        here = self._pending.next_offset
        if self._last_gap == here:
            await self._commit_rest()
            raise OffsetGapError(f"{self.partition}: {error}") from error
        log.warning("%s: %s; reading again from %s", self.partition, error, here)
        self._observer.restarted("gap")
        self._last_gap = here
        self._seek(here)

    def _may_ingest(self) -> bool:
        # A flush that is due and not launched waits for held events, and must not wait for more and more of them.
        enough = self._flush_due() if self._flight is None else self._full()
        return not enough and self._known.has_room

    def _full(self) -> bool:
        return self._known.full or self._pending.large

    def _flush_due(self) -> bool:
        waited_s = self._clock() - self._pending_since
        return not self._pending.empty and (waited_s >= self._limits.flush_interval_s or self._full())

    async def _launch(self) -> None:
        if self._position is None:
            return
        flush = await self._threads.core(self._known.flush_in_core, self._pending)
        self._status.pending_events = 0
        pending, self._pending = self._pending, Pending(self._pending.next_offset, self._pending.watermark_us)
        flight = fly(self._ledger, self._threads, self._clock, self._position, pending, flush, self._topic_id)
        self._flight = asyncio.create_task(flight, name=f"commit {self.partition}")
        self._flight.add_done_callback(lambda _: self._wake.set())

    async def _land(self) -> None:
        if (flight := self._flight) is None:
            return
        self._flight = None
        landed = await flight
        if isinstance(landed.outcome, Lost):
            raise _StartAgain("lost", f"others decided about offset {landed.pending.first_offset} and what follows")
        self._position = landed.outcome.position
        self._status.next_offset = self._position.next_offset
        self._status.watermark_us = max(self._status.watermark_us, landed.pending.watermark_us)
        self._status.committed_at_s = time.time()
        if self._memory is not None:
            self._memory.committed(self._position.next_offset, landed.pending.append_time_ms)
        self._observer.committed(landed.pending, landed.flush, landed.outcome, landed.seconds)
        while self._unacknowledged and self._unacknowledged[0][0] <= self._position.next_offset:
            await self._unacknowledged.popleft()[1]()

    async def _commit_rest(self) -> None:
        """Commit everything that was ingested; what lies in the inbox is read again by whoever starts next."""
        if self._flight is not None:
            await asyncio.wait([self._flight])
            await self._land()
        await self._known.resolve_all(self._pending)
        if not self._pending.empty:
            await self._launch()
            await asyncio.wait([self._flight] if self._flight else [])
            await self._land()

    async def _idle(self) -> None:
        if self._pending.empty and self._flight is None and self._idle_watermark.due:
            here = self._pending.next_offset
            self._status.watermark_us = await self._idle_watermark.advance(
                self._status.watermark_us, here, self._kafka.drained_at_ms(self._tp, here)
            )
        if self._pending.empty or self._flight is not None or self._flush_due():
            await woken(self._wake, self._limits.watermark_interval_s)
        else:
            await woken(self._wake, max(self._pending_since + self._limits.flush_interval_s - self._clock(), 0.0))

    async def _pause(self, seconds: float) -> None:
        """Wait, unless told to stop. What else wakes us is of a state that was dropped: no reason to begin again."""
        until = self._clock() + seconds
        while not self._stopping and (left_s := until - self._clock()) > 0:
            self._wake.clear()
            await woken(self._wake, left_s)
